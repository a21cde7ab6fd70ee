/* SPDX-License-Identifier: Apache-2.0
 *
 * Slot words, sessions and waiting on `wseq`, with the gate open: what client threads and the
 * daemon do to the words while processes are killed, sessions of live processes revoked and the
 * worker restarted. Every step between two labels is one access to shared memory. The nets (scan,
 * longest sleep) are left out: the protocol has to do without.
 *
 *   NT threads, NS slots, ROUNDS takes of each thread; KILLS, REVOKES, CRASHES, TIMEOUTS: how many
 *   may happen, anywhere. ONE_PROCESS: all threads are of process 0. BARE: thread 0 only tries.
 *
 * Shown: a generation is granted once and rises; nobody holds a slot that a living session holds;
 * a release of a living session succeeds; in the end every slot is free and nobody sleeps.
 */
#ifndef NT
#define NT 2
#endif
#ifndef NS
#define NS 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef REVOKES
#define REVOKES 0
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef TIMEOUTS
#define TIMEOUTS 0
#endif
#ifdef ONE_PROCESS
#define NP 1
#define PROCESS(t) 0
#else
#define NP NT
#define PROCESS(t) t
#endif
#define NOBODY 7
#include "futex.pml"

/* A word is FREE if owner == NOBODY, else BUSY. */
byte owner[NS];
byte gen[NS];
bit revoked[NP];          /* SESS */
byte wseq, count, turn;   /* turn, count: wcnt */
/* What the world knows. */
bit dying[NP], ended[NT], gone[NT];   /* killed; thread has finished; thread was killed */
bit end_wanted[NP];                   /* a living session is to be ended */
byte level[NP];                       /* how far its end has come: 1 alive, 2 dead */
byte kills = KILLS, revokes = REVOKES, crashes = CRASHES, timeouts = TIMEOUTS;
bit crash;
byte holder[NS];                      /* thread + 1 with a grant it was told of, of a live session */
byte newest[NS];

inline count_wake() {   /* WakePart, in its three accesses; `c` is a local bit */
  atomic { c = (count != 0) };
  if
  :: c -> c = 0; atomic { wseq++ }; atomic { wake_one() }
  :: else
  fi
}

inline delist() {
  atomic {
    if
#ifdef MUT_DELIST_ANY_TURN
    :: listed && count > 0 -> count--
#else
    :: listed && my_turn == turn && count > 0 -> count--
#endif
    :: else
    fi;
    listed = 0; my_turn = 0
  }
}

inline enlist() {
  atomic {
    if
#ifdef MUT_ENLIST_ONCE
    :: listed
#else
    :: listed && my_turn == turn
#endif
    :: else -> count++; my_turn = turn; listed = 1
    fi
  }
}

inline forget_holds(p) {
  atomic {
    k = 0;
    do
    :: k < NS ->
      if
      :: holder[k] != 0 && PROCESS(holder[k] - 1) == p -> holder[k] = 0
      :: else
      fi;
      k++
    :: else -> break
    od;
    k = 0
  }
}

proctype Thread(byte t) {
  byte i, g, s, k, my_turn, round;
  bit listed, c, early;
  { skip;
again:
    atomic { if :: revoked[PROCESS(t)] -> goto leave :: else fi };
#ifdef BARE
    if :: t == 0 -> goto scan :: else fi;
#endif
#ifndef MUT_SEQUENCE_AFTER_SCAN
    atomic { s = wseq };
#endif
#ifndef MUT_ENLIST_AFTER_SCAN
    enlist();
#endif
scan:
    do
    :: i < NS ->
      atomic {
        if
        :: owner[i] == NOBODY -> g = gen[i] + 1
        :: else -> i++; g = 0
        fi
      };
      if
      :: g != 0 ->
        atomic {
          if
          :: owner[i] == NOBODY && gen[i] == g - 1 ->
            owner[i] = PROCESS(t); gen[i] = g;
            assert(g > newest[i]); newest[i] = g;
            goto check
          :: else -> i++; g = 0
          fi
        }
      :: else
      fi
    :: else -> i = 0; break
    od;
#ifdef BARE
    if :: t == 0 -> goto finish :: else fi;
#endif
#ifdef MUT_SEQUENCE_AFTER_SCAN
    atomic { s = wseq };
#endif
#ifdef MUT_ENLIST_AFTER_SCAN
    enlist();
#endif
    atomic { if :: wseq == s -> asleep[t] = 1 :: else fi; s = 0 };
    if
    :: atomic { !asleep[t] -> goto again }
    :: atomic { asleep[t] && timeouts > 0 -> timeouts--; asleep[t] = 0; goto leave }
    fi;

check:
#ifdef MUT_NO_SESSION_CHECK
    atomic { s = 0; assert(!revoked[PROCESS(t)] && holder[i] == 0); holder[i] = t + 1 };
#else
    atomic {
      s = 0;
      if
      :: revoked[PROCESS(t)] -> goto undo
      :: else -> assert(holder[i] == 0); holder[i] = t + 1
      fi
    };
#endif
    delist();
#ifdef MUT_COUNT_BEFORE_RELEASE
    atomic { early = (count != 0) };
#endif
    atomic {   /* the release CAS */
#ifdef MUT_RELEASE_IGNORES_OWNER
      if
      :: owner[i] != NOBODY ->
#else
      if
      :: owner[i] == PROCESS(t) && gen[i] == g ->
#endif
        owner[i] = NOBODY; if :: holder[i] == t + 1 -> holder[i] = 0 :: else fi
      :: else -> assert(revoked[PROCESS(t)]); goto next
      fi
    };
#ifdef MUT_COUNT_BEFORE_RELEASE
    if :: early -> early = 0; atomic { wseq++ }; atomic { wake_one() } :: else fi;
#else
#ifndef MUT_NO_WAKE_IN_RELEASE
    count_wake();
#endif
#endif
#ifdef TWICE   /* the handle is released once more, by mistake */
    atomic {
      if
#ifdef MUT_RELEASE_IGNORES_GENERATION
      :: owner[i] == PROCESS(t) -> owner[i] = NOBODY
#else
      :: owner[i] == PROCESS(t) && gen[i] == g -> owner[i] = NOBODY
#endif
      :: else
      fi
    };
#endif
next:
    atomic {
      i = 0; g = 0; round++;
      if :: round < ROUNDS -> goto again :: else -> goto finish fi
    };

undo:
    atomic {
      if
      :: owner[i] == PROCESS(t) && gen[i] == g -> owner[i] = NOBODY
      :: else -> i = 0; g = 0; goto leave
      fi;
      i = 0; g = 0
    };
#ifndef MUT_NO_WAKE_IN_UNDO
    count_wake();
#endif
leave:
#ifdef BARE
    if :: t == 0 -> goto finish :: else fi;
#endif
    delist();
#ifndef MUT_NO_BATON
    count_wake();
#endif
finish:
    atomic { i = 0; g = 0; s = 0; round = 0; c = 0; listed = 0; my_turn = 0; ended[t] = 1 }
  } unless {
    atomic {
      dying[PROCESS(t)] && !ended[t] ->
      i = 0; g = 0; s = 0; round = 0; c = 0; early = 0; listed = 0; my_turn = 0;
      asleep[t] = 0; gone[t] = 1;
      forget_holds(PROCESS(t))
    }
  }
}

#define THREAD_OVER(t) (ended[t] || gone[t])
#if NT == 1
#define ALL_OVER THREAD_OVER(0)
#elif NT == 2
#define ALL_OVER (THREAD_OVER(0) && THREAD_OVER(1))
#else
#define ALL_OVER (THREAD_OVER(0) && THREAD_OVER(1) && THREAD_OVER(2))
#endif
#ifdef ONE_PROCESS
#define PROCESS_OVER(p) ALL_OVER
#else
#define PROCESS_OVER(p) THREAD_OVER(p)
#endif
#ifdef MUT_ENDED_ONCE
#define WANTS_END(p) (level[p] == 0 && (end_wanted[p] || dying[p] && PROCESS_OVER(p)))
#else
#define WANTS_END(p) (level[p] == 0 && end_wanted[p] || level[p] < 2 && dying[p] && PROCESS_OVER(p))
#endif
#if NP == 1
#define SOMEBODY_ENDS WANTS_END(0)
#elif NP == 2
#define SOMEBODY_ENDS (WANTS_END(0) || WANTS_END(1))
#else
#define SOMEBODY_ENDS (WANTS_END(0) || WANTS_END(1) || WANTS_END(2))
#endif

inline kick() {
#ifdef MUT_KICK_COUNT_LAST
  atomic { wseq++ };
  atomic { wake_all() };
  atomic { count = 0; turn++ };
#else
#ifdef MUT_KICK_SAME_TURN
  atomic { count = 0 };
#else
  atomic { count = 0; turn++ };
#endif
  atomic { wseq++ };
#ifdef MUT_KICK_WAKES_ONE
  atomic { wake_one() };
#else
  atomic { wake_all() };
#endif
#endif
}

proctype Daemon() {
  byte p, i, k, g, next;
  bit restarted;
start:
  { skip;
#ifndef MUT_NO_KICK_AT_ADOPTION
    if :: restarted -> restarted = 0; kick() :: else fi;
#endif
end_idle:
    if
    :: atomic {
         SOMEBODY_ENDS ->
         do :: !WANTS_END(p) -> p++ :: else -> break od;
         next = (dying[p] && PROCESS_OVER(p) -> 2 : 1)
       }
    :: atomic { ALL_OVER && !SOMEBODY_ENDS -> goto quiet }
    fi;
#ifndef MUT_SWEPT_BEFORE_REVOKED
    atomic { revoked[p] = 1; forget_holds(p) };
#endif
    do
    :: i < NS ->
      atomic {
        if
        :: owner[i] == p -> g = gen[i] + 1
        :: else -> i++
        fi
      };
      if
      :: g != 0 ->
        atomic {   /* the CAS; if it fails, the slot was given back or the next end repeats */
          if
          :: owner[i] == p && gen[i] == g - 1 -> owner[i] = NOBODY
          :: else
          fi;
          g = 0; i++
        }
      :: else
      fi
    :: else -> break
    od;
#ifdef MUT_SWEPT_BEFORE_REVOKED
    atomic { revoked[p] = 1; forget_holds(p) };
#endif
#ifndef MUT_NO_KICK_AT_END
    atomic { i = 0; if :: count == 0 -> goto done :: else fi };
    kick();
done:
#endif
    atomic { level[p] = next; next = 0; p = 0; i = 0; goto end_idle }
  } unless {
    atomic { crash -> crash = 0; p = 0; i = 0; k = 0; g = 0; next = 0; restarted = 1; goto start }
  };
quiet:
  atomic {
    i = 0;
    do
    :: i < NS -> assert(owner[i] == NOBODY); i++
    :: else -> break
    od
  }
}

proctype Faults() {
  byte p;
  do
  :: atomic {
       kills > 0 -> kills--;
       if
       :: !dying[0] && !PROCESS_OVER(0) -> dying[0] = 1
#if NP > 1
       :: !dying[1] && !PROCESS_OVER(1) -> dying[1] = 1
#endif
#if NP > 2
       :: !dying[2] && !PROCESS_OVER(2) -> dying[2] = 1
#endif
       :: else
       fi
     }
  :: atomic {   /* threads differ in their number only, so it may be the first */
       revokes > 0 -> revokes--;
       if :: !dying[0] && !PROCESS_OVER(0) -> end_wanted[0] = 1 :: else fi
     }
  :: atomic { crashes > 0 -> crashes--; crash = 1 }
  :: atomic { kills = 0; revokes = 0; crashes = 0; timeouts = 0; break }
  od
}

init {
  atomic {
    byte i = 0;
    do :: i < NS -> owner[i] = NOBODY; i++ :: else -> break od;
    i = 0;
    do :: i < NT -> run Thread(i); i++ :: else -> break od;
    i = 0;
    run Daemon(); run Faults()
  }
}
