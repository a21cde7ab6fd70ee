// SPDX-License-Identifier: Apache-2.0
//
// The application of the pod under test: takes slots through shared memory, in sight of a witness
// file, as its command word there says. usage: pod_client POOL WITNESS CLIENT HOLD_US
// The server comes from LEASEPLANE_SERVER, as for every client.
#include <signal.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <random>

#include "leaseplane/client.h"
#include "tests/deploy/witness_file.h"

namespace leaseplane::deploy {
namespace {

constexpr long kIdleUs = 200;

volatile sig_atomic_t g_stop = 0;

void Pause(long us) {
  const timespec time{us / 1'000'000, us % 1'000'000 * 1000};
  nanosleep(&time, nullptr);
}

class PodClient {
 public:
  PodClient(WitnessFile& witness, const char* server, const char* pool, long hold_us)
      : witness_(witness), server_(server), pool_name_(pool), hold_us_(hold_us) {
    options_.require_local = true;
    options_.on_lost = [&witness](const LostLease& lost) {
      std::fprintf(stderr, "LOST: slot %u token %lld\n", lost.slot,
                   static_cast<long long>(lost.token));
      witness.NoteLoss();
    };
  }

  int Run() {
    witness_.SetPhase(Phase::kStarted);
    while (command() == Command::kWait) Pause(kIdleUs);
    if (!Attach()) return 0;
    while (command() != Command::kEnd) {
      if (command() == Command::kWait) {
        Pause(kIdleUs);
        continue;
      }
      HoldOne();
    }
    return 0;
  }

 private:
  Command command() { return g_stop != 0 ? Command::kEnd : witness_.command(); }

  // Both forms of the sidecar: a daemon that is not there yet, or not any more, comes later.
  bool Attach() {
    witness_.SetPhase(Phase::kAttaching);
    while (command() != Command::kEnd) {
      client_ = Client::Connect(server_, options_);
      if (client_.ok()) {
        pool_ = client_->OpenPool(pool_name_);
        if (pool_.ok()) return true;
      }
      const absl::Status& status = client_.ok() ? pool_.status() : client_.status();
      std::fprintf(stderr, "not attached yet: %s\n", status.ToString().c_str());
      Pause(10'000);
    }
    return false;
  }

  void HoldOne() {
    witness_.SetPhase(Phase::kAcquiring);
    auto lease = pool_->Acquire({.max_wait = absl::Milliseconds(500)});
    if (!lease.ok()) return;
    const uint32_t slot = lease->slot();
    witness_.Enter(slot, lease->token());
    witness_.SetPhase(Phase::kHolding);
    if (command() == Command::kChurn) {
      Pause(std::uniform_int_distribution<long>(0, hold_us_)(random_));
    }
    while (command() == Command::kHold) Pause(kIdleUs);
    witness_.Leave(slot);
    witness_.SetPhase(Phase::kReleasing);
    const absl::Status released = std::move(*lease).Release();
    if (!released.ok()) {
      std::fprintf(stderr, "RELEASE: slot %u: %s\n", slot, released.ToString().c_str());
      witness_.NoteRefusedRelease();
    }
  }

  WitnessFile& witness_;
  const std::string server_, pool_name_;
  const long hold_us_;
  ClientOptions options_;
  absl::StatusOr<Client> client_ = absl::UnknownError("not connected");
  absl::StatusOr<Pool> pool_ = absl::UnknownError("not opened");
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace
}  // namespace leaseplane::deploy

int main(int argc, char** argv) {
  const char* server = std::getenv("LEASEPLANE_SERVER");
  if (argc != 5 || server == nullptr) return 64;
  // Process 1 of a container has no default actions.
  signal(SIGTERM, [](int) { leaseplane::deploy::g_stop = 1; });
  leaseplane::deploy::WitnessFile witness(argv[2], std::strtoull(argv[3], nullptr, 10));
  return leaseplane::deploy::PodClient(witness, server, argv[1], std::atol(argv[4])).Run();
}
