/* SPDX-License-Identifier: Apache-2.0
 *
 * What the daemon may grant and clients must not take meanwhile: the grant bit, remote leases with
 * their ledger, an operator's lock, release_word, the end of the clients' sessions, and the death
 * of the worker anywhere in between. NC clients try (one process each, nobody waits), the caller of
 * a remote lease asks until it has one, keeps it and gives it back; LEASES of them, one by one.
 *
 *   LOCKED_AFTER  release_word says LOCKED: words that left BUSY are cleaned and opened again
 *   LOCKS         an operator locks slot 0, and unlocks it again
 *   HOSTILE       somebody writes FREE over a word of the daemon (slot 0, once), perhaps an old one
 *
 * Shown: no slot has two holders; what a caller was answered stays its own until it ends; a locked
 * slot is nobody's; a generation is granted once; in the end ledger, words and bits agree, every
 * slot is free and grantable.
 */
#ifndef NC
#define NC 1
#endif
#ifndef NS
#define NS 1
#endif
#ifndef ROUNDS
#define ROUNDS 1
#endif
#ifndef LEASES
#define LEASES 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef LOCKS
#define LOCKS 0
#endif
#define DAEMON 6
#define FREE 7
#define LOCKED 8

byte word[NS];            /* owner, FREE or LOCKED */
byte gen[NS];
bit bit_of[NS];           /* grant bits */
byte ledger[NS];          /* generation of the live remote lease, 0 none; survives the worker */
bit row_of_lock;          /* so does the operator's lock */
bit revoked[NC], dying[NC], gone[NC], ended[NC], swept[NC];
byte kills = KILLS, crashes = CRASHES;
bit crash;
byte holder[NS];          /* client + 1, or DAEMON: who was told that it holds the slot */
byte newest[NS];
bit is_locked, answered;  /* the word says so; the operator was answered */
bit dirty[NS];            /* was held and not cleaned since */
/* The remote caller. */
mtype = { IDLE, ASKING, HOLDING, RETURNING };
mtype caller = IDLE;
byte leases, lease_slot, lease_gen, operator;

#ifdef HOSTILE   /* may repeat a generation towards clients, until the daemon has seen it */
#define RISES(x) skip
#else
#define RISES(x) assert(x)
#endif
#ifdef LOCKED_AFTER
#define BECOMES_DIRTY dirty[i] = 1
#else
#define BECOMES_DIRTY skip
#endif
#ifdef LOCKED_AFTER
#define AFTER_BUSY LOCKED
#else
#define AFTER_BUSY FREE
#endif

proctype Client(byte t) {
  byte i, g, round;
  { skip;
again:
    do
    :: i < NS ->
      atomic { if :: word[i] == FREE -> g = gen[i] + 1 :: else -> g = 0 fi };
      if :: g != 0 -> atomic { if :: bit_of[i] :: else -> g = 0 fi } :: else fi;
      if
      :: g != 0 ->
        atomic {
          if
          :: word[i] == FREE && gen[i] == g - 1 ->
            word[i] = t; gen[i] = g;
            RISES(g > newest[i]); newest[i] = g
          :: else -> g = 0
          fi
        }
      :: else
      fi;
      if :: g != 0 -> break :: else -> i++ fi
    :: else -> goto next
    od;
    atomic { if :: revoked[t] -> goto undo :: else fi };
    atomic {   /* the last check is the instant of the grant */
      if
#ifndef MUT_NO_BIT_CHECK
      :: !bit_of[i] -> goto undo
#endif
      :: else ->
        assert(holder[i] == 0 && !dirty[i] && !(answered && i == 0));
        if :: !revoked[t] -> holder[i] = t + 1 :: else fi
      fi;
      BECOMES_DIRTY
    };
    atomic {
      assert(!(is_locked && i == 0 && holder[i] == t + 1));
      if
      :: word[i] == t && gen[i] == g ->
#ifdef MUT_RELEASE_ALWAYS_FREES
        word[i] = FREE
#else
        word[i] = AFTER_BUSY
#endif
      :: else -> assert(revoked[t])
      fi;
      if :: holder[i] == t + 1 -> holder[i] = 0 :: else fi;
      goto next
    };
undo:
    atomic { if :: word[i] == t && gen[i] == g -> word[i] = FREE :: else fi };
next:
    atomic {
      i = 0; g = 0; round++;
      if :: round < ROUNDS && !revoked[t] -> goto again :: else fi
    };
    atomic { round = 0; ended[t] = 1 }
  } unless {
    atomic {
      dying[t] && !ended[t] -> gone[t] = 1;
      i = 0;
      do
      :: i < NS -> if :: holder[i] == t + 1 -> holder[i] = 0 :: else fi; i++
      :: else -> break
      od;
      i = 0; g = 0; round = 0
    }
  }
}

/* word BUSY by `o` at `g` -> after(BUSY), then what follows from it. */
inline take_back(o) {
  atomic {
    if
    :: word[i] == o && gen[i] == g -> word[i] = AFTER_BUSY
    :: else -> o_failed = 1
    fi
  };
#ifndef LOCKED_AFTER
  if :: !o_failed -> offer() :: else fi;
#endif
  o_failed = 0
}

inline offer() {
  atomic { bit_of[i] = !held[i] && !(i == 0 && lock_wanted) }
}

/* LOCKED -> FREE unless an operator wants it so; then the bit. */
inline reopen() {
  if
  :: atomic { word[i] == LOCKED && !(i == 0 && lock_wanted) && ledger[i] == 0 -> word[i] = FREE; dirty[i] = 0 };
    offer()
  :: else
  fi
}

/* Takes the word for good if it is free; the tick repeats it if not. */
inline lock_word() {
  atomic { lock_wanted = 1 };
#ifdef MUT_LOCK_LEAVES_BIT
#else
  atomic { bit_of[0] = 0 };
#endif
  atomic {
    if :: word[0] == FREE -> g = gen[0] + 1 :: else fi;
    if :: word[0] == LOCKED -> is_locked = 1 :: else fi
  };
  if
  :: g != 0 ->
    atomic { if :: word[0] == FREE && gen[0] == g - 1 -> word[0] = LOCKED; is_locked = 1 :: else fi };
    g = 0
  :: else
  fi
}

#define HAS_NEWS(t) (dying[t] && (gone[t] || ended[t]) && !swept[t])
#if NC == 1
#define NEWS (HAS_NEWS(0))
#define CLIENTS_OVER (gone[0] || ended[0])
#else
#define NEWS (HAS_NEWS(0) || HAS_NEWS(1))
#define CLIENTS_OVER ((gone[0] || ended[0]) && (gone[1] || ended[1]))
#endif
#ifdef LOCKED_AFTER
#define CLEANED (word[0] != LOCKED && word[NS - 1] != LOCKED)
#else
#define CLEANED 1
#endif
#if LOCKS > 0
#define NO_ORDERS (operator == 4)
#else
#define NO_ORDERS 1
#endif
#define ALL_QUIET \
  (CLIENTS_OVER && !NEWS && caller == IDLE && leases == LEASES && NO_ORDERS && CLEANED)

proctype Daemon() {
  byte i, g, p;
  bit held[NS];
  bit lock_wanted, o_failed;
  { skip;
serve:
    if
    /* -- the caller */
    :: atomic { caller == ASKING -> i = 0 };
      if   /* the request id is known already: its answer was lost with a worker */
      :: atomic { ledger[0] != 0 -> i = 0; goto answer }
#if NS > 1
      :: atomic { ledger[1] != 0 -> i = 1; goto answer }
#endif
      :: else
      fi;
      do
      :: i < NS ->
        if
        :: held[i] || i == 0 && lock_wanted -> i++
        :: else ->
          atomic { if :: word[i] == FREE -> g = gen[i] + 1 :: else -> g = 0; i++ fi };
          if
          :: g != 0 ->
#ifndef MUT_BIT_CLEARED_AFTER_CAS
            atomic { bit_of[i] = 0 };
#endif
            atomic {
              if
              :: word[i] == FREE && gen[i] == g - 1 ->
                word[i] = DAEMON; gen[i] = g; held[i] = 1;
                RISES(g > newest[i]); assert(!dirty[i]); newest[i] = g; BECOMES_DIRTY
              :: else -> g = 0
              fi
            };
            if
            :: g != 0 -> break
            :: else ->
#ifndef MUT_FAILED_GRANT_KEEPS_BIT
              offer();
#endif
              i++
            fi
          :: else
          fi
        fi
      :: else -> break
      od;
      if :: i == NS -> i = 0; g = 0; goto serve :: else fi;
#ifdef MUT_BIT_CLEARED_AFTER_CAS
      atomic { bit_of[i] = 0 };
#endif
#ifdef MUT_ANSWERED_BEFORE_LEDGER
      atomic { caller = HOLDING; lease_slot = i; lease_gen = g; holder[i] = DAEMON };
      atomic { ledger[i] = g };
      atomic { i = 0; g = 0; goto serve };
#else
      atomic { ledger[i] = g };
#endif
answer:
      atomic {
        assert(holder[i] == 0 || holder[i] == DAEMON);
        lease_slot = i; lease_gen = ledger[i]; holder[i] = DAEMON; caller = HOLDING;
        i = 0; g = 0; goto serve
      }
    :: atomic { caller == RETURNING -> i = lease_slot; g = lease_gen };
      if
      :: atomic { ledger[i] == g ->
#ifndef MUT_WORD_FREED_BEFORE_LEDGER
           ledger[i] = 0
#endif
         };
        held[i] = 0;
        take_back(DAEMON)
#ifdef MUT_WORD_FREED_BEFORE_LEDGER
        ; atomic { ledger[i] = 0 }
#endif
      :: else
      fi;
      atomic { lease_slot = 0; lease_gen = 0; i = 0; g = 0; caller = IDLE; goto serve }
    /* -- an operator */
    :: operator == 1 ->
      atomic { row_of_lock = 1 }; lock_word(); atomic { operator = 2; answered = 1 }; goto serve
    :: operator == 3 && !row_of_lock -> atomic { operator = 4 }; goto serve   /* refused */
    :: operator == 3 && row_of_lock ->
      atomic { row_of_lock = 0; is_locked = 0; answered = 0 };
      atomic { lock_wanted = 0; i = 0 };
      if :: word[0] == LOCKED -> reopen() :: else -> offer() fi;
      atomic { operator = 4 }; goto serve
    :: lock_wanted && !is_locked && word[0] == FREE -> lock_word(); goto serve   /* the tick */
    :: lock_wanted && !is_locked && word[0] == LOCKED -> atomic { is_locked = 1; goto serve }
#ifdef LOCKED_AFTER
    :: !(lock_wanted) && word[0] == LOCKED -> atomic { bit_of[0] = 0; i = 0 }; reopen(); goto serve
#if NS > 1
    :: word[1] == LOCKED -> atomic { bit_of[1] = 0; i = 1 }; reopen(); atomic { i = 0; goto serve }
#endif
#endif
    /* -- ends */
    :: atomic { NEWS -> p = 0; do :: !HAS_NEWS(p) -> p++ :: else -> break od };
      atomic { revoked[p] = 1 };
      i = 0;
      do
      :: i < NS ->
        atomic { if :: word[i] == p -> g = gen[i] :: else -> g = 0 fi };
        if :: g != 0 -> atomic { if :: word[i] == p && gen[i] == g -> word[i] = AFTER_BUSY :: else fi; g = 0 }
        :: else fi;
        i++
      :: else -> break
      od;
      atomic { swept[p] = 1; p = 0; i = 0; goto serve }
    :: atomic { ALL_QUIET -> goto quiet }
    fi
  } unless {
    atomic {
      crash -> crash = 0; i = 0; g = 0; p = 0; lock_wanted = 0; o_failed = 0;
      held[0] = 0;
#if NS > 1
      held[1] = 0;
#endif
      goto boot
    }
  };
boot:
  { skip;
    do   /* adoption: what the words say */
    :: i < NS ->
#ifdef MUT_ADOPTION_ASKS_WORDS_ALONE
      atomic { g = (word[i] == DAEMON) };
#else
      atomic { g = (word[i] == DAEMON || ledger[i] != 0 || row_of_lock && i == 0) };
#endif
#ifndef MUT_ADOPTION_KEEPS_BITS
#ifdef MUT_ADOPTION_OPENS_ALL
      atomic { bit_of[i] = 1 };
#else
      atomic { bit_of[i] = (g == 0) };
#endif
#endif
      g = 0; i++
    :: else -> break
    od;
    i = 0;
    do   /* what the ledger says */
    :: i < NS ->
      if
      :: ledger[i] != 0 ->
        atomic { bit_of[i] = 0 };
        atomic {
#ifdef HOSTILE
          if :: word[i] == FREE -> word[i] = DAEMON; gen[i] = ledger[i] :: else fi;
#else
          assert(word[i] == DAEMON && gen[i] == ledger[i]);
#endif
          held[i] = 1
        }
      :: else
      fi;
      i++
    :: else -> break
    od;
    i = 0;
#ifdef MUT_LOCKED_AFTER_UNWRITTEN_GRANTS
#ifndef MUT_UNWRITTEN_GRANTS_STAY
    i = 0;
    do   /* words of the daemon that the ledger does not know were never answered */
    :: i < NS ->
      if
      :: ledger[i] == 0 ->
        atomic { if :: word[i] == DAEMON -> g = gen[i] :: else fi };
        if :: g != 0 -> take_back(DAEMON) :: else fi
      :: else
      fi;
      g = 0; i++
    :: else -> break
    od;
    i = 0;
#endif
    if :: row_of_lock -> lock_word() :: else fi;
#else
    if :: row_of_lock -> lock_word() :: else fi;
#ifndef MUT_UNWRITTEN_GRANTS_STAY
    i = 0;
    do   /* words of the daemon that the ledger does not know were never answered */
    :: i < NS ->
      if
      :: ledger[i] == 0 ->
        atomic { if :: word[i] == DAEMON -> g = gen[i] :: else fi };
        if :: g != 0 -> take_back(DAEMON) :: else fi
      :: else
      fi;
      g = 0; i++
    :: else -> break
    od;
    i = 0;
#endif
#endif
#if !defined(LOCKED_AFTER) && !defined(MUT_FORGOTTEN_LOCK_STAYS)
    /* a lock that was undone, but for its word */
    if :: !row_of_lock && word[0] == LOCKED -> reopen() :: else fi;
#endif
    goto serve
  } unless {
    atomic {
      crash -> crash = 0; i = 0; g = 0; p = 0; lock_wanted = 0; o_failed = 0;
      held[0] = 0;
#if NS > 1
      held[1] = 0;
#endif
      goto boot
    }
  };
quiet:
  atomic {
    i = 0;
    do
#ifndef HOSTILE
    :: i < NS -> assert(word[i] == FREE && bit_of[i] && ledger[i] == 0); i++
#endif
    :: else -> break
    od
  }
}

proctype Caller() {
  do
  :: atomic { caller == IDLE && leases < LEASES -> leases++; caller = ASKING }
  :: atomic { caller == HOLDING ->
#ifndef HOSTILE
       assert(word[lease_slot] == DAEMON && gen[lease_slot] == lease_gen);
#endif
       holder[lease_slot] = 0; caller = RETURNING }
  :: atomic { caller == IDLE && leases == LEASES -> break }
  od
}

proctype Operator() {
  atomic { operator = 1 };
  atomic { operator == 2 -> operator = 3 }
}

#ifdef HOSTILE
proctype Hostile() {
end_nothing:
  atomic { word[0] == DAEMON -> word[0] = FREE; if :: gen[0]-- :: skip fi }
}
#endif

proctype Faults() {
  do
  :: atomic { crashes > 0 && !crash -> crashes--; crash = 1 }
  :: atomic { kills > 0 -> kills--; dying[0] = 1 }
  :: atomic { kills = 0; crashes = 0; break }
  od
}

init {
  atomic {
    byte i = 0;
    do :: i < NS -> word[i] = FREE; bit_of[i] = 1; i++ :: else -> break od;
    i = 0;
    do :: i < NC -> run Client(i); i++ :: else -> break od;
    i = 0;
    run Daemon(); run Caller(); run Faults();
#if LOCKS > 0
    run Operator();
#endif
#ifdef HOSTILE
    run Hostile();
#endif
    i = 0
  }
}
