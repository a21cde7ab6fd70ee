/* SPDX-License-Identifier: Apache-2.0
 *
 * Sleeping and waking, for models whose threads sleep on one word. `asleep[t]` says that the kernel
 * has queued thread t; which of them a wake finds is open.
 */
bit asleep[NT];

#if NT > 1
#define SECOND_SLEEPER :: asleep[1] -> asleep[1] = 0
#else
#define SECOND_SLEEPER
#endif
#if NT > 2
#define THIRD_SLEEPER :: asleep[2] -> asleep[2] = 0
#else
#define THIRD_SLEEPER
#endif

inline wake_one() {
  if
  :: asleep[0] -> asleep[0] = 0
  SECOND_SLEEPER
  THIRD_SLEEPER
  :: else
  fi
}

inline wake_all() {
  asleep[0] = 0;
#if NT > 1
  asleep[1] = 0;
#endif
#if NT > 2
  asleep[2] = 0;
#endif
}
