/* SPDX-License-Identifier: Apache-2.0
 *
 * One slot whose generations are used up, again and again, and begin at 0 under a new epoch, while
 * threads take it, are killed or revoked, and the worker dies anywhere. Waiting is left out: a
 * thread looks again when there is something to take.
 *
 *   NT threads, each a process; ROUNDS takes of each, those that are undone among them; LIMIT: from this generation on the slot is
 *   spent; KILLS, REVOKES, CRASHES: how many may happen.
 *
 * Shown: no token is told twice, none of an epoch that is not durable, and tokens rise; of all
 * tokens ever told the daemon accepts that of the present hold and no other; in the end the slot
 * is free and may be taken.
 */
#ifndef NT
#define NT 2
#endif
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef LIMIT
#define LIMIT 1
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
#define NOBODY 7
#define GENS (NT * ROUNDS + NT + LIMIT + 2)
#define EPOCHS (2 * NT * ROUNDS + 2 * CRASHES + 4)
#define TOKEN(e, g) ((e) * GENS + (g))

byte owner = NOBODY, gen;   /* the word: FREE if owner == NOBODY */
byte epoch = 1;             /* CTL: the policy's */
bit grant = 1;              /* CTL: the slot's grant bit */
byte kept_base = 1;         /* META */
byte durable = 1;           /* the store */
bit revoked[NT];            /* SESS */
/* The worker's memory. */
byte base = 1, known;       /* known: the highest generation it believes */
bit spent, serves = 1;
/* What the world knows. */
bit told[EPOCHS * GENS];
byte newest, holder, held;  /* holder: the living thread + 1 that was told `held`, or 0 */
bit dying[NT], ended[NT], gone[NT], end_wanted[NT];
byte level[NT];
byte kills = KILLS, revokes = REVOKES, crashes = CRASHES;
bit crash;

/* Of the tokens with the word's generation the daemon accepts those of the epochs since `base`. */
inline sound() {
  x = base;
  do
  :: serves && owner != NOBODY && x <= epoch ->
    assert(!told[TOKEN(x, gen)] || holder == owner + 1 && held == TOKEN(x, gen) ||
           revoked[owner] || dying[owner]);
    x++
  :: else -> break
  od;
  x = 0;
  assert(!serves || holder == 0 || held >= TOKEN(base, 0))
}

inline tell() {
  assert(e <= durable && g < GENS && holder == 0);
  assert(!told[TOKEN(e, g)] && TOKEN(e, g) > newest);
  newest = TOKEN(e, g); told[newest] = 1; holder = t + 1; held = newest;
  sound()
}

inline forget(p) { if :: holder == p + 1 -> holder = 0; held = 0 :: else fi }

/* The compare-and-swap of the word FREE|g-1. */
inline take() {
  atomic {
    if
    :: owner == NOBODY && gen == g - 1 -> owner = t; gen = g; sound()
    :: else -> g = 0; e = 0; goto again
    fi
  }
}

proctype Thread(byte t) {
  byte g, e, x, round, mind = 1;   /* mind: the word's generation after its own release, + 1 */
  { skip;
again:
#ifdef MUT_EPOCH_BEFORE_WORD
    atomic { e = epoch };
#endif
    if
    :: atomic { revoked[t] -> goto finish }
    :: atomic { owner == NOBODY && grant -> g = gen + 1; mind = 0 }
    :: atomic { mind != 0 -> g = mind; mind = 0; goto fast }
    fi;
    take();
slow:
#ifndef MUT_EPOCH_BEFORE_WORD
    atomic { e = epoch };
#endif
#ifndef MUT_NO_BIT_CHECK
    atomic { if :: !grant -> goto undo :: else fi };
#endif
    atomic { if :: revoked[t] -> goto undo :: else -> tell(); goto hold fi };
fast:
    atomic { e = epoch };
    take();
#ifndef MUT_NO_BIT_CHECK_IN_MIND
    atomic { if :: !grant -> goto slow :: else fi };
#endif
    atomic {
      if
      :: revoked[t] -> goto undo
#ifndef MUT_EPOCH_ONCE
      :: !revoked[t] && epoch != e -> goto slow
      :: !revoked[t] && epoch == e -> tell()
#else
      :: else -> tell()
#endif
      fi
    };
hold:
    atomic {   /* the release */
      if
      :: owner == t && gen == g -> owner = NOBODY; mind = g + 1
      :: else -> assert(revoked[t])
      fi;
      forget(t);
      g = 0; e = 0; round++;
      if :: round < ROUNDS -> goto again :: else -> goto finish fi
    };
undo:
    atomic {
      if :: owner == t && gen == g -> owner = NOBODY :: else fi;
      g = 0; e = 0; round++;
      if :: round < ROUNDS -> goto again :: else -> goto finish fi
    };
finish:
    atomic { g = 0; e = 0; round = 0; mind = 0; ended[t] = 1 }
  } unless {
    atomic {
      dying[t] && !ended[t] -> g = 0; e = 0; x = 0; round = 0; mind = 0; gone[t] = 1; forget(t)
    }
  }
}

#define OVER(p) (ended[p] || gone[p])
#define WANTS_END(p) (level[p] == 0 && end_wanted[p] || level[p] < 2 && dying[p] && OVER(p))
#if NT == 1
#define ALL_OVER OVER(0)
#define SOMEBODY_ENDS WANTS_END(0)
#elif NT == 2
#define ALL_OVER (OVER(0) && OVER(1))
#define SOMEBODY_ENDS (WANTS_END(0) || WANTS_END(1))
#else
#define ALL_OVER (OVER(0) && OVER(1) && OVER(2))
#define SOMEBODY_ENDS (WANTS_END(0) || WANTS_END(1) || WANTS_END(2))
#endif

inline adopt() {
#ifdef MUT_OLD_EPOCH_AGAIN
  atomic { epoch = durable };
#else
  atomic { durable++; assert(durable < EPOCHS) };
  atomic { epoch = durable };
#endif
#ifdef MUT_BASE_FORGOTTEN
  atomic { base = 1; known = gen };
#else
  atomic { base = kept_base; known = gen };
#endif
  atomic {
#ifdef MUT_SPENT_IS_OFFERED_AGAIN
    grant = 1;
#else
    grant = (known < LIMIT);
#endif
    spent = (known >= LIMIT);
    serves = 1; sound()
  }
}

inline set_base() { atomic { base = durable; kept_base = durable; sound() } }
inline set_word() {
  atomic {
    if
#ifdef MUT_WORD_FORCED
    :: g != 0 -> owner = NOBODY; gen = 0; known = 0; spent = 0; sound()
#else
    :: g != 0 && owner == NOBODY && gen == g - 1 -> gen = 0; known = 0; spent = 0; sound()
#endif
    :: else
    fi;
    g = 0
  }
}

inline renumber() {
#ifndef MUT_DURABLE_LAST
  atomic { durable++; assert(durable < EPOCHS) };
#endif
  atomic { if :: owner == NOBODY -> g = gen + 1 :: else fi };
#ifdef MUT_DURABLE_LAST
  atomic { epoch = durable + 1 };
  atomic { base = epoch; kept_base = base; sound() };
  set_word();
  atomic { if :: !spent -> grant = 1 :: else fi };
  atomic { durable++; assert(durable < EPOCHS) };
#else
#ifdef MUT_OFFERED_BEFORE_WORD
  atomic { if :: g != 0 -> grant = 1 :: else fi };
#endif
#ifdef MUT_EPOCH_LAST
  if :: g != 0 -> set_base() :: else fi;
  set_word();
  atomic { if :: !spent -> grant = 1 :: else fi };
  atomic { epoch = durable };
#else
  atomic { epoch = durable };
#ifdef MUT_WORD_BEFORE_BASE
  set_word();
  if :: !spent -> set_base() :: else fi;
#else
  if :: g != 0 -> set_base() :: else fi;
  set_word();
#endif
  atomic { if :: !spent -> grant = 1 :: else fi };
#endif
#endif
}

proctype Daemon() {
  byte p, g, next, x;
  bit restarted;
start:
  { skip;
    if :: restarted -> restarted = 0; adopt() :: else fi;
end_idle:
    if
    :: atomic {
         SOMEBODY_ENDS ->
         do :: !WANTS_END(p) -> p++ :: else -> break od;
         next = (dying[p] && OVER(p) -> 2 : 1)
       };
       atomic { revoked[p] = 1; forget(p) };
       atomic { if :: owner == p -> g = gen + 1 :: else fi };
       atomic { if :: g != 0 && owner == p && gen == g - 1 -> owner = NOBODY :: else fi; g = 0 };
       atomic { level[p] = next; next = 0; p = 0; goto end_idle }
    :: atomic { !spent && gen >= LIMIT -> known = gen; spent = 1 };
#ifndef MUT_STILL_OFFERED
       atomic { grant = 0 };
#endif
       goto end_idle
    :: atomic { spent && owner == NOBODY -> skip };
       renumber();
       goto end_idle
    :: atomic { ALL_OVER && !SOMEBODY_ENDS && !spent && gen < LIMIT -> goto quiet }
    fi
  } unless {
    atomic {
      crash -> crash = 0; p = 0; g = 0; next = 0; x = 0;
      base = 0; known = 0; spent = 0; serves = 0; restarted = 1;
      goto start
    }
  };
quiet:
  atomic { assert(owner == NOBODY && grant) }
}

proctype Faults() {
  do
  :: atomic {
       kills > 0 -> kills--;
       if
       :: !OVER(0) -> dying[0] = 1
#if NT > 1
       :: !OVER(1) -> dying[1] = 1
#endif
       :: else
       fi
     }
  :: atomic { revokes > 0 -> revokes--; if :: !dying[0] && !OVER(0) -> end_wanted[0] = 1 :: else fi }
  :: atomic { crashes > 0 -> crashes--; crash = 1 }
  :: atomic { kills = 0; revokes = 0; crashes = 0; break }
  od
}

init {
  atomic {
    byte i = 0;
    do :: i < NT -> run Thread(i); i++ :: else -> break od;
    i = 0;
    run Daemon(); run Faults()
  }
}
