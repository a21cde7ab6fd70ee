/* SPDX-License-Identifier: Apache-2.0
 *
 * A pool moves to new memory while its sessions go on, because somebody writes to the old one; the
 * worker may die at any step of it. Two processes of one thread and one library thread hold, take
 * and give back the only slot meanwhile; a remote lease may have it. Segment 0 is the old one, a
 * segment made later has a higher number and epoch. Every step between two labels is one access.
 *
 *   ROUNDS   tries of each thread
 *   HOSTILE  so often somebody writes over the word of segment 0
 *   LIAR     process 1 declares what it does not hold, as often as it takes slots
 *   TAKES    so often the daemon takes a lease back from a living process, and tells it
 *   REMOTE   so many remote leases
 *   CRASHES, KILLS: of the worker; of process 0
 *   GRACE    recovery may end although a process has not declared
 *   ALONE    there is no process 1
 *   LATE     process 1 opens the pool at any time
 *
 * Shown: nobody is granted the slot while it is held, and tokens rise (with HOSTILE: in the new
 * segments); a remote lease stays; a lease whose holder declares it in time is lost to nothing but
 * another's better claim, and its holder is told; in the end the slot is free, and on offer.
 */
#define NP 2
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef HOSTILE
#define HOSTILE 0
#endif
#ifndef LIAR
#define LIAR 0
#endif
#ifndef TAKES
#define TAKES 0
#endif
#ifndef REMOTE
#define REMOTE 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#define FREE 7
#define DAEMON 6
#define NSEG (2 + CRASHES)
#define STEP 16                        /* tokens of an epoch */
#define TOKEN(seg, g) ((seg) * STEP + (g))
#define GEN(token) ((token) % STEP)

byte owner[NSEG] = FREE, gen[NSEG];    /* the slot's words */
bit offered[NSEG];                     /* its grant bits */
/* A process: */
byte flag[NP];                         /* attach_gen */
byte at[NP], state_gen[NP];            /* the published state: its segment, attach_gen of then */
byte pending[NP], taken[NP], given[NP], lost[NP];   /* what it knows: record, tables */
bit lock[NP];                          /* the session's mutex */
/* What survives a worker: */
byte kept, segments = 1;               /* the keeper's segment; how many there ever were */
bit recovering;                        /* the shared block: claims are being taken */
bit opened[NP];                        /* who has the pool open */
byte ledger;                           /* token of the live remote lease */
/* The worker: */
bit up = 1;
byte current, life;                    /* the pool's memory; rises when all sessions are hung up */
bit awaited[NP];
byte believed_owner = FREE, believed_gen, gen_max;   /* of the words before the move */
byte claimed;
/* On the way to a library: that the pool moved, the newest token that was taken back. */
bit moved_news[NP];
byte ended_news[NP];
/* On the way to the worker: a claim, and that there are no more. Its answer: 1 accepted, 2 not. */
byte claims[NP], answer[NP];
bit dones[NP];
/* What the world knows. */
byte holds[NP];                        /* token of the lease that the application goes by */
bit refused[NP];                       /* the daemon decided against it, for a reason */
bit told_soon[NP];                     /* a lease was taken back, and is about to be told of */
bit crash, dying[NP], gone[NP], ended[NP], swept[NP], quiet[NP];
byte caller, newest, crashes = CRASHES, kills = KILLS, takes = TAKES, remotes = REMOTE;
byte writes = HOSTILE;
#ifdef LATE
bit not_open = 1;
#endif

#define HAS_HEARD_ALL(p) (!moved_news[p] && ended_news[p] == 0)
#define HELD(p) (taken[p] > lost[p] && given[p] != taken[p] -> taken[p] : 0)
#define IS_BELIEVED(p, token) (believed_owner == (p) && believed_gen == GEN(token))

/* Somebody is granted the slot of segment `seg` under `token`. */
inline see_grant(seg, token, me) {
#if HOSTILE > 0
  if
  :: seg > 0 ->
    assert(token > newest && caller == 0);
    assert(holds[1 - me] == 0 || refused[1 - me])
  :: else
  fi;
#else
  assert(token > newest);
#ifndef GRACE
  assert(caller == 0 && (holds[1 - me] == 0 || refused[1 - me]));
#endif
#endif
  if :: token > newest -> newest = token :: else fi
}

/* A claim that came to nothing is reported. Then the application goes by what is in the new memory,
 * or by a lease of which it is about to hear. */
inline settle(p) {
  if
#ifdef MUT_RELEASE_PRESUMED
  :: !accepted && claim != 0 && HELD(p) == claim && !left ->
#else
  :: !accepted && claim != 0 && HELD(p) == claim ->
#endif
#ifndef GRACE
    assert(refused[p] || left && HOSTILE > 0);
#endif
    lost[p] = claim;
    if :: holds[p] == claim -> holds[p] = 0; refused[p] = 0 :: else fi
  :: else
  fi;
  assert(holds[p] == 0 || holds[p] != HELD(p) || told_soon[p] || !HAS_HEARD_ALL(p) ||
         owner[at[p]] == p && gen[at[p]] == GEN(holds[p]))
}

proctype Thread(byte t) {
  byte g, token, seg, as, round;
  { skip;
    do
    :: atomic {
         round < ROUNDS ->
         round++;
#ifdef LATE
         t == 0 || !not_open;
#endif
         seg = at[t]; as = state_gen[t];
         g = (owner[seg] == FREE && offered[seg] -> gen[seg] + 1 : 0);   /* a hint */
         if :: g != 0 -> pending[t] = g :: else fi
       };
      if
      :: g != 0 ->
        atomic {
          if
          :: owner[seg] == FREE && gen[seg] == g - 1 -> owner[seg] = t; gen[seg] = g
          :: else -> g = 0
          fi
        };
        if
        :: g != 0 ->
          atomic {   /* the last check is the instant of the grant */
            token = TOKEN(seg, g);
            if
#ifndef MUT_NO_ATTACHMENT_CHECK
            :: flag[t] != as -> goto undo
#endif
            :: !offered[seg] -> goto undo
            :: else -> see_grant(seg, token, t)
            fi;
#if HOSTILE == 0
            if   /* else it was taken back before */
            :: owner[seg] == t && gen[seg] == g -> holds[t] = token
            :: else -> assert(TAKES > 0)
            fi
#endif
          };
          atomic {
            taken[t] = token;
#if HOSTILE > 0   /* a note that comes too late is of a lease that is held no more: see POOL.md */
            if :: flag[t] == as -> holds[t] = token :: else fi
#endif
          };
          atomic {   /* is it still held here? */
            if
            :: flag[t] == as -> goto give_back
            :: else
            fi
          };
slowly:
          atomic {
            seg = at[t]; as = state_gen[t];
            if
            :: HELD(t) != token -> goto over
            :: else
            fi
          };
give_back:
          atomic { given[t] = token; holds[t] = 0; refused[t] = 0 };
          atomic {
            if
            :: owner[seg] == t && gen[seg] == g -> owner[seg] = FREE
            :: else -> goto stale
            fi
          };
          if
          :: atomic { flag[t] != as -> skip };
#ifndef MUT_MOVED_RELEASE_NOT_FINISHED
finish:
            atomic {
              !lock[t] ->
              if
              :: state_gen[t] != as && HELD(t) <= token && owner[at[t]] == t && gen[at[t]] == g ->
                owner[at[t]] = FREE
              :: else
              fi
            }
#endif
          :: else
          fi;
          goto over;
stale:
#if defined(MUT_STALE_RELEASE_NOT_FINISHED) || defined(MUT_MOVED_RELEASE_NOT_FINISHED)
          skip;
#else
          if :: atomic { state_gen[t] != as -> goto finish } :: else fi;
#endif
          goto over;
undo:
          atomic {
            if :: owner[seg] == t && gen[seg] == g -> owner[seg] = FREE :: else fi
          };
over:
          atomic { holds[t] = 0; refused[t] = 0; token = 0; g = 0; seg = 0; as = 0 }
        :: else
        fi
      :: else
      fi
    :: else -> break
    od;
    atomic { round = 0; ended[t] = 1 }
  } unless {
    atomic {
      dying[t] && !ended[t] ->
      holds[t] = 0; g = 0; token = 0; seg = 0; as = 0; round = 0; ended[t] = 1; gone[t] = 1
    }
  }
}

/* Opens the pool again: the memory is mapped, and not used yet. */
inline reopen() {
#ifndef MUT_NOTED_AFTER_LOOKING
  atomic { up || life != mine -> if :: life != mine -> goto hung_up :: else -> opened[t] = 1 fi };
#endif
  atomic { up || life != mine -> if :: life != mine -> goto hung_up :: else -> next = current fi };
#ifdef MUT_NOTED_AFTER_LOOKING
  atomic { up || life != mine -> if :: life != mine -> goto hung_up :: else -> opened[t] = 1 fi };
#endif
}

/* Declares `claim`, if it was not given back meanwhile, and says that this is all. */
inline declare() {
#ifdef MUT_DONE_BEFORE_CLAIMS
  atomic { if :: life != mine -> goto hung_up :: else -> dones[t] = 1 fi };
#endif
  atomic {
    if
#if LIAR > 0
    :: t == 1 && lies > 0 && next != 0 -> lies--; claim = 1; declared = 1
#endif
    :: declared && HELD(t) != claim -> declared = 0
    :: else
    fi;
    if
    :: life != mine -> goto hung_up
    :: life == mine && declared -> claims[t] = claim
    :: else
    fi
  };
  atomic {
    !declared || answer[t] != 0 || life != mine ->
    if
    :: life != mine -> goto hung_up
    :: else -> accepted = (answer[t] == 1); answer[t] = 0
    fi;
#ifndef MUT_DONE_BEFORE_CLAIMS
    dones[t] = 1
#endif
  }
}

/* The new state is published; what was given back since it was declared is given back there. */
inline publish() {
  atomic { lock[t] = 1; at[t] = next; state_gen[t] = flag[t] };
#ifndef MUT_RELEASED_MEANWHILE_STAYS
  if
  :: atomic { accepted && HELD(t) != claim -> skip };
    atomic { if :: owner[next] == t && gen[next] == GEN(claim) -> owner[next] = FREE :: else fi }
  :: atomic { !accepted || HELD(t) == claim -> skip }
  fi;
#endif
  atomic { lock[t] = 0; settle(t); claim = 0; accepted = 0; declared = 0; next = 0; left = 0 }
}

/* Returns when what was won before attach_gen rose has been noted or undone. */
#ifdef MUT_PENDING_NOT_AWAITED
#define IS_NOTED 1
#else
#ifdef MUT_NOTED_BY_GENERATION   /* which another segment may repeat */
#define NOTED(p) taken[p]
#else
#define NOTED(p) HELD(p)
#endif
#define IS_NOTED \
  (gone[t] || pending[t] == 0 || owner[at[t]] != t || gen[at[t]] != pending[t] || \
   GEN(NOTED(t)) == pending[t])
#endif
#define IS_WORD_ITS (owner[at[t]] == t && gen[at[t]] == GEN(claim))

inline hear_of_an_end() {
  atomic {
    ended_news[t] != 0 ->
    if :: ended_news[t] > lost[t] -> lost[t] = ended_news[t] :: else fi;
    if :: holds[t] == ended_news[t] -> holds[t] = 0; refused[t] = 0 :: else fi;
    ended_news[t] = 0
  }
}

proctype Library(byte t) {
  byte next, claim, mine;
#if LIAR > 0
  byte lies = LIAR;
#endif
  bit accepted, declared, distrusts, left;   /* left: the word asked is not its any more */
  { skip;
#ifdef LATE
    if
    :: t == 1 -> reopen();
      atomic { at[t] = next; next = 0; not_open = 0 }
    :: else
    fi;
#endif
    quiet[t] = 1;
end_idle:
    atomic { !HAS_HEARD_ALL(t) || life != mine -> quiet[t] = 0 };
    if
#ifdef MUT_MOVE_OVERTAKES
    :: atomic { moved_news[t] -> moved_news[t] = 0; distrusts = 1 };
#else
    :: atomic { moved_news[t] && ended_news[t] == 0 -> moved_news[t] = 0; distrusts = 1 };
#endif
      reopen();
#ifdef MUT_COLLECTED_BEFORE_MOVING
      atomic { claim = HELD(t) };
      atomic { flag[t]++ };
      atomic {
        IS_NOTED ->
#else
      atomic { !lock[t] -> flag[t]++ };
      atomic {
        IS_NOTED -> claim = HELD(t);
#endif
#ifdef MUT_DAMAGED_WORDS_ASKED
        declared = (claim != 0 && IS_WORD_ITS)
#else
        declared = (claim != 0)
#endif
      };
      declare();
      publish();
      atomic { distrusts = 0; quiet[t] = 1; goto end_idle }
    :: hear_of_an_end();
      atomic { quiet[t] = 1; goto end_idle }
    :: atomic { HAS_HEARD_ALL(t) && life != mine -> goto hung_up }
    fi;

hung_up:   /* the worker is gone for good: all is declared again to the next one */
    do   /* what it said last */
    :: hear_of_an_end()
    :: atomic { moved_news[t] -> moved_news[t] = 0; distrusts = 1 }
    :: HAS_HEARD_ALL(t) -> break
    od;
    atomic {   /* back to the state of before, should it be moving */
      accepted = 0; declared = 0; left = 0; answer[t] = 0; claim = 0; next = 0;
      state_gen[t] = flag[t]
    };
    atomic { flag[t]++ };
    atomic {
      up && IS_NOTED -> mine = life; claim = HELD(t);
#ifndef MUT_DAMAGED_WORDS_ASKED_AFTER_CRASH
      left = (claim != 0 && !distrusts && !IS_WORD_ITS);
#else
      left = (claim != 0 && !IS_WORD_ITS);
#endif
      declared = (claim != 0 && !left)
    };
    reopen();
    declare();
    publish();
    atomic { distrusts = 0; quiet[t] = 1; goto end_idle }
  } unless {
    atomic {
      dying[t] ->
      quiet[t] = 1; lock[t] = 0; next = 0; claim = 0; mine = 0; 
      accepted = 0; declared = 0; distrusts = 0; left = 0; gone[t] = 1
    }
  }
}

/* Processes whose ends the daemon has not dealt with. */
#define IS_NEWS(p) (dying[p] && gone[p] && ended[p] && !swept[p])
#define IS_OVER(p) (ended[p] && (swept[p] || !dying[p] && quiet[p] && HAS_HEARD_ALL(p)))
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
    answer[p] = 2; if :: holds[p] == token -> refused[p] = 1 :: else fi
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

/* What a worker does first. One that ended while claims were taken leaves words that do not say who
 * holds what: its segments are given up, and all sessions hung up. */
inline begin() {
  if
  :: recovering ->
#ifndef MUT_NOT_HUNG_UP
    atomic {
      life++; told_soon[0] = 0; told_soon[1] = 0; opened[0] = 0; opened[1] = 0; claims[0] = 0; claims[1] = 0; dones[0] = 0; dones[1] = 0
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
        :: else -> answer[p] = 2; if :: holds[p] == token -> refused[p] = 1 :: else fi
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
            ledger = token; see_grant(current, token, 0); assert(holds[0] == 0 || HOSTILE > 0);
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
    atomic { next = segments; segments++; kept = next };   /* the keeper has them */
#ifdef MUT_RECOVERING_NOTED_LATE
    atomic { recovering = 1 };
#endif
#ifndef MUT_OLD_STILL_OFFERED
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

#if HOSTILE > 0
proctype Hostile() {
end_nothing:
  do
  :: atomic { writes > 0 ->
       writes--;
       if :: owner[0] = FREE; if :: gen[0] > 0 -> gen[0]-- :: skip fi :: owner[0] = 1 fi
     }
  :: writes == 0 -> break
  od
}
#endif

proctype Faults() {
end_nothing:
  do
  :: atomic { crashes > 0 && up && !crash -> crashes--; crash = 1 }
  :: atomic { kills > 0 -> kills--; dying[0] = 1 }
  :: crashes == 0 && kills == 0 -> break
  od
}

init {
  atomic {
    offered[0] = 1; opened[0] = 1;
#ifdef ALONE
    dying[1] = 1; gone[1] = 1; ended[1] = 1; swept[1] = 1;
#else
#ifndef LATE
    opened[1] = 1;
#endif
    run Thread(1); run Library(1);
#endif
    run Thread(0); run Library(0); run Daemon(); run Faults();
#if HOSTILE > 0
    run Hostile()
#endif
  }
}
