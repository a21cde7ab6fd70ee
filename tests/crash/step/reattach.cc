// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/step/reattach.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <new>
#include <stdexcept>

#include "leaseplane/client.h"
#include "tests/crash/step/tracee.h"
#include "tests/support/fake_daemon.h"
#include "tests/support/verify_ledger.h"

namespace leaseplane::step {
namespace {

constexpr double kPatienceS = 60;

struct Page {
  std::atomic<int64_t> token{0};
  std::atomic<uint32_t> may_look{0}, lost{0}, still_held{0};
};

void Nap() {
  const timespec time{0, 200'000};
  nanosleep(&time, nullptr);
}

template <class Condition>
void Await(const char* what, Condition&& holds) {
  const double end = testing::MonotonicSeconds() + kPatienceS;
  while (!holds()) {
    if (testing::MonotonicSeconds() > end) {
      throw std::runtime_error(std::string("reattach: gave up waiting for ") + what);
    }
    Nap();
  }
}

[[noreturn]] void RunVictim(const std::string& folder, Page* page) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  close_range(3, ~0u, 0);  // above all the lifeline's other end
  ClientOptions options;
  options.require_local = true;
  options.on_lost = [page](const LostLease&) { page->lost = 1; };
  auto client = Client::Connect("unix://" + folder + "/leaseplane.sock", options);
  if (!client.ok()) _exit(1);
  auto pool = client->OpenPool("one");
  if (!pool.ok()) _exit(1);
  const Lease lease = pool->TryAcquire();
  if (!lease) _exit(1);
  page->token = lease.token();
  for (;;) {
    page->still_held = lease.still_held() ? 1 : 0;
    Nap();
  }
}

class Reattachment {
 public:
  Reattachment() {
    std::string pattern = "/tmp/leaseplane-XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder");
    options_.folder = pattern;
    options_.pools = {{.name = "one"}};
    void* base =
        mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    page_ = static_cast<Page*>(base);
  }
  ~Reattachment() {
    daemon_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(options_.folder, ignored);
    munmap(page_, sizeof(Page));
  }

  // Kills at instruction `at`; with an `at` beyond the end checks that the lease survived.
  // Instructions passed.
  uint64_t Run(uint64_t at) {
    options_.recovering = false;
    options_.epoch += 1;
    daemon_ = std::make_unique<testing::FakeDaemon>(options_);
    new (page_) Page;
    const pid_t pid = fork();
    if (pid == 0) RunVictim(options_.folder, page_);
    const pid_t* traced = &traced_;
    traced_ = 0;
    const auto end_victim = [pid, traced] {
      kill(pid, SIGKILL);
      int status = 0;
      // A traced thread first: its process is not reported before.
      for (const pid_t id : {*traced, pid}) {
        while (id != 0 && waitpid(id, &status, __WALL) == id && WIFSTOPPED(status)) {
        }
      }
    };
    try {
      const uint64_t count = Cut(pid, at);
      end_victim();
      CheckAfter();
      return count;
    } catch (...) {
      end_victim();
      throw;
    }
  }

 private:
  uint64_t Cut(pid_t pid, uint64_t at) {
    Await("the victim's lease", [&] { return page_->token != 0 && page_->still_held != 0; });
    traced_ = LibraryThreadOf(pid);
    Tracee library = Tracee::Seize(traced_);
    daemon_.reset();
    options_.recovering = true;
    options_.epoch += 1;
    daemon_ = std::make_unique<testing::FakeDaemon>(options_);
    // Its end: published under the new session, and told the daemon so.
    uint64_t count = 0;
    while (count < at && !(daemon_->claims_done() > 0 && page_->still_held != 0)) {
      if (library.Step(nullptr) == Tracee::State::kExited) {
        throw std::runtime_error("reattach: the victim ended by itself");
      }
      ++count;
    }
    if (count < at) {
      library.Detach();
      traced_ = 0;
      if (page_->lost != 0) throw std::runtime_error("reattach: the lease was lost");
      if (daemon_->accepted_claims() != 1) throw std::runtime_error("reattach: no claim");
    }
    return count;
  }

  static pid_t LibraryThreadOf(pid_t pid) {
    const std::string path = "/proc/" + std::to_string(pid) + "/task";
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
      const auto tid = static_cast<pid_t>(std::stol(entry.path().filename().string()));
      if (tid != pid) return tid;
    }
    throw std::runtime_error("reattach: the victim has no library thread");
  }

  void CheckAfter() {
    Await("the end of the victim's session", [&] { return daemon_->SessionCount() == 0; });
    daemon_->EndRecovery();
    if (daemon_->BusyCount("one") != 0) throw std::runtime_error("reattach: the slot is lost");
    if (!daemon_->TakeSlot("one").has_value()) {
      throw std::runtime_error("reattach: the slot cannot be granted");
    }
    if (daemon_->TakeSlot("one").has_value()) throw std::runtime_error("reattach: granted twice");
  }

  testing::FakeDaemonOptions options_;
  std::unique_ptr<testing::FakeDaemon> daemon_;
  Page* page_ = nullptr;
  pid_t traced_ = 0;
};

}  // namespace

void KillInReattach(const std::string& build, const Choice& choice) {
  Reattachment reattachment;
  const double began = testing::MonotonicSeconds();
  const uint64_t total = reattachment.Run(~uint64_t{0});
  uint64_t kills = 0;
  EachPoint(total, choice, [&](uint64_t at) {
    reattachment.Run(at);
    ++kills;
  });
  std::printf("%-16s %7llu instructions, killed in %.1f s\n", "reattach",
              static_cast<unsigned long long>(total), testing::MonotonicSeconds() - began);
  testing::RecordResult("kill in a re-attachment, " + build, "kill points", kills,
                        testing::MonotonicSeconds() - began);
}

}  // namespace leaseplane::step
