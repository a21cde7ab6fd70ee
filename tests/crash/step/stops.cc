// SPDX-License-Identifier: Apache-2.0
//
// The stops: the victim stands still at an instruction while its session ends and its slot goes to
// the neighbour, and then goes on.
#include <dirent.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "core/base/unique_fd.h"
#include "core/shm/layout.h"
#include "tests/crash/step/stepper.h"
#include "tests/support/verify_ledger.h"

namespace leaseplane::step {
namespace {

// The library's thread of the victim.
std::optional<pid_t> OtherThreadOf(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/task";
  DIR* folder = opendir(path.c_str());
  std::optional<pid_t> found;
  if (folder == nullptr) return found;
  while (const dirent* entry = readdir(folder)) {
    const auto tid = static_cast<pid_t>(std::atol(entry->d_name));
    if (tid > 0 && tid != pid) found = tid;
  }
  closedir(folder);
  return found;
}

}  // namespace

// The connection is shut from outside, as by a daemon that gave the session up.
void Stepper::RevokeSession(const Run& run) {
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, run.pid, 0)));
  const UniqueFd socket(
      static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), page_->socket_fd.load(), 0)));
  if (!socket || shutdown(socket.get(), SHUT_RDWR) != 0) {
    throw std::runtime_error("the victim's connection cannot be shut");
  }
}

void Stepper::StopAt(const Scenario& scenario, uint64_t at) {
  Run run = Begin(scenario);
  const FencingToken held_before = page_->token;
  StepTo(run, at, nullptr);
  // Every other time the whole process stands still, else its library thread goes on.
  std::optional<Tracee> other;
  if (const auto tid = OtherThreadOf(run.pid); tid.has_value() && stops_.points % 2 == 0) {
    other = Tracee::Seize(*tid);
  }
  const SlotWord word = Read(scenario)[0];
  const bool was_busy = StateOf(word) == SlotState::kBusy && run.session.count(OwnerOf(word)) != 0;
  RevokeSession(run);
  // Every third time nobody else wants the slot: what the victim gets then must not be dead at
  // birth.
  const bool is_wanted = stops_.points % 3 != 2 || scenario.neighbour_waits || neighbour_.holds();
  Await(scenario, at, "the end of the victim's session", [&] {
    return shm::SessionStateOf(raw_.SessionWordOf(*run.session.begin())) !=
               shm::SessionState::kActive &&
           (!was_busy || Read(scenario)[0] != word);
  });
  if (!is_wanted) {
    // Goes on as it is.
  } else if (scenario.neighbour_waits) {
    NoteToken(scenario, 0, neighbour_.AwaitGrant(), at);
  } else if (!neighbour_.holds()) {
    if (was_busy && held_before == 0) {
      tokens_[{scenario.pool, 0}].insert(
          MakeToken(shm::PolicyEpoch(RealMemory::Load(*PoolOf(scenario).words.policy)),
                    GenerationOfWord(word)));
    }
    NoteToken(scenario, 0, neighbour_.Take(scenario.pool), at);
  }
  run.tracee.Detach();
  // A head start: what the thread finds then, its library has not heard of the session's end.
  for (int i = 0; i < 20 && other.has_value() && page_->done == 0; ++i) usleep(100);
  if (other.has_value()) other->Detach();
  ++stops_.points;
  CheckAfterStop(run, was_busy, is_wanted ? neighbour_.token() : kFencingTokenMax, at);
}

void Stepper::CheckAfterStop(Run& run, bool was_busy, FencingToken neighbours, uint64_t at) {
  const Scenario& scenario = run.scenario;
  int status = 0;
  Await(scenario, at, "the stopped victim to go on",
        [&] { return waitpid(run.pid, &status, WNOHANG) == run.pid; });
  if (status != 0 || page_->done == 0) Fail(scenario, at, "the stopped victim did not end well");
  if (scenario.releases) {
    // Its CAS was done before the stop, or it must fail.
    if ((page_->released != 0) == was_busy) {
      Fail(
          scenario, at,
          was_busy ? "a release of another's slot succeeded" : "a release that was done is denied");
    }
    if (was_busy) ++stops_.stale;
  } else if (page_->still_held != 0 && page_->released != 0 && !neighbour_.holds()) {
    NoteToken(scenario, page_->slot, page_->token, at);  // in the session after
    ++stops_.none;
  } else if (page_->got_lease != 0) {
    if (!was_busy && !neighbour_.holds()) Fail(scenario, at, "got a lease of a dead session");
    if (page_->still_held != 0 || page_->released != 0 || page_->token >= neighbours) {
      Fail(scenario, at,
           "got token " + std::to_string(page_->token) + " beside the neighbour's " +
               std::to_string(neighbours));
    }
    ++stops_.stale;
  } else {
    ++stops_.none;
  }
  if (!neighbour_.holds()) return;
  const SlotWord word = Read(scenario)[neighbour_.slot()];
  if (StateOf(word) != SlotState::kBusy || residents_.count(OwnerOf(word)) == 0 ||
      GenerationOfWord(word) != GenerationOf(neighbours)) {
    Fail(scenario, at, "the neighbour's word was touched");
  }
  if (!neighbour_.GiveBack()) Fail(scenario, at, "the neighbour was robbed");
}

}  // namespace leaseplane::step
