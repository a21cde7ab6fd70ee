// SPDX-License-Identifier: Apache-2.0
#include "tests/crash/step/neighbour.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "leaseplane/client.h"

namespace leaseplane::step {
namespace {

constexpr int kPatienceMs = 60'000;
constexpr size_t kNameBytes = 32;

[[noreturn]] void Die(const char* what) {  // in the child
  std::fprintf(stderr, "neighbour: %s\n", what);
  std::abort();
}
[[noreturn]] void Fail(const char* what) {
  throw std::runtime_error(std::string("the neighbour: ") + what);
}

}  // namespace

Neighbour::Neighbour(const std::string& target) {
  int down[2], up[2];
  if (pipe(down) != 0 || pipe(up) != 0) Fail("no pipes");
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(down[1]);
    close(up[0]);
    Serve(target, down[0], up[1]);
  }
  close(down[0]);
  close(up[1]);
  to_ = down[1];
  from_ = up[0];
  Read();  // attached
}

Neighbour::~Neighbour() {
  close(to_);
  close(from_);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Neighbour::Serve(const std::string& target, int in, int out) {
  ClientOptions options;
  options.require_local = true;
  auto client = Client::Connect(target, options);
  if (!client.ok()) Die(client.status().ToString().c_str());
  const auto say = [out](const Answer& answer) {
    if (write(out, &answer, sizeof(answer)) != sizeof(answer)) _exit(0);
  };
  say({0, 0, 1});
  Lease lease;
  char name[kNameBytes];
  while (read(in, name, sizeof(name)) == sizeof(name)) {
    if (name[0] == '\0') {
      say({0, 0, std::move(lease).Release().ok() ? 1u : 0u});
      continue;
    }
    auto pool = client->OpenPool(name);
    if (!pool.ok()) Die(pool.status().ToString().c_str());
    auto got = pool->Acquire({.max_wait = absl::InfiniteDuration()});
    if (!got.ok()) Die(got.status().ToString().c_str());
    lease = *std::move(got);
    say({lease.token(), lease.slot(), 1});
  }
  _exit(0);
}

Neighbour::Answer Neighbour::Read() {
  pollfd item{from_, POLLIN, 0};
  Answer answer{};
  if (poll(&item, 1, kPatienceMs) <= 0)
    Fail("no answer: it sleeps beside a slot that is due to it");
  if (read(from_, &answer, sizeof(answer)) != sizeof(answer)) Fail("gone");
  return answer;
}

void Neighbour::Send(const std::string& pool) {
  char name[kNameBytes] = {};
  std::strncpy(name, pool.c_str(), sizeof(name) - 1);
  if (write(to_, name, sizeof(name)) != sizeof(name)) Fail("gone");
}

FencingToken Neighbour::AwaitGrant() {
  const Answer answer = Read();
  token_ = answer.token;
  slot_ = answer.slot;
  return token_;
}

bool Neighbour::GiveBack() {
  Send("");
  token_ = 0;
  return Read().ok != 0;
}

}  // namespace leaseplane::step
