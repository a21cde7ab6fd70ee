/* SPDX-License-Identifier: Apache-2.0
 *
 * The gate, `dseq` and the daemon's queue: NT client threads, each the only one of its process,
 * wait for slots on `wseq` or in the queue; the daemon serves remote callers and queued clients in
 * order. One library thread a process answers tickets.
 *
 *   FIFO     clients queue at the first failed try; else they may queue at any time (or not)
 *   TRY      clients only try, and do not wait
 *   REMOTE   a remote caller asks, keeps the slot and gives it back
 *   CRASHES, KILLS, VOIDS (clients go on without the gate for a while), FULL (the queue refuses)
 *
 * Shown: nobody sleeps beside a free slot, the daemon included; no slot has two holders; in the end
 * every slot is free. Nets (tick, longest sleep) are left out.
 */
#ifndef NT
#define NT 1
#endif
#ifndef CRASHES
#define CRASHES 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef VOIDS
#define VOIDS 0
#endif
#ifndef FULL
#define FULL 0
#endif
#define FREE 7
#define DAEMON 6
#include "futex.pml"

mtype = { OPEN, NOTIFY, CLOSED, IDLE, WAITING, NUDGED, GRANTED, REFUSED, LEFT };
mtype = { GRANT, REFUSE, AGAIN, AUDIT };
mtype = { NONE, ASKING, QUEUED, HOLDING, RETURNING, DONE };

byte owner = FREE, gen;   /* the slot */
mtype gate = OPEN;
byte wseq, count, turn, dseq;
bit daemon_sleeps;
mtype ticket[NT] = IDLE;
byte number[NT];                 /* of the present ticket */
byte known[NT], pending[NT];     /* what the process knows it holds: generation */
bit gate_void[NT];
chan inbox[NT] = [4] of { mtype, byte, byte };   /* kind, ticket, generation */
#define LEAVES 200
chan outbox[NT] = [4] of { byte, byte };   /* ticket and 0 or LEAVES; 0 and a generation denied */
bit revoked[NT], dying[NT], ended[NT], gone[NT], swept[NT];
byte lined[NT];                  /* its ticket in the daemon's queue, 0 none */
mtype remote = NONE;
byte lease;                      /* the ledger */
byte kills = KILLS, crashes = CRASHES, voids = VOIDS, refusals = FULL;
bit crash;
byte holder, newest;
chan line = [NT + 1] of { byte, byte };   /* who waits, with which ticket; in the worker's memory */

inline wake_part() {
  atomic { c = (count != 0) };
  if :: c -> c = 0; atomic { wseq++ }; atomic { wake_one() } :: else fi
}

/* What follows a FREE that a client wrote. */
inline wake_after_free() {
#ifndef MUT_GATE_BEFORE_CAS
  atomic { shut = gate };
#endif
  if
#ifdef MUT_NOTIFY_IS_OPEN
  :: shut == CLOSED ->
#else
  :: shut != OPEN ->
#endif
    atomic { dseq++ }; atomic { daemon_sleeps = 0 }
  :: else
  fi;
  if
  :: shut != CLOSED || gate_void[t] ->
    wake_part()
  :: else
  fi;
  shut = OPEN
}

inline delist() {
  atomic {
    if :: listed && turn == my_turn && count > 0 -> count-- :: else fi;
    listed = 0; my_turn = 0
  }
}

proctype Client(byte t) {
  byte g, s, k, my_turn;
  bit listed, c, on, no_queue, shut_out;
  mtype shut = OPEN;
  { skip;
again:
    atomic { if :: revoked[t] -> goto leave :: else fi };
    atomic { s = wseq };
    atomic { on = gate_void[t] };
#ifdef TRY
    goto look;
#endif
#ifdef FIFO
    if :: !on && !no_queue -> goto look :: else fi;
#endif
    atomic {
      if :: listed && turn == my_turn :: else -> count++; my_turn = turn; listed = 1 fi
    };
look:
    atomic { if :: gate == CLOSED && !on && !no_queue -> goto queue
                :: gate == CLOSED && !on && no_queue -> shut_out = 1; goto sleep
                :: else fi };
    atomic { if :: owner == FREE -> g = gen + 1 :: else -> goto none fi };
    atomic { pending[t] = g };
    atomic {
      if
      :: owner == FREE && gen == g - 1 ->
        owner = t; gen = g; assert(g > newest); newest = g
      :: else -> g = 0; goto none
      fi
    };
    atomic { if :: revoked[t] -> goto undo :: else fi };
#ifndef MUT_NO_GATE_CHECK
    atomic { if :: gate == CLOSED && !on -> goto undo :: else fi };
#endif
    atomic { known[t] = g };
    goto got;
undo:
    atomic { if :: owner == t && gen == g -> owner = FREE :: else -> g = 0; goto again fi; g = 0 };
#ifndef MUT_NO_WAKE_IN_UNDO
    wake_after_free();
#endif
#ifdef TRY
    goto over;
#else
    goto again;
#endif
none:
#ifdef TRY
    goto over;
#endif
#ifdef FIFO
    if :: !on && !no_queue -> goto queue :: else fi;
#else
    if :: !no_queue && !on -> goto queue :: skip fi;   /* it has waited long, or not */
#endif
sleep:
    atomic { if :: wseq == s -> asleep[t] = 1 :: else fi; s = 0; on = 0 };
    atomic {
      !asleep[t] ->
      if :: shut_out -> no_queue = 0 :: skip fi;   /* asks again, if the last time is long past */
      shut_out = 0;
      goto again
    };

queue:
#ifdef TRY
    goto over;
#endif
    delist();
    atomic { s = 0; on = 0; number[t]++; ticket[t] = WAITING };
    outbox[t]!number[t], 0;
waiting:
    atomic {
      if
      :: ticket[t] == GRANTED -> g = known[t]; ticket[t] = IDLE; goto granted
      :: ticket[t] == REFUSED -> ticket[t] = IDLE; no_queue = 1; goto again
      :: ticket[t] == NUDGED -> ticket[t] = WAITING
      :: else
      fi
    };
    atomic { if :: revoked[t] || gate_void[t] :: else -> goto doze fi };
    atomic {   /* WAITING -> LEFT, by CAS */
      if
#ifdef MUT_LEAVES_WITHOUT_CAS
      :: 1 -> ticket[t] = LEFT
#else
      :: ticket[t] == WAITING -> ticket[t] = LEFT
#endif
      :: else -> goto waiting
      fi
    };
    outbox[t]!number[t], LEAVES;
    goto again;
doze:
    atomic { ticket[t] != WAITING -> goto waiting };
granted:
    atomic { if :: revoked[t] -> goto undo :: else fi };
got:
    atomic { assert(holder == 0); holder = t + 1; on = 0 };
    delist();
#ifdef MUT_GATE_BEFORE_CAS
    atomic { shut = gate };
#endif
    atomic {
      holder = (holder == t + 1 -> 0 : holder);
      if :: owner == t && gen == g -> owner = FREE :: else -> assert(revoked[t]); goto over fi;
      known[t] = 0; pending[t] = 0; g = 0
    };
    wake_after_free();
    goto over;
leave:
    delist();
    wake_after_free();
over:
    atomic { g = 0; s = 0; on = 0; no_queue = 0; shut_out = 0; ended[t] = 1 }
  } unless {
    atomic {
      dying[t] && !ended[t] ->
      g = 0; s = 0; c = 0; on = 0; listed = 0; my_turn = 0; no_queue = 0; shut = OPEN;
      shut_out = 0;
      asleep[t] = 0; if :: holder == t + 1 -> holder = 0 :: else fi;
      ticket[t] = IDLE; number[t] = 0; known[t] = 0; pending[t] = 0; gone[t] = 1
    }
  }
}

proctype Library(byte t) {
  byte n, g;
  bit c;
  mtype shut = OPEN;
end_listening:
  do
  :: atomic { gone[t] && len(inbox[t]) > 0 -> inbox[t]?_, _, _ }
  :: atomic { !gone[t] && inbox[t]?[GRANT, _, _] -> inbox[t]?GRANT, n, g }
#ifndef MUT_GRANT_NOT_CLAIMED
    atomic { known[t] = g };
#endif
    atomic {
      if
      :: number[t] == n && (ticket[t] == WAITING || ticket[t] == NUDGED) ->
        ticket[t] = GRANTED; n = 0; g = 0; goto end_listening
      :: else -> n = 0
      fi
    };
#ifndef MUT_GRANT_FOR_A_LEFT_TICKET_KEPT
    atomic {
      if :: owner == t && gen == g -> owner = FREE :: else -> g = 0; goto end_listening fi;
      if :: known[t] == g -> known[t] = 0 :: else fi; g = 0
    };
    wake_after_free();
#endif
  :: atomic { !gone[t] && inbox[t]?[REFUSE, _, _] -> inbox[t]?REFUSE, n, g ->
       if
       :: number[t] == n && (ticket[t] == WAITING || ticket[t] == NUDGED) -> ticket[t] = REFUSED
       :: else
       fi; n = 0; g = 0 }
  :: atomic { !gone[t] && inbox[t]?[AGAIN, _, _] -> inbox[t]?AGAIN, n, g -> n = 0; g = 0;
#ifndef MUT_TICKETS_NOT_SENT_AGAIN
       if
       :: len(outbox[t]) < 4 && (ticket[t] == WAITING || ticket[t] == NUDGED) ->
         outbox[t]!number[t], 0
       :: else
       fi
#endif
     }
  :: atomic { !gone[t] && inbox[t]?[AUDIT, _, _] -> inbox[t]?AUDIT, n, g -> n = 0;
#ifdef MUT_AUDIT_IGNORES_PENDING
       if :: known[t] != g -> outbox[t]!0, g :: else fi;
#else
       if :: known[t] != g && pending[t] != g -> outbox[t]!0, g :: else fi;
#endif
       g = 0 }
#if VOIDS > 0
  :: atomic { voids > 0 && !ended[t] && !gone[t] -> voids--; gate_void[t] = 1 };
    atomic { if :: ticket[t] == WAITING -> ticket[t] = NUDGED :: else fi };
    atomic { gate_void[t] = 0 }
#endif
  od
}

#define OVER(t) (ended[t] || gone[t])
#define ENDS(t) (dying[t] && OVER(t) && !swept[t])
#define TALKS(t) (len(outbox[t]) > 0)
#if NT == 1
#define ANY_END ENDS(0)
#define ALL_OVER OVER(0)
#define ANY_TALK TALKS(0)
#else
#define ANY_END (ENDS(0) || ENDS(1))
#define ALL_OVER (OVER(0) && OVER(1))
#define ANY_TALK (TALKS(0) || TALKS(1))
#endif
#define EVENT (ANY_END || ANY_TALK || remote == ASKING || remote == RETURNING)

inline set_gate(wanted) {
  if
  :: gate == wanted
  :: else ->
    atomic { old = gate; gate = wanted };
    if
    :: wanted == CLOSED ->
      atomic { wseq++ };
      atomic { wake_all() }
    :: wanted != CLOSED && old == CLOSED ->
      atomic { c = (owner == FREE) };
      if :: c -> wake_part() :: else fi
    :: else
    fi;
    old = OPEN
  fi
}

inline kick() { atomic { count = 0; turn++ }; atomic { wseq++ }; atomic { wake_all() } }


inline freed_by_daemon() { if :: gate != CLOSED -> wake_part() :: else fi }

inline forget_waiter() {
  if :: lined[p] != 0 -> line??eval(p), _; lined[p] = 0 :: else fi
}

proctype Daemon() {
  byte p, g, d, n;
  bit c;
  mtype old = OPEN, wanted = OPEN;
  { skip;
serving:
    atomic { d = dseq };
events:
    if
    :: atomic { ANY_END -> p = 0; do :: !ENDS(p) -> p++ :: else -> break od };
      atomic { revoked[p] = 1 };
#ifndef MUT_TICKETS_OUTLIVE_THEIR_SESSION
      atomic {
        forget_waiter();
        do :: len(outbox[p]) > 0 -> outbox[p]?_, _ :: len(outbox[p]) == 0 -> break od;
        skip
      };
#endif
      atomic { g = (owner == p -> gen : 0) };
      if :: g != 0 -> atomic { if :: owner == p && gen == g -> owner = FREE :: else fi } :: else fi;
      atomic { c = (count != 0) };
      if :: c -> c = 0; kick() :: else fi;
      atomic { swept[p] = 1; p = 0; g = 0 }
    :: atomic { !ANY_END && ANY_TALK -> p = 0; do :: !TALKS(p) -> p++ :: else -> break od };
      atomic { outbox[p]?n, g };
      if
      :: n == 0 ->   /* denied in an audit */
        atomic { if :: owner == p && gen == g -> owner = FREE :: else -> g = 0 fi };
        if :: g != 0 -> freed_by_daemon() :: else fi
      :: n != 0 && g == LEAVES -> atomic { if :: lined[p] == n -> forget_waiter() :: else fi }
      :: n != 0 && g == 0 && refusals > 0 && !dying[p] -> refusals--; inbox[p]!REFUSE, n, 0
      :: n != 0 && g == 0 -> atomic { if :: lined[p] == 0 -> line!p, n; lined[p] = n :: else fi }
      fi;
      atomic { n = 0; g = 0; p = 0 }
    :: atomic { !ANY_END && !ANY_TALK && remote == ASKING ->
         if
         :: lease != 0 -> remote = HOLDING; assert(holder == 0 && owner == DAEMON); holder = DAEMON
         :: else -> line!DAEMON, 1; remote = QUEUED
         fi }
    :: atomic { !ANY_END && !ANY_TALK && remote == RETURNING -> g = lease; lease = 0 };
      atomic { if :: owner == DAEMON && gen == g -> owner = FREE :: else -> g = 0 fi };
      if :: g != 0 -> freed_by_daemon() :: else fi;
      atomic { g = 0; remote = DONE }
    :: !EVENT -> goto settle
    fi;
    goto events;
settle:
    do
    :: len(line) > 0 ->
      atomic { line?<p, n>; g = (owner == FREE -> gen + 1 : 0) };
      if :: g == 0 -> break :: else fi;
      atomic {
        if
        :: owner == FREE && gen == g - 1 ->
          owner = p; gen = g; assert(g > newest); newest = g; line?_, _;
          if :: p != DAEMON -> lined[p] = 0 :: else fi
        :: else -> g = 0
        fi
      };
      if
      :: g != 0 && p == DAEMON ->
        atomic { lease = g };
        atomic { remote = HOLDING; assert(holder == 0); holder = DAEMON }
      :: g != 0 && p != DAEMON && !dying[p] -> inbox[p]!GRANT, n, g
      :: g != 0 && p != DAEMON && dying[p] ->   /* it cannot be sent: undone, and the session ends */
        atomic { if :: owner == p && gen == g -> owner = FREE :: else fi; swept[p] = 0 };
        freed_by_daemon()
      :: else
      fi;
      atomic { g = 0; n = 0; p = 0 }
    :: len(line) == 0 -> break
    od;
    atomic {
      g = 0; n = 0; p = 0;
      if
      :: len(line) == 0 -> wanted = OPEN
#ifdef FIFO
      :: len(line) > 0 -> wanted = CLOSED
#else
      :: len(line) > 0 && gate != CLOSED -> wanted = NOTIFY
      :: len(line) > 0 -> wanted = CLOSED   /* its head has lost its patience */
#endif
      fi
    };
    if
    :: gate != wanted ->
      set_gate(wanted);
#ifndef MUT_NO_LOOK_AFTER_CLOSING
      if :: wanted != OPEN -> wanted = OPEN; goto settle :: else fi
#endif
    :: else
    fi;
    wanted = OPEN;
#ifdef MUT_DSEQ_READ_LAST
    atomic { d = dseq };
#endif
    atomic { if :: dseq == d && !EVENT -> daemon_sleeps = 1 :: else fi; d = 0 };
end_asleep:
    atomic { !daemon_sleeps || EVENT -> daemon_sleeps = 0; goto serving }
  } unless { atomic { crash -> crash = 0; goto boot } };
boot:
  { skip;
    atomic {
      p = 0; g = 0; d = 0; n = 0; c = 0; old = OPEN; wanted = OPEN; daemon_sleeps = 0;
      do :: len(line) > 0 -> line?_, _ :: else -> break od;
      do :: p < NT -> lined[p] = 0; p++ :: else -> break od; p = 0;
      if :: remote == QUEUED -> remote = ASKING :: else fi   /* the call broke: made again */
    };
    kick();
    atomic { if :: owner == DAEMON && lease == 0 -> g = gen :: else fi };
    if
    :: g != 0 -> atomic { if :: owner == DAEMON && gen == g -> owner = FREE :: else fi; g = 0 };
      freed_by_daemon()
    :: else
    fi;
    p = 0;
    do
    :: p < NT ->
      if
      :: !dying[p] && !ended[p] ->
        inbox[p]!AGAIN, 0, 0;
#ifndef MUT_NO_AUDIT_AFTER_CRASH
        atomic { if :: owner == p -> inbox[p]!AUDIT, 0, gen :: else fi }
#endif
      :: else
      fi;
      p++
    :: else -> break
    od;
    p = 0;
    goto serving
  } unless { atomic { crash -> crash = 0; goto boot } }
}

proctype Remote() {
  atomic { remote = ASKING };
  atomic { remote == HOLDING -> assert(owner == DAEMON && gen == lease); holder = 0;
           remote = RETURNING };
  atomic { remote == DONE -> skip }
}

proctype Faults() {
  do
  :: atomic { kills > 0 -> kills--; if :: !ended[0] -> dying[0] = 1 :: else fi }
  :: atomic { crashes > 0 && !crash -> crashes--; crash = 1 }
  :: atomic { kills = 0; crashes = 0; voids = 0; break }
  od;
  /* Nothing is left to happen: every slot is free. */
  timeout -> assert(owner == FREE && lease == 0)
}

init {
  atomic {
    byte i = 0;
    do :: i < NT -> run Client(i); run Library(i); i++ :: else -> break od;
    i = 0;
    run Daemon(); run Faults();
#ifdef REMOTE
    run Remote()
#endif
  }
}
