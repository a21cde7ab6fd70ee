// SPDX-License-Identifier: Apache-2.0
//
// `leasectl run` over gRPC. The services are in the test; leasectl and its guard are the real
// program. COMMAND's parent is the guard, so $PPID says which process that is.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/integration/cli/child_program.h"
#include "tests/integration/cli/fake_lease_service.h"

namespace leaseplane::testing {
namespace {

// A shell loop that goes on whatever TERM says and writes when it was last alive (CLOCK_BOOTTIME).
constexpr char kStubborn[] =
    "trap '' TERM; echo $PPID > $F/guard; echo $$ > $F/pid; "
    "while :; do cp /proc/uptime $F/new; mv $F/new $F/beat; sleep 0.01; done";

class RunRemote : public ::testing::Test {
 protected:
  ChildProgram RunAt(const std::string& server, const std::string& script,
                     const std::vector<std::string>& arguments) {
    std::vector<std::string> words = {"--server", server, "run", "gpu"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    words.insert(words.end(), {"--", "sh", "-c", "F=" + folder_ + "; " + script});
    return ChildProgram::Leasectl(words);
  }
  ChildProgram Run(const std::string& script, const std::vector<std::string>& arguments = {}) {
    return RunAt(service_.tcp_target(), script, arguments);
  }

  std::string File(const std::string& name) { return ReadFile(folder_ + "/" + name); }
  void WaitForFile(const std::string& name) {
    WaitUntil(name.c_str(), [&] { return !File(name).empty(); });
  }
  pid_t PidIn(const std::string& name) {
    // The file is there before its content is; 0 for a pid would mean everybody of this group.
    pid_t pid = 0;
    WaitUntil("a pid", [&] { return (pid = ::atoi(File(name).c_str())) > 0; });
    return pid;
  }
  void MakeFile(const std::string& name) { std::ofstream(folder_ + "/" + name) << "x\n"; }
  void WaitForRelease() {
    WaitUntil("the release", [this] { return service_.release_count() == 1; });
  }
  void ExpectCommandDiedInTime() {
    const double last_alive_ns = ::atof(File("beat").c_str()) * 1e9;
    EXPECT_GT(last_alive_ns, 0);
    EXPECT_LT(last_alive_ns, static_cast<double>(service_.expires_at_ns()));
  }

  const std::string folder_ = FreshFolder();
  FakeLeaseService service_;
};

TEST_F(RunRemote, TheCommandFindsItsLeaseAndTheSlotIsGivenBackAtItsEnd) {
  ChildProgram run =
      Run("echo $LEASEPLANE_POOL $LEASEPLANE_SLOT $LEASEPLANE_TOKEN $LEASEPLANE_RESOURCE; exit 7");
  EXPECT_EQ(run.Wait(), 7) << run.Errors();
  EXPECT_EQ(run.Output(), "gpu 2 481036337164 gpu-c\n");
  EXPECT_EQ(run.Errors(), "");
  EXPECT_EQ(service_.release_count(), 1) << "before leasectl ends";
}

TEST_F(RunRemote, TheCommandIsInLeasectlsProcessGroupAndTheGuardIsNot) {
  ChildProgram run =
      Run("echo $PPID > $F/guard; echo $$ > $F/pid; "
          "while ! test -e $F/stop; do sleep 0.01; done");
  const pid_t command = PidIn("pid");
  EXPECT_EQ(::getpgid(command), ::getpgid(run.pid()));
  EXPECT_NE(::getpgid(PidIn("guard")), ::getpgid(run.pid()));
  MakeFile("stop");
  EXPECT_EQ(run.Wait(), 0);
}

TEST_F(RunRemote, ExitCodesAreThoseOfEnv) {
  EXPECT_EQ(Run("kill -TERM $$").Wait(), 128 + SIGTERM);
  const auto run = [this](const std::string& program) {
    return ChildProgram::Leasectl({"--server", service_.tcp_target(), "run", "gpu", "--", program});
  };
  EXPECT_EQ(run("/nonexistent/program").Wait(), 127);
  EXPECT_EQ(run("/").Wait(), 126);
  EXPECT_EQ(service_.release_count(), 3);
}

TEST_F(RunRemote, NoSlotInTimeIs75AndItsOwnFailuresAre125) {
  service_.SetHasSlot(false);
  ChildProgram at_once = Run("echo ran", {"--wait", "0"});
  EXPECT_EQ(at_once.Wait(), 75);
  EXPECT_EQ(at_once.Output(), "");
  EXPECT_EQ(Run("true", {"--wait", "0", "--conflict-exit-code", "0"}).Wait(), 0);
  service_.SetHasSlot(true);
  ChildProgram unknown =
      ChildProgram::Leasectl({"--server", service_.tcp_target(), "run", "other", "--", "true"});
  EXPECT_EQ(unknown.Wait(), 125);
  EXPECT_EQ(unknown.Errors().rfind("leasectl: NOT_FOUND: ", 0), 0u) << unknown.Errors();
  EXPECT_EQ(RunAt("127.0.0.1:1", "true", {}).Wait(), 125);
}

TEST_F(RunRemote, ALongCommandLivesOnRenewals) {
  ChildProgram run = Run(
      "echo x > $F/running; while ! test -e $F/stop; do sleep 0.01; done; exit 3", {"--ttl", "1s"});
  WaitUntil("renewals", [this] { return service_.renew_count() >= 6; });
  EXPECT_FALSE(run.HasEnded());
  MakeFile("stop");
  EXPECT_EQ(run.Wait(), 3);
}

TEST_F(RunRemote, SignalsArePassedOnAndTheKeyboardsAreNot) {
  const std::pair<int, const char*> cases[] = {
      {SIGTERM, "TERM"}, {SIGHUP, "HUP"}, {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}};
  for (const auto& [number, name] : cases) {
    ChildProgram run = Run(std::string("trap 'exit 5' ") + name + "; echo x > $F/" + name +
                           "; while :; do sleep 0.01; done");
    WaitForFile(name);
    run.Signal(SIGINT);
    run.Signal(SIGQUIT);
    run.Signal(number);
    EXPECT_EQ(run.Wait(), 5) << name;
  }
}

TEST_F(RunRemote, WithoutRenewalsAStubbornCommandIsDeadBeforeTheLeaseIsOver) {
  service_.SetRenewalsHang(true);
  ChildProgram run = Run(kStubborn, {"--ttl", "2s"});
  const pid_t command = PidIn("pid");
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_FALSE(IsAlive(command));
  EXPECT_EQ(run.Errors().rfind("leasectl: LEASE_EXPIRED: ", 0), 0u) << run.Errors();
  ExpectCommandDiedInTime();
  service_.SetRenewalsHang(false);
}

TEST_F(RunRemote, KillOfLeasectlStopsTheCommandAndThenGivesTheSlotBack) {
  ChildProgram run = Run(kStubborn, {"--kill-after", "200ms", "--ttl", "5s"});
  const pid_t command = PidIn("pid");
  WaitForFile("beat");
  run.Signal(SIGKILL);
  EXPECT_EQ(run.Wait(), 128 + SIGKILL);
  WaitForRelease();
  EXPECT_FALSE(IsAlive(command)) << "the release comes after the command's end";
  ExpectCommandDiedInTime();
}

TEST_F(RunRemote, KillOfLeasectlWithADeafServerStopsTheCommandBeforeTheLeaseIsOver) {
  service_.SetRenewalsHang(true);
  ChildProgram run = Run(kStubborn, {"--kill-after", "1h", "--ttl", "2s"});
  const pid_t command = PidIn("pid");
  WaitForFile("beat");
  run.Signal(SIGKILL);
  WaitUntil("the command's end", [command] { return !IsAlive(command); });
  ExpectCommandDiedInTime();
  service_.SetRenewalsHang(false);
}

TEST_F(RunRemote, KillOfTheGuardEndsTheCommandAtOnce) {
  ChildProgram run = Run(kStubborn, {"--kill-after", "1h"});
  const pid_t guard = PidIn("guard");
  const pid_t command = PidIn("pid");
  ::kill(guard, SIGKILL);
  EXPECT_EQ(run.Wait(), 125);
  EXPECT_FALSE(IsAlive(command));
  EXPECT_EQ(service_.release_count(), 0) << "the slot comes back when the ttl ends";
}

TEST_F(RunRemote, KillOfLeasectlAndOfTheGuardEndsTheCommandToo) {
  ChildProgram run = Run(kStubborn, {"--kill-after", "1h"});
  const pid_t guard = PidIn("guard");
  const pid_t command = PidIn("pid");
  run.Signal(SIGSTOP);  // so that it cannot see the guard's end
  ::kill(guard, SIGKILL);
  run.Signal(SIGKILL);
  WaitUntil("the command's end", [command] { return !IsAlive(command); });
}

TEST_F(RunRemote, ARevokedLeaseMeansTermAndExitCode124) {
  ChildProgram run =
      Run("trap 'echo x > $F/obeyed; exit 0' TERM; echo x > $F/ready; "
          "while :; do sleep 0.01; done",
          {"--ttl", "1s", "--kill-after", "1h"});
  WaitForFile("ready");
  service_.FailRenewals(
      ApiStatus(grpc::StatusCode::FAILED_PRECONDITION, "LEASE_REVOKED", "taken away"));
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_EQ(run.Errors().rfind("leasectl: LEASE_REVOKED: ", 0), 0u) << run.Errors();
  EXPECT_EQ(File("obeyed"), "x\n");
}

TEST_F(RunRemote, WhatTheCommandLeavesBehindIsCoveredUntilItEnds) {
  ChildProgram run =
      Run("(while ! test -e $F/stop; do sleep 0.01; done) & exit 9", {"--ttl", "1s"});
  EXPECT_EQ(run.Wait(), 9);
  const int renewals = service_.renew_count();
  WaitUntil("renewals", [&] { return service_.renew_count() >= renewals + 2; });
  EXPECT_EQ(service_.release_count(), 0);
  MakeFile("stop");
  WaitForRelease();
}

TEST_F(RunRemote, ASocketWithoutAttachIsReachedOverGrpc) {
  EXPECT_EQ(RunAt(service_.unix_target(), "exit 6", {}).Wait(), 6);
  EXPECT_EQ(service_.release_count(), 1);
  EXPECT_EQ(RunAt(service_.unix_target(), "exit 6", {"--path", "local"}).Wait(), 125);
}

}  // namespace
}  // namespace leaseplane::testing
