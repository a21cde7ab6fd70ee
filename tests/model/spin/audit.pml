/* SPDX-License-Identifier: Apache-2.0
 *
 * What one process knows it holds, and the audit: NT threads of one process take slots and give
 * back what they or others took, OPS times each; its library thread answers "do you hold slot i at
 * generation g?" while they do, the daemon takes back what is denied. The daemon also takes single
 * leases from the living process (TAKES) and tells it, and may have granted a slot that the process
 * never heard of, before the others (LOST) or after them (LOST_LAST).
 *
 * Per slot the tables `taken`, `given`, `lost`; per thread the record of the slot touched last.
 *
 * Shown: a thread's release fails only if the daemon told of taking that lease; a generation is
 * granted once; in the end a hold that nobody knows is denied, and the tables name no hold that
 * nobody has, unless a release was noted at the very instant of a later one.
 */
#ifndef NT
#define NT 2
#endif
#ifndef NS
#define NS 1
#endif
#ifndef OPS
#define OPS 3
#endif
#ifndef AUDITS
#define AUDITS 1
#endif
#ifndef TAKES
#define TAKES 0
#endif
#define HELD(i) (taken[i] > lost[i] && given[i] != taken[i])
#define RECORD(i, g) (((g) << 1) + (i))   /* at most two slots */

bit busy[NS];
byte gen[NS];
byte taken[NS], given[NS], lost[NS];   /* the process's tables */
byte record[NT];
mtype = { AUDIT, REVOKED };
chan to_library = [3] of { mtype, bit, byte };
chan to_daemon = [1] of { bit, byte, bit };
byte finished;
bit at_work;       /* the library's thread has not done yet what it was told */
byte handle[NS];   /* leases that threads of the process may give back: generation, 0 none */
/* What the world knows. */
byte newest[NS];
byte taken_back[NS];   /* newest generation the daemon took by an order of somebody */
bit vouched[NS];       /* what was noted of a lease taken back may hide a later one */
bit crossed[NS];       /* a release was noted when its grant was the newest no more, though it was
                          when its thread looked */

/* A lease that is not the one noted last was taken back: its note would go over a later one. */
inline note_release() {
#ifdef MUT_RELEASE_NOTED_BLINDLY
  atomic { given[i] = g };
#else
  atomic { is_newest = (taken[i] == g) };
  if
  :: is_newest ->
    atomic {
      given[i] = g; is_newest = 0;
      if :: taken[i] != g -> crossed[i] = 1 :: else fi
    }
  :: else
  fi;
#endif
}

/* Takes a slot, or gives back one that any thread of the process took. */
proctype Thread(byte t) {
  byte i, g, n;
  bit is_newest;
  do
  :: n < OPS ->
    n++;
    if
    :: i = 0;
#if NS > 1
    :: i = 1;
#endif
    fi;
    if
    :: atomic { !busy[i] -> g = gen[i] + 1 };
#ifndef MUT_RECORD_AFTER_CAS
      atomic { record[t] = RECORD(i, g) };
#endif
      atomic {
        if
        :: !busy[i] && gen[i] == g - 1 ->
          busy[i] = 1; gen[i] = g;
          assert(g > newest[i]); newest[i] = g
        :: else -> g = 0
        fi
      };
      if
      :: g != 0 ->
#ifdef MUT_RECORD_AFTER_CAS
        atomic { record[t] = RECORD(i, g) };
#endif
#ifdef MUT_RECORD_CLEARED_BEFORE_NOTE
        atomic { record[t] = 0 };
#endif
        atomic {
#ifndef MUT_NO_NOTE
          taken[i] = g; crossed[i] = 0; vouched[i] = (g <= lost[i]);
#endif
          handle[i] = g; g = 0
        }
      :: else
      fi
    :: atomic { handle[i] != 0 -> g = handle[i]; handle[i] = 0 };
#ifndef MUT_NO_TOUCH
      atomic { record[t] = RECORD(i, g) };
#endif
#ifndef MUT_RELEASE_NOTED_AFTER_CAS
      note_release();
#endif
      atomic {
        if
        :: busy[i] && gen[i] == g -> busy[i] = 0
        :: else -> assert(taken_back[i] >= g)
        fi
      };
#ifdef MUT_RELEASE_NOTED_AFTER_CAS
      note_release();
#endif
      g = 0
    :: else   /* taken, and its handle is in somebody's hand */
    fi;
    i = 0
  :: else -> break
  od;
  atomic { i = 0; g = 0; n = 0; finished++ }
}

/* Whether a record names what is asked: one load each. */
inline look_at_records() {
  k = 0;
  do
  :: k < NT && !known ->
    atomic { if :: record[k] == RECORD(i, g) -> known = 1 :: else fi; k++ }
  :: else -> break
  od;
  k = 0
}

proctype Library() {
  byte g, k, a;
  bit i, known, held;
end_waiting:
  do
  :: atomic { to_library?AUDIT, i, g -> known = 0; at_work = 1 };
#ifndef MUT_RECORDS_AFTER_TABLES_ONLY
    look_at_records();
#endif
    if
    :: !known ->
      atomic { a = taken[i] };
      atomic { if :: a <= lost[i] -> a = 0 :: else fi };
      if :: a != 0 -> atomic { if :: given[i] == a -> a = 0 :: else fi } :: else fi;
      held = (a != 0 && a == g);
      a = 0;
      if
      :: held -> known = 1
      :: else ->
#ifndef MUT_RECORDS_BEFORE_TABLES_ONLY
        look_at_records();
#endif
#ifndef MUT_LATE_NOTE_BELIEVED
        if
        :: !known ->
          atomic {
            if
#ifdef MUT_NOTHING_IS_NEWER
            :: lost[i] != 0 && taken[i] <= lost[i] -> known = 1
#else
            :: taken[i] != 0 && taken[i] <= lost[i] -> known = 1
#endif
            :: else
            fi
          }
        :: else
        fi
#endif
      fi;
      held = 0
    :: else
    fi;
    atomic { to_daemon!i, g, known; known = 0; g = 0; i = 0; at_work = 0 }
  :: atomic {
       to_library?REVOKED, i, g -> at_work = 1;
       if :: g > lost[i] -> lost[i] = g :: else fi
     };
#ifndef MUT_REVOKED_NOTE_STAYS
    atomic { a = (taken[i] <= lost[i] -> taken[i] : 0) };
    if
    :: a != 0 ->
#ifndef MUT_NOTE_CLEARED_UNSEEN
      atomic { if :: busy[i] -> a = 0; vouched[i] = 1 :: else fi };
#endif
      atomic {   /* by CAS */
        if :: a != 0 && taken[i] == a -> taken[i] = 0; vouched[i] = 0 :: else fi;
        a = 0
      }
    :: else
    fi;
#endif
    atomic { i = 0; g = 0; at_work = 0 }
  od
}

proctype Daemon() {
  byte g, audits, takes;
  bit i, known;
  do
  :: audits < AUDITS ->
    audits++;
#if NS > 1
    if :: i = 0 :: i = 1 fi;
#endif
    atomic { if :: busy[i] -> g = gen[i] :: else -> g = 0 fi };
    if
    :: g != 0 ->
      to_library!AUDIT, i, g;
      atomic { to_daemon?i, g, known -> if :: known -> g = 0 :: else fi; known = 0 };
      if
      :: g != 0 -> atomic {
          if :: busy[i] && gen[i] == g -> busy[i] = 0 :: else fi;
          g = 0
        }
      :: else
      fi
    :: else
    fi
#if TAKES > 0
  :: takes < TAKES ->
    takes++;
#if NS > 1
    if :: i = 0 :: i = 1 fi;
#endif
    atomic { if :: busy[i] -> g = gen[i] :: else -> g = 0 fi };
    if
    :: g != 0 ->
      atomic {
        if
        :: busy[i] && gen[i] == g -> busy[i] = 0; taken_back[i] = g
        :: else -> g = 0
        fi
      };
#ifndef MUT_TAKING_NOT_TOLD
      if :: g != 0 -> to_library!REVOKED, i, g :: else fi;
#endif
      g = 0
    :: else
    fi
#endif
  :: audits == AUDITS -> break
  od;
  atomic {
    finished == NT && empty(to_library) && !at_work;
    i = 0;
    assert(!HELD(i) || busy[i] && gen[i] == taken[i] || crossed[i]);
#if NS > 1
    i = 1;
    assert(!HELD(i) || busy[i] && gen[i] == taken[i] || crossed[i]);
#endif
    i = 0; g = 0
  };
#ifdef LOST   /* one more question about what only the word knows */
  g = gen[0];
  if
  :: busy[0] ->
    to_library!AUDIT, i, g;
    to_daemon?i, g, known;
    assert(!known || handle[0] == g)
  :: else
  fi
#endif
#ifdef LOST_LAST   /* one that the process does not hear of */
  if
  :: atomic { !busy[0] -> busy[0] = 1; gen[0]++; g = gen[0] };
    to_library!AUDIT, 0, g;
    to_daemon?i, g, known;
    assert(!known || vouched[0])
  :: else
  fi
#endif
}

init {
  atomic {
#ifdef LOST
    busy[0] = 1; gen[0] = 1; newest[0] = 1;
#endif
    byte t = 0;
    do :: t < NT -> run Thread(t); t++ :: else -> break od;
    t = 0;
    run Library(); run Daemon()
  }
}
