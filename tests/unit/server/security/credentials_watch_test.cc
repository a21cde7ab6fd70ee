// SPDX-License-Identifier: Apache-2.0
#include "server/security/credentials_watch.h"

#include <gtest/gtest.h>
#include <time.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "server/security/principal.h"
#include "tests/unit/server/security/certificates.h"

namespace leaseplane::security {
namespace {

constexpr int64_t kHourNs = 3'600'000'000'000;

// A directory as Kubernetes mounts a Secret: the files are links through `..data`, which is turned
// to a new directory as a whole.
class CredentialsWatchTest : public testing::Test {
 protected:
  CredentialsWatchTest()
      : dir_(testing::TempDir() + "/secret-" + std::to_string(getpid()) + "-" +
             testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::create_directories(dir_);
    Mount("server", "server", "ci", "token-1");
    for (const char* name : {"tls.crt", "tls.key", "tokens.yaml"}) {
      std::filesystem::create_symlink(std::string("..data/") + name, dir_ + "/" + name);
    }
    files_ = {{dir_ + "/tls.crt", dir_ + "/tls.key", ""}, dir_ + "/tokens.yaml"};
  }

  void Mount(const std::string& cert, const std::string& key, const std::string& principal,
             const std::string& token) {
    const std::string version = "..v" + std::to_string(++versions_);
    const std::string to = dir_ + "/" + version;
    std::filesystem::create_directory(to);
    std::filesystem::copy_file(PathOf(cert + ".pem"), to + "/tls.crt");
    std::filesystem::copy_file(PathOf(key + ".key"), to + "/tls.key");
    WriteText(to + "/tokens.yaml",
              "tokens: [{principal: " + principal + ", sha256: \"" + Sha256Hex(token) + "\"}]");
    std::filesystem::create_symlink(version, dir_ + "/..next");
    std::filesystem::rename(dir_ + "/..next", dir_ + "/..data");
  }

  std::unique_ptr<CredentialsWatch> Start(int64_t interval_ns = kHourNs) {
    std::vector<FileError> errors;
    auto watch = CredentialsWatch::Start(files_, interval_ns, &errors);
    for (const FileError& error : errors) ADD_FAILURE() << error.field << ": " << error.got;
    return watch;
  }

  const std::string dir_;
  int versions_ = 0;
  CredentialFiles files_;
};

TEST_F(CredentialsWatchTest, ATurnedLinkIsSeenAndTheOldStaysWithWhoHasIt) {
  const auto watch = Start();
  ASSERT_NE(watch, nullptr);
  const auto before = watch->tls();
  EXPECT_EQ(before->cert_chain_pem, TextOf(PathOf("server.pem")));
  watch->Check();
  EXPECT_EQ(watch->tls(), before) << "nothing changed";
  Mount("server-next", "server-next", "ci", "token-2");
  watch->Check();
  EXPECT_EQ(watch->tls()->cert_chain_pem, TextOf(PathOf("server-next.pem")));
  EXPECT_EQ(watch->tls()->private_key_pem, TextOf(PathOf("server-next.key")));
  EXPECT_EQ(before->cert_chain_pem, TextOf(PathOf("server.pem")));
  EXPECT_EQ(watch->tokens()->Find("token-1"), std::nullopt);
  EXPECT_EQ(watch->tokens()->Find("token-2"), "ci");
  EXPECT_EQ(watch->figures().reloads, 2u);
  EXPECT_EQ(watch->figures().reload_failures, 0u);
}

TEST_F(CredentialsWatchTest, BadFilesAreNotTakenAndCountOnce) {
  const auto watch = Start();
  ASSERT_NE(watch, nullptr);
  const auto before = watch->tls();
  Mount("server-next", "server", "uid:0", "token-2");
  watch->Check();
  EXPECT_EQ(watch->figures().reload_failures, 0u) << "may be half of a change";
  for (int i = 0; i < 3; ++i) watch->Check();
  EXPECT_EQ(watch->figures().reload_failures, 2u) << "certificate and tokens, each once";
  EXPECT_EQ(watch->tls(), before);
  EXPECT_EQ(watch->tokens()->Find("token-1"), "ci");
  Mount("server-expired", "server-expired", "ci", "token-3");
  for (int i = 0; i < 3; ++i) watch->Check();
  EXPECT_EQ(watch->figures().reload_failures, 3u) << "expired is bad too";
  EXPECT_EQ(watch->tls(), before);
  Mount("server-next", "server-next", "ci", "token-3");
  watch->Check();
  EXPECT_EQ(watch->tls()->cert_chain_pem, TextOf(PathOf("server-next.pem")));
}

TEST_F(CredentialsWatchTest, FilesThatGoAndComeBackChangeNothing) {
  const auto watch = Start();
  ASSERT_NE(watch, nullptr);
  const auto before = watch->tls();
  std::filesystem::rename(dir_ + "/..data", dir_ + "/..hidden");
  watch->Check();
  watch->Check();
  EXPECT_EQ(watch->figures().reload_failures, 2u);
  std::filesystem::rename(dir_ + "/..hidden", dir_ + "/..data");
  watch->Check();
  EXPECT_EQ(watch->tls(), before);
  EXPECT_EQ(watch->figures().reloads, 0u);
}

TEST_F(CredentialsWatchTest, TheThreadLooksByItself) {
  const auto watch = Start(1'000'000);
  ASSERT_NE(watch, nullptr);
  Mount("server-next", "server-next", "ci", "token-2");
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (watch->tls()->cert_chain_pem != TextOf(PathOf("server-next.pem")) &&
         std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(watch->tls()->cert_chain_pem, TextOf(PathOf("server-next.pem")));
}

TEST_F(CredentialsWatchTest, AWorkerStartsWithACertificateThatHasExpired) {
  Mount("server-expired", "server-expired", "ci", "token-1");
  const auto watch = Start();
  ASSERT_NE(watch, nullptr);
  EXPECT_LT(watch->figures().certificate_not_after_unix_s, ::time(nullptr));
  EXPECT_NE(watch->figures().certificate_not_before_unix_s, 0);
}

TEST_F(CredentialsWatchTest, NothingStartsWithAPairThatIsNone) {
  Mount("server", "server-next", "ci", "token-1");
  std::vector<FileError> errors;
  EXPECT_EQ(CredentialsWatch::Start(files_, kHourNs, &errors), nullptr);
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].field, "tls.key");
}

TEST_F(CredentialsWatchTest, EachKindOfFileMayBeMissing) {
  files_.tls = {};
  auto watch = Start();
  ASSERT_NE(watch, nullptr);
  EXPECT_EQ(watch->tls(), nullptr);
  EXPECT_NE(watch->tokens(), nullptr);
  EXPECT_EQ(watch->figures().certificate_not_after_unix_s, 0);
  watch->Check();
}

}  // namespace
}  // namespace leaseplane::security
