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
byte heard_life[NP];                   /* `life` when its library attached */
/* On the way to a library: that the pool moved, the newest token that was taken back. */
bit moved_news[NP];
byte ended_news[NP];
/* On the way to the worker: a claim, and that there are no more. Its answer: 1 accepted, 2 not. */
byte claims[NP], answer[NP];
bit waits[NP];                         /* for the answer */
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
#define IS_HUNG_UP(p) (heard_life[p] != life)
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

#include "rotate_client.pml"
#include "rotate_daemon.pml"

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
