/* SPDX-License-Identifier: Apache-2.0
 *
 * The segment is lost: a daemon and its keeper die, the lifelines of two processes hang up, each at
 * its own time, and both declare what they hold to the next daemon. NT = 2 processes of one thread
 * and one library thread; one slot in the old segment and in the new one.
 *
 * Shown: no slot has two holders, a hold survives the move, and in the end the slot of the new
 * segment is free. What the grace time is for is assumed: recovery ends when both have declared.
 */
#define NT 2
#define FREE 7
#define TOKEN(seg, g) ((seg) * 16 + (g))   /* the epoch first */

byte owner[2] = FREE, gen[2];    /* the slot in the old and in the new segment */
bit offered[2];                  /* its grant bit */
bit dead;                        /* the first daemon and its keeper are gone */
bit moving[NT];                  /* segment_dead or attach_gen: acquisitions undo themselves */
bit moved[NT];                   /* the present attachment is that of the new segment */
byte claim[NT];                  /* what the process knows it holds: generation */
byte pending[NT];
bit lock[NT];                    /* the session's mutex */
byte declared;                   /* processes whose claims are settled */
byte claimed;                    /* generation of the claim that has the slot */
byte holder, newest;
byte ended;

proctype Thread(byte t) {
  byte g, round;
  bit seg;
  do
  :: round < 2 ->
    round++;
    atomic { seg = moved[t] };
    atomic { g = (owner[seg] == FREE && offered[seg] -> gen[seg] + 1 : 0) };
    if
    :: g != 0 ->
      atomic { pending[t] = g };
      atomic {
        if
        :: owner[seg] == FREE && gen[seg] == g - 1 -> owner[seg] = t; gen[seg] = g
        :: else -> g = 0
        fi
      };
      if
      :: g != 0 ->
        atomic {   /* the last check is the instant of the grant */
          if
#ifndef MUT_NO_ATTACHMENT_CHECK
          :: moving[t] || seg != moved[t] -> goto undo
#endif
          :: else -> assert(holder == 0); holder = t + 1;
            assert(TOKEN(seg, g) > newest); newest = TOKEN(seg, g)
          fi
        };
        atomic { claim[t] = g };
        atomic { seg = moved[t] };
        atomic { claim[t] = 0; holder = 0 };   /* noted first: the application has let go */
        atomic {   /* the release CAS */
          if :: owner[seg] == t && gen[seg] == g -> owner[seg] = FREE
             :: else -> assert(0)
          fi;
          pending[t] = 0
        };
        if
        :: atomic { moving[t] || seg != moved[t] -> skip };
#ifndef MUT_MOVED_RELEASE_NOT_FINISHED
          atomic { !lock[t] -> lock[t] = 1 };
          if
          :: seg != moved[t] ->
            atomic { if :: owner[1] == t && gen[1] == g -> owner[1] = FREE :: else fi }
          :: else
          fi;
          atomic { lock[t] = 0 }
#endif
        :: else
        fi;
        g = 0;
        goto next;
undo:
        atomic {
          if :: owner[seg] == t && gen[seg] == g -> owner[seg] = FREE :: else fi;
          pending[t] = 0; g = 0
        }
      :: else -> pending[t] = 0
      fi
    :: else
    fi;
next:
    seg = 0
  :: else -> break
  od;
  ended++
}

proctype Library(byte t) {
  byte g;
  bit accepted;
  dead;
#ifndef MUT_COLLECTED_BEFORE_MOVING
  atomic { moving[t] = 1 };
#endif
#ifndef MUT_PENDING_NOT_AWAITED
  /* an acquisition that was won is noted or undone: the word is not its, or the claim is */
  atomic { pending[t] == 0 || owner[0] != t || gen[0] != pending[t] || claim[t] == pending[t] };
#endif
  atomic { g = claim[t] };
#ifndef MUT_WORD_NOT_LOOKED_AT
  atomic { if :: owner[0] == t && gen[0] == g :: else -> g = 0 fi };
#endif
#ifdef MUT_COLLECTED_BEFORE_MOVING
  atomic { moving[t] = 1 };
#endif
  if
  :: g != 0 ->
    atomic {   /* the next daemon hears the claim: the higher token has the slot */
#ifdef MUT_LATER_CLAIM_WINS
      if
      :: 1 ->
#else
      if
      :: owner[1] == FREE && g > claimed || owner[1] != FREE && g > claimed ->
#endif
        owner[1] = t; gen[1] = g; claimed = g; accepted = 1
      :: else
      fi
    }
  :: else
  fi;
  atomic { !lock[t] -> lock[t] = 1 };
  atomic { moved[t] = 1 };
#ifndef MUT_RELEASED_MEANWHILE_STAYS
  if   /* released in the old segment after it was declared */
  :: accepted ->
    atomic {
      if
      :: !(owner[0] == t && gen[0] == g) ->
        if :: owner[1] == t && gen[1] == g -> owner[1] = FREE :: else fi
      :: else
      fi
    }
  :: else
  fi;
#endif
  atomic { lock[t] = 0; moving[t] = 0; g = 0; accepted = 0; declared++ }
}

proctype Daemon() {
  atomic { dead = 1 };
#ifdef MUT_OFFERED_WHILE_RECOVERING
  atomic { offered[1] = 1 };
#endif
  atomic { declared == NT -> offered[1] = 1 };
  atomic { ended == NT -> assert(owner[1] == FREE) }
}

init {
  atomic {
    offered[0] = 1;
    run Thread(0); run Thread(1); run Library(0); run Library(1); run Daemon()
  }
}
