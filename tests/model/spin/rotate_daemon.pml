/* SPDX-License-Identifier: Apache-2.0
 *
 * Part of rotate.pml: the worker, from the old segment to the new one, and its successor.
 */
/* Processes whose ends the daemon has not dealt with. */
#define IS_NEWS(p) (dying[p] && gone[p] && ended[p] && !swept[p])
#define IS_OVER(p) (ended[p] && (swept[p] || !dying[p] && quiet[p] && HAS_HEARD_ALL(p) && \
                                     !IS_HUNG_UP(p)))
#define ALL_OVER (IS_OVER(0) && IS_OVER(1) && caller == 0 && remotes == 0)

/* Slot words of `current`: owner `who` at generation GEN(token) -> FREE. */
inline take_back(who, token) {
  atomic {
    if
    :: owner[current] == who && gen[current] == GEN(token) ->
      owner[current] = FREE; believed_owner = (current == 0 -> FREE : believed_owner);
      if
      :: who < NP && !dying[who] -> told_soon[who] = 1;
        if :: holds[who] == token -> refused[who] = 1 :: else fi
      :: else
      fi
    :: else -> failed = 1
    fi
  }
}

inline tell(who, token) {
  atomic {
    told_soon[who] = 0; if :: token > ended_news[who] -> ended_news[who] = token :: else fi
  }
}

inline refuse(p) {
  atomic {
    assert(!(is_rotated && IS_BELIEVED(p, token)) || ledger != 0);
    answer[p] = 2; refused[p] = 1
  }
}

/* A declaration, heard while claims are taken. */
inline hear_claim(p) {
  failed = 0;
  if
#ifndef MUT_CLAIM_BEATS_LEDGER
  :: ledger != 0 -> failed = 1
#endif
  :: is_rotated && (GEN(token) > gen_max + 8 || token >= TOKEN(current, 0)) -> failed = 1
  :: else
  fi;
  if
#ifdef MUT_CLAIM_BEATS_LEDGER
  :: !failed && owner[current] == DAEMON -> atomic { owner[current] = FREE }
#endif
#ifdef MUT_LATER_CLAIM_WINS
  :: !failed && claimed != 0 && owner[current] != FREE ->
    loser = owner[current];
    take_back(loser, claimed); tell(loser, claimed)
#else
  :: !failed && claimed != 0 && owner[current] != FREE ->
    loser = owner[current];
    if
    :: is_rotated && IS_BELIEVED(loser, claimed) -> failed = 1
    :: else ->
      if
      :: token <= claimed && !(is_rotated && IS_BELIEVED(p, token)) -> failed = 1
      :: else -> take_back(loser, claimed); if :: !failed -> tell(loser, claimed) :: else fi
      fi
    fi
#endif
  :: else
  fi;
  loser = 0;
  if
  :: !failed ->
    atomic {
      if
      :: owner[current] == FREE -> owner[current] = p; gen[current] = GEN(token)
      :: else -> failed = 1
      fi
    }
  :: else
  fi;
  if
  :: !failed -> claimed = token; answer[p] = 1
  :: else -> assert(HOSTILE > 0 || caller != 0 || LIAR > 0); refuse(p)
  fi;
  failed = 0
}

inline offer() {
  atomic { offered[current] = (ledger == 0) }
}

inline tell_moved() {
  atomic {
    awaited[0] = opened[0]; awaited[1] = opened[1]; opened[0] = 0; opened[1] = 0; p = 0
  };
  do
  :: p < NP && awaited[p] -> atomic { moved_news[p] = 1; p++ }
  :: p < NP && !awaited[p] -> p++
  :: else -> break
  od;
  p = 0
}

inline restore_lease() {
  if
  :: ledger != 0 && owner[current] == FREE -> owner[current] = DAEMON; gen[current] = GEN(ledger)
  :: else
  fi
}

inline give_up(p) {
  atomic {
    if
    :: waits[p] && claims[p] == 0 ->
      answer[p] = 2; if :: owner[current] == p -> owner[current] = FREE :: else fi
    :: else
    fi
  }
}

/* What a worker does first. One that ended while claims were taken leaves words that do not say who
 * holds what: its segments are given up, and all sessions hung up. */
inline begin() {
  if
  :: recovering ->
#ifndef MUT_NOT_HUNG_UP
    atomic {
      life++; told_soon[0] = 0; told_soon[1] = 0; opened[0] = 0; opened[1] = 0;
      claims[0] = 0; claims[1] = 0; dones[0] = 0; dones[1] = 0
    };
#endif
    atomic { offered[kept] = 0 };
    atomic {
      kept = segments; current = segments; segments++;
      awaited[0] = !dying[0]; awaited[1] = !dying[1];
      restore_lease()
    }
  :: else ->
    atomic {
      current = kept; is_serving = 1; believed_owner = owner[current]; believed_gen = gen[current];
      gen_max = gen[current]; offered[current] = (owner[current] != DAEMON && ledger == 0)
    };
#ifdef GRACE   /* whoever was to be answered by the worker before gives up, and comes back too late */
    give_up(0); give_up(1);
#endif
    atomic { restore_lease() };
    if
    :: owner[current] == DAEMON && ledger == 0 ->
      token = TOKEN(current, gen[current]); take_back(DAEMON, token); offer(); token = 0
    :: else
    fi
  fi;
  atomic { up = 1; failed = 0 }
}

proctype Daemon() {
  byte p, token, loser, next;
  bit failed, is_rotated, is_serving = 1, is_new;
start:
  { skip;
    if :: is_new -> is_new = 0; begin() :: else fi;
serve:
    if
    :: atomic { claims[0] != 0 || claims[1] != 0 ->
         p = (claims[0] != 0 -> 0 : 1); token = claims[p]; claims[p] = 0;
         if :: !opened[p] -> p = 0; token = 0; goto serve :: else fi };
      atomic {
        if
        :: !is_serving -> hear_claim(p)
        :: is_serving && owner[current] == p && gen[current] == GEN(token) -> answer[p] = 1
        :: else -> answer[p] = 2; refused[p] = 1;
#ifndef GRACE
          assert(0)
#endif
        fi;
        p = 0; token = 0; goto serve
      }
    :: atomic { dones[0] || dones[1] ->   /* says so after its claims were answered */
         p = (dones[0] -> 0 : 1); dones[p] = 0;
         if :: opened[p] -> awaited[p] = 0 :: else fi; p = 0; goto serve }
    /* -- all have declared what they hold */
#ifdef GRACE
    :: atomic { !is_serving -> is_serving = 1; claimed = 0; is_rotated = 0 };
#else
    :: atomic {
         !is_serving && !awaited[0] && !awaited[1] -> is_serving = 1; claimed = 0; is_rotated = 0 };
#endif
      offer();
      atomic { recovering = 0; awaited[0] = 0; awaited[1] = 0; goto serve }
    /* -- the tick */
#if HOSTILE + LIAR > 0
    :: atomic { is_serving && current == 0 && gen[0] >= gen_max &&
         !(owner[0] == believed_owner && gen[0] == believed_gen) ->
         believed_owner = owner[0]; believed_gen = gen[0]; gen_max = gen[0]; goto serve }
#endif
#if TAKES > 0
    :: atomic { is_serving && takes > 0 && owner[current] < NP && !dying[owner[current]] ->
         takes--; loser = owner[current]; token = TOKEN(current, gen[current]) };
      take_back(loser, token);
      if :: !failed -> tell(loser, token) :: else fi;
      atomic { failed = 0; loser = 0; token = 0; goto serve }
#endif
#if REMOTE > 0
    /* -- remote leases */
    :: is_serving && remotes > 0 && ledger == 0 ->
      atomic { token = (owner[current] == FREE -> TOKEN(current, gen[current] + 1) : 0) };
      if
      :: token != 0 ->
        atomic { offered[current] = 0 };
        atomic {
          if
          :: owner[current] == FREE && gen[current] == GEN(token) - 1 ->
            owner[current] = DAEMON; gen[current] = GEN(token);
            believed_owner = DAEMON; believed_gen = GEN(token);
            if :: GEN(token) > gen_max && current == 0 -> gen_max = GEN(token) :: else fi;
            remotes--
          :: else -> token = 0
          fi
        };
        if
        :: token != 0 ->
          atomic {
            ledger = token; see_grant(current, token, 0);
#ifndef GRACE
            assert(holds[0] == 0 || HOSTILE > 0);
#endif
            caller = token; token = 0; goto serve
          }
        :: else -> offer()
        fi
      :: else
      fi;
      goto serve
    :: atomic { is_serving && caller != 0 -> caller = 0; token = ledger; ledger = 0 };
      take_back(DAEMON, token);
      if :: !failed -> offer() :: else fi;
      atomic { failed = 0; token = 0; goto serve }
#endif
    /* -- a session ended */
    :: atomic { IS_NEWS(0) || IS_NEWS(1) -> p = (IS_NEWS(0) -> 0 : 1) };
      atomic { awaited[p] = 0; token = (owner[current] == p -> TOKEN(current, gen[current]) : 0) };
      if :: token != 0 -> take_back(p, token) :: else fi;
      atomic { swept[p] = 1; opened[p] = 0; failed = 0; token = 0; p = 0; goto serve }
    :: atomic { current == 0 && is_serving -> goto rotate }
    :: atomic { ALL_OVER && current != 0 && is_serving -> goto over }
    fi;

rotate:
#ifndef MUT_RECOVERING_NOTED_LATE
    atomic { recovering = 1 };
#endif
#if !defined(MUT_OLD_STILL_OFFERED) && !defined(MUT_OLD_OFFERED_TOO_LONG)
    atomic { offered[current] = 0 };   /* a worker that comes after the next step cannot do it */
#endif
    atomic { next = segments; segments++; kept = next };   /* the keeper has them */
#ifdef MUT_RECOVERING_NOTED_LATE
    atomic { recovering = 1 };
#endif
#ifdef MUT_OLD_OFFERED_TOO_LONG
    atomic { offered[current] = 0 };
#endif
#ifdef MUT_OFFERED_WHILE_RECOVERING
    atomic { offered[next] = 1 };
#endif
#ifdef MUT_TOLD_BEFORE_MEMORY
    atomic { is_serving = 0; is_rotated = 1 };
    tell_moved();
#endif
    atomic {
      is_serving = 0; is_rotated = 1; current = next; next = 0;
#ifndef MUT_LEDGER_NOT_CARRIED_OVER
      restore_lease()
#endif
    };
#ifndef MUT_TOLD_BEFORE_MEMORY
    tell_moved();
#endif
    goto serve
  } unless {
    atomic {
      crash -> crash = 0; up = 0; p = 0; token = 0; loser = 0; next = 0; failed = 0;
      is_rotated = 0; is_serving = 0; claimed = 0; awaited[0] = 0; awaited[1] = 0;
      answer[0] = 0; answer[1] = 0;
      believed_owner = FREE; believed_gen = 0; gen_max = 0;
      is_new = 1; goto start
    }
  };
over:
  atomic {
    assert(owner[current] == FREE && offered[current]);
    assert((dying[0] || at[0] == current) && (dying[1] || at[1] == current));
    assert(holds[0] == 0 && holds[1] == 0)
  }
}
