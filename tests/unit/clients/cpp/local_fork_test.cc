// SPDX-License-Identifier: Apache-2.0
// What a forked child may do with what its parent made: nothing; and that it can start afresh.
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/clients/cpp/local_fixture.h"

namespace leaseplane {
namespace {

class LocalForkTest : public LocalTest {
 protected:
  // Runs `body` in a child and gives what it returned; -1 if it did not end by itself.
  template <class Body>
  static int InChild(const Body& body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
};

TEST_F(LocalForkTest, InTheChildTheParentsLeasesAreNotHeldAndNotReleased) {
  StartDaemon();
  Client client = Connect();
  Pool pool = Open(client);
  Lease lease = pool.TryAcquire();
  const int answer = InChild([&] {
    if (lease.still_held() || pool.TryAcquire() || !lease.resource().empty()) return 1;
    if (ReasonOf(pool.Acquire().status()) != Reason::kOtherProcess) return 2;
    if (ReasonOf(client.OpenPool("gpu").status()) != Reason::kOtherProcess) return 3;
    if (ReasonOf(std::move(lease).Release()) != Reason::kOtherProcess) return 4;
    { const Client dropped = std::move(client); }
    { const Pool dropped = std::move(pool); }
    return 0;
  });
  EXPECT_EQ(answer, 0);
  EXPECT_TRUE(lease.still_held());
  EXPECT_EQ(daemon_->BusyCount("gpu"), 1u);
}

TEST_F(LocalForkTest, TheChildCanConnectAnewAndLeavesTheParentAlone) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "ThreadSanitizer lets no thread start in a child of a process with threads";
#endif
  StartDaemon();
  const Client client = Connect();
  const Pool pool = Open(client);
  const Lease lease = pool.TryAcquire();
  const int answer = InChild([&] {
    auto own = Client::Connect(target());
    if (!own.ok()) return 1;
    auto own_pool = own->OpenPool("gpu");
    if (!own_pool.ok()) return 2;
    const Lease own_lease = own_pool->TryAcquire();
    if (!own_lease || own_lease.slot() == lease.slot()) return 3;
    if (lease.still_held()) return 4;  // also after the child has a mark of its own
    return 0;
  });
  EXPECT_EQ(answer, 0);
  EXPECT_TRUE(lease.still_held());
  EXPECT_TRUE(Eventually([this] { return daemon_->BusyCount("gpu") == 1; }));
}

TEST_F(LocalForkTest, AChildThatLivesOnDoesNotKeepTheSessionUnlessItIsATree) {
  StartDaemon();
  for (const Liveness liveness : {Liveness::kProcess, Liveness::kTree}) {
    ClientOptions options;
    options.session.liveness = liveness;
    int ready[2], go[2];
    ASSERT_EQ(::pipe(ready), 0);
    ASSERT_EQ(::pipe(go), 0);
    pid_t child = -1;
    {
      const Client client = Connect(options);
      Lease lease = Open(client).TryAcquire();
      child = ::fork();
      if (child == 0) {
        char byte = 0;
        ::close(go[1]);
        if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
        ::_exit(::read(go[0], &byte, 1) == 0 ? 0 : 1);
      }
      char byte = 0;
      ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    }
    if (liveness == Liveness::kProcess) {
      EXPECT_TRUE(Eventually([this] { return daemon_->SessionCount() == 0; }));
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      EXPECT_EQ(daemon_->SessionCount(), 1u);
    }
    ::close(go[1]);
    ::waitpid(child, nullptr, 0);
    EXPECT_TRUE(Eventually([this] { return daemon_->SessionCount() == 0; }));
    for (int fd : {ready[0], ready[1], go[0]}) ::close(fd);
  }
}

}  // namespace
}  // namespace leaseplane
