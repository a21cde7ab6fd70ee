// SPDX-License-Identifier: Apache-2.0
//
// A client of the soak: leases slots under the eyes of the guard file and, now and then, forks,
// executes itself anew, or closes every descriptor it has, as programs do.
//   soak_client SERVER POOL GUARD_FILE SEED
// Ends in good order on SIGTERM.
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

#include "leaseplane/client.h"
#include "tests/support/guard_file.h"

namespace {

volatile sig_atomic_t g_stop = 0;
std::atomic<bool> g_has_closed_all{false};  // what it holds is lost then, and it may hear of it

void Pause(long us) {
  const timespec time{us / 1'000'000, us % 1'000'000 * 1000};
  nanosleep(&time, nullptr);
}

class SoakClient {
 public:
  explicit SoakClient(char** argv)
      : argv_(argv),
        guard_(argv[3], leaseplane::testing::Holders::kMayDie),
        random_(std::strtoull(argv[4], nullptr, 10) + static_cast<uint64_t>(getpid())) {}

  int Run() {
    leaseplane::ClientOptions options;
    options.require_local = true;
    options.connect_timeout = absl::Seconds(60);
    options.on_lost = [](const leaseplane::LostLease& lost) {
      if (g_has_closed_all) return;
      std::fprintf(stderr, "LOST: slot %u token %lld\n", lost.slot,
                   static_cast<long long>(lost.token));
    };
    while (g_stop == 0) {
      auto client = leaseplane::Client::Connect(argv_[1], options);
      if (!client.ok()) continue;  // the daemon is being replaced
      auto pool = client->OpenPool(argv_[2]);
      while (g_stop == 0 && pool.ok()) Work(*pool);
    }
    return 0;
  }

 private:
  void Work(const leaseplane::Pool& pool) {
    leaseplane::Lease lease;
    if (random_() % 4 == 0) {
      auto got = pool.Acquire({.max_wait = absl::Milliseconds(200)});
      if (got.ok()) lease = *std::move(got);
    } else {
      lease = pool.TryAcquire();
    }
    guard_.CountOperation(static_cast<int>(random_() % 12));
    if (!lease) return;
    const auto who = static_cast<uint64_t>(getpid());
    guard_.Enter(lease.slot(), lease.token(), who);
    if (random_() % 16 == 0) Pause(static_cast<long>(random_() % 500));
    const uint64_t dice = random_() % 50'000;
    if (dice == 0) Fork(lease);
    guard_.Leave(lease.slot(), who);
    if (dice == 1) ExecuteAnew();
    if (dice == 2) CloseAll();
    const absl::Status released = std::move(lease).Release();
    if (!released.ok()) std::fprintf(stderr, "RELEASE: %s\n", released.ToString().c_str());
  }

  // A child has nothing of its parent's, and its end changes nothing.
  void Fork(leaseplane::Lease& lease) {
    const pid_t pid = fork();
    if (pid == 0) _exit(lease.still_held() ? 1 : 0);
    int status = 0;
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
        WEXITSTATUS(status) != 0) {
      guard_.Fault("a forked child believes that it holds its parent's lease");
    }
    if (!IsHeldInTheEnd(lease)) guard_.Fault("a child's end took its parent's lease");
  }
  // Not held for the moment in which a daemon is gone and its successor has not heard of the lease.
  static bool IsHeldInTheEnd(const leaseplane::Lease& lease) {
    for (int tries = 0; tries < 1000; ++tries) {
      if (lease.still_held()) return true;
      Pause(10'000);
    }
    return false;
  }
  // With a lease that the guard has been told of.
  void ExecuteAnew() {
    execv("/proc/self/exe", argv_);
    std::perror("execv");
    std::abort();
  }
  // The session ends although the process lives on.
  void CloseAll() {
    g_has_closed_all = true;
    close_range(3, ~0u, 0);
    Pause(2000);
    ExecuteAnew();
  }

  char** argv_;
  leaseplane::testing::GuardFile guard_;
  std::mt19937_64 random_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 64;
  signal(SIGTERM, [](int) { g_stop = 1; });
  return SoakClient(argv).Run();
}
