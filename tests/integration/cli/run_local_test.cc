// SPDX-License-Identifier: Apache-2.0
//
// `leasectl run` through shared memory. The daemon is in the test; leasectl is the real program.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <fstream>
#include <string>
#include <vector>

#include "tests/integration/cli/child_program.h"
#include "tests/support/fake_daemon.h"

namespace leaseplane::testing {
namespace {

class RunLocal : public ::testing::Test {
 protected:
  RunLocal() : folder_(FreshFolder()), daemon_(Options(folder_)) {}

  static FakeDaemonOptions Options(const std::string& folder) {
    FakeDaemonOptions options;
    options.folder = folder;
    FakePool pool;
    pool.name = "one";
    pool.resources = {"tape-0"};
    options.pools = {pool};
    return options;
  }

  // leasectl run one ARGUMENTS -- sh -c SCRIPT, in which $F is a folder of this test.
  ChildProgram Run(const std::string& script, std::vector<std::string> arguments = {}) {
    std::vector<std::string> words = {"--server", daemon_.target(), "run",
                                      "one",      "--path",         "local"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    words.insert(words.end(), {"--", "sh", "-c", "F=" + folder_ + "; " + script});
    return ChildProgram::Leasectl(words);
  }

  bool HasFile(const std::string& name) { return !ReadFile(folder_ + "/" + name).empty(); }
  void WaitForFile(const std::string& name) {
    WaitUntil(name.c_str(), [&] { return HasFile(name); });
  }
  pid_t PidIn(const std::string& name) {
    WaitForFile(name);
    return ::atoi(ReadFile(folder_ + "/" + name).c_str());
  }
  void MakeFile(const std::string& name) { std::ofstream(folder_ + "/" + name) << "x\n"; }
  void WaitUntilFree() {
    WaitUntil("the slot", [this] { return daemon_.BusyCount("one") == 0; });
  }

  const std::string folder_;
  FakeDaemon daemon_;
};

TEST_F(RunLocal, TheCommandFindsItsLeaseInTheEnvironmentAndItsExitCodeIsPassedOn) {
  ChildProgram run =
      Run("echo $LEASEPLANE_POOL $LEASEPLANE_SLOT $LEASEPLANE_RESOURCE; "
          "test $LEASEPLANE_TOKEN -gt 0 || exit 1; exit 7");
  EXPECT_EQ(run.Wait(), 7) << run.Errors();
  EXPECT_EQ(run.Output(), "one 0 tape-0\n");
  EXPECT_EQ(run.Errors(), "");
  WaitUntilFree();
}

TEST_F(RunLocal, TheSlotIsHeldWhileTheCommandRuns) {
  ChildProgram run = Run("echo x > $F/running; while ! test -e $F/stop; do sleep 0.01; done");
  WaitForFile("running");
  EXPECT_EQ(daemon_.BusyCount("one"), 1u);
  MakeFile("stop");
  EXPECT_EQ(run.Wait(), 0);
  WaitUntilFree();
}

TEST_F(RunLocal, ASignalThatEndsTheCommandIs128AndItsNumber) {
  EXPECT_EQ(Run("kill -TERM $$").Wait(), 128 + SIGTERM);
  EXPECT_EQ(Run("kill -KILL $$").Wait(), 128 + SIGKILL);
}

TEST_F(RunLocal, WhatCannotBeExecutedIs126Or127AndTheSlotComesBack) {
  const auto run = [this](const std::string& program) {
    return ChildProgram::Leasectl({"--server", daemon_.target(), "run", "one", "--", program});
  };
  ChildProgram missing = run("/nonexistent/program");
  EXPECT_EQ(missing.Wait(), 127);
  EXPECT_EQ(missing.Errors(), "leasectl: /nonexistent/program: No such file or directory\n");
  EXPECT_EQ(run("/").Wait(), 126);
  WaitUntilFree();
}

TEST_F(RunLocal, NoSlotInTimeIs75OrWhatWasAskedFor) {
  ASSERT_TRUE(daemon_.TakeSlot("one").has_value());
  ChildProgram at_once = Run("echo ran", {"--wait", "0"});
  EXPECT_EQ(at_once.Wait(), 75);
  EXPECT_EQ(at_once.Output(), "");
  EXPECT_EQ(at_once.Errors().rfind("leasectl: NO_FREE_SLOT: ", 0), 0u) << at_once.Errors();
  EXPECT_EQ(Run("echo ran", {"--wait", "50ms"}).Wait(), 75);
  EXPECT_EQ(Run("echo ran", {"--wait", "0", "--conflict-exit-code", "3"}).Wait(), 3);
}

TEST_F(RunLocal, WithoutWaitItWaitsUntilThereIsASlot) {
  const SlotIndex taken = daemon_.TakeSlot("one").value();
  ChildProgram run = Run("exit 4");
  WaitUntil("a waiter",
            [this] { return daemon_.EnlistedCount("one") + daemon_.QueueLength() > 0; });
  EXPECT_FALSE(run.HasEnded());
  daemon_.GiveSlot("one", taken);
  EXPECT_EQ(run.Wait(), 4);
}

TEST_F(RunLocal, ASignalWhileItWaitsEndsItAndNoCommandWasStarted) {
  ASSERT_TRUE(daemon_.TakeSlot("one").has_value());
  ChildProgram run = Run("echo x > $F/ran");
  WaitUntil("a waiter",
            [this] { return daemon_.EnlistedCount("one") + daemon_.QueueLength() > 0; });
  run.Signal(SIGTERM);
  EXPECT_EQ(run.Wait(), 128 + SIGTERM);
  WaitUntil("the session's end", [this] { return daemon_.SessionCount() == 0; });
  EXPECT_FALSE(HasFile("ran"));
}

TEST_F(RunLocal, FailuresOfItsOwnAre125) {
  ChildProgram unknown =
      ChildProgram::Leasectl({"--server", daemon_.target(), "run", "other", "--", "true"});
  EXPECT_EQ(unknown.Wait(), 125);
  EXPECT_EQ(unknown.Errors().rfind("leasectl: NOT_FOUND: ", 0), 0u) << unknown.Errors();
  ChildProgram nobody =
      ChildProgram::Leasectl({"--server", "unix://" + FreshFolder() + "/leaseplane.sock", "run",
                              "one", "--path", "local", "--", "true"});
  EXPECT_EQ(nobody.Wait(), 125);
}

TEST_F(RunLocal, SignalsArePassedOnToTheCommand) {
  const std::pair<int, const char*> cases[] = {
      {SIGTERM, "TERM"}, {SIGHUP, "HUP"}, {SIGUSR1, "USR1"}, {SIGUSR2, "USR2"}};
  for (const auto& [number, name] : cases) {
    ChildProgram run = Run(std::string("trap 'exit 5' ") + name + "; echo x > $F/" + name +
                           "; while :; do sleep 0.01; done");
    WaitForFile(name);
    run.Signal(number);
    EXPECT_EQ(run.Wait(), 5) << name;
  }
}

TEST_F(RunLocal, TheKeyboardsSignalsAreTheCommandsAffair) {
  ChildProgram run =
      Run("echo x > $F/running; while ! test -e $F/stop; do sleep 0.01; done; exit 6");
  WaitForFile("running");
  run.Signal(SIGINT);
  run.Signal(SIGQUIT);
  MakeFile("stop");
  EXPECT_EQ(run.Wait(), 6);
}

TEST_F(RunLocal, KillOfLeasectlLeavesTheSlotWithThePipelineUntilBothPartsHaveEnded) {
  ChildProgram run =
      Run("{ echo x > $F/a; while ! test -e $F/stop-a; do sleep 0.01; done; } | "
          "{ echo $$ > $F/b; while ! test -e $F/stop-b; do sleep 0.01; done; }");
  WaitForFile("a");
  WaitForFile("b");
  run.Signal(SIGKILL);
  EXPECT_EQ(run.Wait(), 128 + SIGKILL);
  EXPECT_EQ(Run("true", {"--wait", "100ms"}).Wait(), 75) << "both hold it";
  MakeFile("stop-a");
  EXPECT_EQ(Run("true", {"--wait", "100ms"}).Wait(), 75) << "one holds it";
  MakeFile("stop-b");
  EXPECT_EQ(Run("true").Wait(), 0);
  WaitUntilFree();
}

TEST_F(RunLocal, WhatTheCommandLeavesBehindKeepsTheSlot) {
  ChildProgram run = Run("(while ! test -e $F/stop; do sleep 0.01; done) & exit 9");
  EXPECT_EQ(run.Wait(), 9);
  EXPECT_EQ(Run("true", {"--wait", "100ms"}).Wait(), 75);
  MakeFile("stop");
  EXPECT_EQ(Run("true").Wait(), 0);
}

TEST_F(RunLocal, ARevokedLeaseMeansTermThenKillAndExitCode124) {
  ChildProgram run = Run("trap '' TERM; echo $$ > $F/pid; while :; do sleep 0.01; done",
                         {"--kill-after", "100ms"});
  const pid_t command = PidIn("pid");
  ASSERT_TRUE(daemon_.Revoke("one", 0));
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_FALSE(IsAlive(command));
  EXPECT_EQ(run.Errors().rfind("leasectl: LEASE_REVOKED: ", 0), 0u) << run.Errors();
}

TEST_F(RunLocal, ACommandThatObeysTermIsNotKilled) {
  ChildProgram run =
      Run("trap 'echo x > $F/obeyed; exit 0' TERM; echo x > $F/ready; "
          "while :; do sleep 0.01; done",
          {"--kill-after", "1h"});
  WaitForFile("ready");
  ASSERT_TRUE(daemon_.Revoke("one", 0));
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_TRUE(HasFile("obeyed"));
}

TEST_F(RunLocal, WhenTheLeaseIsLostNothingThatTheCommandStartedSurvives) {
  ChildProgram run =
      Run("setsid sh -c 'trap \"\" TERM; echo $$ > '$F'/far; exec sleep 1000' & wait",
          {"--kill-after", "50ms"});
  const pid_t far = PidIn("far");
  ASSERT_TRUE(daemon_.Revoke("one", 0));
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_FALSE(IsAlive(far));
}

TEST_F(RunLocal, ALeaseThatIsAskedBackStopsTheCommandWithinTheGrace) {
  ChildProgram run =
      Run("trap '' TERM; echo $$ > $F/pid; while :; do sleep 0.01; done", {"--kill-after", "1h"});
  const pid_t command = PidIn("pid");
  daemon_.AskBack("one", 0, 100'000'000);
  EXPECT_EQ(run.Wait(), 124);
  EXPECT_FALSE(IsAlive(command));
}

}  // namespace
}  // namespace leaseplane::testing
