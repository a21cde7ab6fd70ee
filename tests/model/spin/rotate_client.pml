/* SPDX-License-Identifier: Apache-2.0
 *
 * Part of rotate.pml: a process, its thread and its library's thread.
 */
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
  if :: !told_soon[p] && HAS_HEARD_ALL(p) -> refused[p] = 0 :: else fi;
  assert(LIAR > 0 && p == 1 ||   /* who declares another lease than its own gives that up */
         holds[p] == 0 || holds[p] != HELD(p) || told_soon[p] || !HAS_HEARD_ALL(p) ||
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
  atomic { up || IS_HUNG_UP(t) -> if :: IS_HUNG_UP(t) -> goto hung_up :: else -> opened[t] = 1 fi };
#endif
  atomic { up || IS_HUNG_UP(t) -> if :: IS_HUNG_UP(t) -> goto hung_up :: else -> next = current fi };
#ifdef MUT_NOTED_AFTER_LOOKING
  atomic { up || IS_HUNG_UP(t) -> if :: IS_HUNG_UP(t) -> goto hung_up :: else -> opened[t] = 1 fi };
#endif
}

/* Declares `claim`, if it was not given back meanwhile, and says that this is all. */
inline declare() {
#ifdef MUT_DONE_BEFORE_CLAIMS
  atomic { if :: IS_HUNG_UP(t) -> goto hung_up :: else -> dones[t] = 1 fi };
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
    :: IS_HUNG_UP(t) -> goto hung_up
    :: !IS_HUNG_UP(t) && declared -> claims[t] = claim; waits[t] = 1
    :: else
    fi
  };
  atomic {
    !declared || answer[t] != 0 || IS_HUNG_UP(t) ->
    if
    :: IS_HUNG_UP(t) -> goto hung_up
    :: else -> accepted = (answer[t] == 1); answer[t] = 0; waits[t] = 0
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
   GEN(NOTED(t)) == pending[t] || HOSTILE > 0 && given[t] == taken[t])   /* or for a second */
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
  byte next, claim;
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
    atomic { !HAS_HEARD_ALL(t) || IS_HUNG_UP(t) -> quiet[t] = 0 };
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
    :: atomic { HAS_HEARD_ALL(t) && IS_HUNG_UP(t) -> goto hung_up }
    fi;

hung_up:   /* the worker is gone for good: all is declared again to the next one */
    do   /* what it said last */
    :: hear_of_an_end()
    :: atomic { moved_news[t] -> moved_news[t] = 0; distrusts = 1 }
    :: HAS_HEARD_ALL(t) -> break
    od;
    atomic {   /* back to the state of before, should it be moving */
      accepted = 0; declared = 0; left = 0; answer[t] = 0; waits[t] = 0; claim = 0; next = 0;
      state_gen[t] = flag[t]
    };
    atomic { flag[t]++ };
    atomic {
      up && IS_NOTED -> heard_life[t] = life; claim = HELD(t);
      left = (claim != 0 && !distrusts && !IS_WORD_ITS);
      declared = (claim != 0 && !left)
    };
    reopen();
    declare();
    publish();
    atomic { distrusts = 0; quiet[t] = 1; goto end_idle }
  } unless {
    atomic {
      dying[t] ->
      quiet[t] = 1; lock[t] = 0; next = 0; claim = 0; heard_life[t] = 0;
      accepted = 0; declared = 0; distrusts = 0; left = 0; gone[t] = 1
    }
  }
}
