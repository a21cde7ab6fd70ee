// SPDX-License-Identifier: Apache-2.0
//
// Records histories of a real daemon's pools and checks them, window after window; memory is that
// of one window.
//   history --daemon=PROGRAM [--operations=N] [--processes=P] [--slots=S] [--window=N] [--kills]
//           [--seed=K]
// With --kills a process is killed in each window, and another takes its place.
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "leaseplane/client.h"
#include "tests/stress/history/history.h"
#include "tests/support/daemon_process.h"
#include "tests/support/verify_ledger.h"

namespace leaseplane::history {
namespace {

constexpr int64_t kHintGraceNs = 1'000'000'000;  // far above the three ticks that hints may lag
constexpr double kPatienceS = 120;

int64_t NowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}
void Nap() {
  const timespec time{0, 500'000};
  nanosleep(&time, nullptr);
}

struct Control {
  std::atomic<uint32_t> window{0};  // workers run window w when it says w
  std::atomic<uint32_t> done[64];   // the last window each worker has finished
  std::atomic<uint32_t> count[64];  // operations each has written in the present one
};

template <class T>
T* Share(size_t bytes) {
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  return static_cast<T*>(base);
}

struct Options {
  std::string daemon;
  uint64_t operations = 3'000'000;
  uint32_t processes = 4, slots = 3, window = 250'000;  // operations a process
  bool kills = false;
  uint64_t seed = 1;
};

class Worker {
 public:
  Worker(const std::string& target, const Options& options, uint32_t index, Control* control,
         Operation* log)
      : index_(index),
        window_(options.window),
        control_(control),
        log_(log),
        random_(options.seed * 1000 + index + control->window) {
    ClientOptions client_options;
    client_options.require_local = true;
    client_options.connect_timeout = absl::Seconds(60);
    auto client = Client::Connect(target, client_options);
    if (!client.ok()) Die(client.status().ToString());
    auto pool = client->OpenPool("p");
    if (!pool.ok()) Die(pool.status().ToString());
    pool_.push_back(*std::move(pool));
  }

  [[noreturn]] void Run(uint32_t window) {
    for (;; ++window) {
      while (control_->window < window) Nap();
      RunWindow();
      control_->done[index_] = window;
    }
  }

 private:
  [[noreturn]] static void Die(const std::string& why) {
    std::fprintf(stderr, "history worker: %s\n", why.c_str());
    std::abort();
  }
  Operation& Begin(Kind kind) {
    Operation& op = log_[count_];
    op.token = 0;
    op.slot = 0;
    op.kind = kind;
    op.called_ns = NowNs();
    control_->count[index_].store(++count_, std::memory_order_release);
    return op;
  }
  void RunWindow() {
    count_ = 0;
    while (count_ + 2 <= window_) {
      Operation& op = Begin(Kind::kAcquiring);
      Lease lease;
      // Some wait instead, briefly; that they got nothing in time says nothing about the slots.
      const bool waits = random_() % 16 == 0;
      if (waits) {
        auto got = pool_[0].Acquire({.max_wait = absl::Microseconds(500)});
        if (got.ok()) lease = *std::move(got);
      } else {
        lease = pool_[0].TryAcquire();
      }
      op.returned_ns = NowNs();
      if (!lease) {
        op.kind = waits ? Kind::kNothing : Kind::kFailedTry;
        if (waits) control_->count[index_] = --count_;
        continue;
      }
      op.slot = lease.slot();
      op.token = lease.token();
      op.kind = Kind::kAcquired;
      for (uint64_t spin = random_() % 64; spin > 0; --spin) asm volatile("pause");
      Operation& release = Begin(Kind::kReleasing);
      release.slot = op.slot;
      release.token = op.token;
      const bool ok = std::move(lease).Release().ok();
      release.returned_ns = NowNs();
      release.kind = ok ? Kind::kReleased : Kind::kStale;
    }
  }

  const uint32_t index_, window_;
  Control* control_;
  Operation* log_;
  std::mt19937_64 random_;
  std::vector<Pool> pool_;
  uint32_t count_ = 0;
};

class Recorder {
 public:
  explicit Recorder(const Options& options)
      : options_(options),
        daemon_({options.daemon,
                 "pools: [{id: p, capacity: " + std::to_string(options.slots) + "}]\n",
                 {}}),
        control_(Share<Control>(sizeof(Control))),
        random_(options.seed) {
    daemon_.Start();
    for (uint32_t i = 0; i < options.processes; ++i) {
      logs_.push_back(Share<Operation>(sizeof(Operation) * options.window));
      pids_.push_back(Start(i));
    }
  }
  ~Recorder() {
    for (const pid_t pid : pids_) kill(pid, SIGKILL);
    for (const pid_t pid : pids_) waitpid(pid, nullptr, 0);
  }

  bool Run() {
    Checker checker(kHintGraceNs);
    const double began = testing::MonotonicSeconds();
    uint64_t operations = 0, holds = 0, tries = 0, beside = 0, kills = 0, windows = 0;
    while (operations < options_.operations) {
      const Verdict verdict = checker.Check(RecordWindow(kills));
      for (const std::string& anomaly : verdict.anomalies) {
        std::fprintf(stderr, "seed %llu, window %llu: %s\n",
                     static_cast<unsigned long long>(options_.seed),
                     static_cast<unsigned long long>(windows), anomaly.c_str());
      }
      if (!verdict.ok()) return false;
      operations += verdict.operations;
      holds += verdict.holds;
      tries += verdict.failed_tries;
      beside += verdict.beside_a_free_slot;
      ++windows;
    }
    const std::string stage = options_.kills ? "histories with kills" : "histories";
    testing::RecordResult(stage, "operations", operations, testing::MonotonicSeconds() - began);
    testing::RecordResult(stage, "holds", holds, 0);
    testing::RecordResult(stage, "failed tries", tries, 0);
    testing::RecordResult(stage, "failed tries beside a slot just freed", beside, 0);
    if (options_.kills) testing::RecordResult(stage, "processes killed", kills, 0);
    testing::RecordResult(stage, "anomalies", 0, 0);
    return true;
  }

 private:
  pid_t Start(uint32_t index) {
    const pid_t parent = getpid();
    const uint32_t next = control_->window + 1;
    const pid_t pid = fork();
    if (pid != 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    Worker(daemon_.unix_target(), options_, index, control_, logs_[index]).Run(next);
  }

  Window RecordWindow(uint64_t& kills) {
    Window window;
    window.began_ns = NowNs();
    window.slot_count = options_.slots;
    window.processes.resize(options_.processes);
    for (uint32_t i = 0; i < options_.processes; ++i) control_->count[i] = 0;
    const uint32_t number = ++control_->window;
    std::vector<int64_t> killed_ns(options_.processes, 0);
    if (options_.kills) kills += KillSome(killed_ns) ? 1 : 0;
    const double give_up = testing::MonotonicSeconds() + kPatienceS;
    for (uint32_t i = 0; i < options_.processes; ++i) {
      while (killed_ns[i] == 0 && control_->done[i] < number) {
        if (testing::MonotonicSeconds() > give_up) throw std::runtime_error("a worker is stuck");
        int status = 0;
        if (waitpid(pids_[i], &status, WNOHANG) == pids_[i]) {
          pids_[i] = Start(i);
          throw std::runtime_error("a worker ended by itself");
        }
        Nap();
      }
      ProcessLog& log = window.processes[i];
      log.operations.assign(logs_[i], logs_[i] + control_->count[i]);
      log.killed_ns = killed_ns[i];
      if (killed_ns[i] != 0) pids_[i] = Start(i);
    }
    return window;
  }

  // One process, once it has done a random part of its window.
  bool KillSome(std::vector<int64_t>& killed_ns) {
    const uint32_t victim = static_cast<uint32_t>(random_() % options_.processes);
    const uint64_t after = random_() % options_.window;
    const double give_up = testing::MonotonicSeconds() + kPatienceS;
    while (control_->count[victim] < after) {
      if (testing::MonotonicSeconds() > give_up) throw std::runtime_error("a worker is stuck");
      if (control_->done[victim] == control_->window) return false;
    }
    const int64_t now_ns = NowNs();
    kill(pids_[victim], SIGKILL);
    waitpid(pids_[victim], nullptr, 0);
    if (control_->done[victim] == control_->window) {  // it was through, and held nothing
      pids_[victim] = Start(victim);
      return true;
    }
    killed_ns[victim] = now_ns;
    return true;
  }

  const Options options_;
  testing::DaemonProcess daemon_;
  Control* control_;
  std::mt19937_64 random_;
  std::vector<Operation*> logs_;
  std::vector<pid_t> pids_;
};

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const size_t split = word.find('=');
    const std::string name = word.substr(0, split);
    const std::string value = split == std::string::npos ? "" : word.substr(split + 1);
    const auto number = [&value] { return std::strtoull(value.c_str(), nullptr, 10); };
    if (name == "--daemon") options.daemon = value;
    if (name == "--operations") options.operations = number();
    if (name == "--processes") options.processes = static_cast<uint32_t>(number());
    if (name == "--slots") options.slots = static_cast<uint32_t>(number());
    if (name == "--window") options.window = static_cast<uint32_t>(number());
    if (name == "--seed") options.seed = number();
    if (name == "--kills") options.kills = true;
  }
  return options;
}

}  // namespace
}  // namespace leaseplane::history

int main(int argc, char** argv) {
  const auto options = leaseplane::history::Parse(argc, argv);
  if (options.daemon.empty() || options.processes == 0 || options.processes > 64) {
    std::fprintf(stderr, "history: --daemon=PROGRAM is needed, and 1 to 64 processes\n");
    return 64;
  }
  try {
    return leaseplane::history::Recorder(options).Run() ? 0 : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "history: %s\n", error.what());
    return 1;
  }
}
