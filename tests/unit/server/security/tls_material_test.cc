// SPDX-License-Identifier: Apache-2.0
#include "server/security/tls_material.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <time.h>

#include "tests/unit/server/security/certificates.h"

namespace leaseplane::security {
namespace {

using testing::HasSubstr;

// Field and finding of every error, "ok" if there is none.
std::string ErrorsOf(const TlsFiles& files, int64_t now_unix_s = ::time(nullptr),
                     Validity validity = Validity::kMustBeNow) {
  const auto loaded = LoadTlsMaterial(files, now_unix_s, validity);
  if (std::holds_alternative<TlsMaterial>(loaded)) return "ok";
  std::string text;
  for (const FileError& error : std::get<std::vector<FileError>>(loaded)) {
    EXPECT_FALSE(error.valid.empty());
    text += error.field + ": " + error.got + "\n";
  }
  return text;
}

TlsFiles Files(const std::string& cert, const std::string& key, const std::string& ca = "") {
  const auto path = [](const std::string& name) { return name.empty() ? name : PathOf(name); };
  return {path(cert), path(key), path(ca)};
}

TEST(TlsMaterialTest, AGoodPairIsReadAsItStands) {
  const auto loaded = LoadTlsMaterial(Files("server.pem", "server.key", "ca.pem"), ::time(nullptr));
  ASSERT_TRUE(std::holds_alternative<TlsMaterial>(loaded));
  const auto& material = std::get<TlsMaterial>(loaded);
  EXPECT_EQ(material.cert_chain_pem, TextOf(PathOf("server.pem")));
  EXPECT_EQ(material.private_key_pem, TextOf(PathOf("server.key")));
  EXPECT_EQ(material.client_ca_pem, TextOf(PathOf("ca.pem")));
  EXPECT_GT(material.not_after_unix_s, ::time(nullptr) + 29 * 86'400);
  EXPECT_LE(material.not_after_unix_s, ::time(nullptr) + 30 * 86'400);
  EXPECT_EQ(material.not_before_unix_s, material.not_after_unix_s - 30 * 86'400);
}

TEST(TlsMaterialTest, HalfOfAPairIsNotEnough) {
  EXPECT_THAT(ErrorsOf(Files("server.pem", "")), HasSubstr("tls.key: "));
  EXPECT_THAT(ErrorsOf(Files("", "server.key")), HasSubstr("tls.cert: "));
  EXPECT_THAT(ErrorsOf(Files("", "", "ca.pem")), HasSubstr("tls.cert: "));
}

TEST(TlsMaterialTest, EveryMistakeNamesItsField) {
  WriteText(PathOf("rubbish.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n");
  WriteText(PathOf("half.pem"), TextOf(PathOf("server.pem")) + TextOf(PathOf("rubbish.pem")));
  WriteText(PathOf("long.pem"), std::string(kFileBytesMax + 1, 'x'));
  EXPECT_THAT(ErrorsOf(Files("none.pem", "server.key")),
              testing::AllOf(HasSubstr("tls.cert: "), HasSubstr("No such file")));
  EXPECT_THAT(ErrorsOf(Files("server.pem", "none.key")), HasSubstr("tls.key: "));
  EXPECT_THAT(ErrorsOf(Files("server.pem", "server-next.key")),
              HasSubstr("server-next.key: the key of another certificate"));
  EXPECT_THAT(ErrorsOf(Files("server.key", "server.key")), HasSubstr("tls.cert: "));
  EXPECT_THAT(ErrorsOf(Files("server.pem", "server.pem")), HasSubstr("tls.key: "));
  EXPECT_THAT(ErrorsOf(Files("rubbish.pem", "server.key")), HasSubstr("tls.cert: "));
  EXPECT_THAT(ErrorsOf(Files("half.pem", "server.key")), HasSubstr("tls.cert: "));
  EXPECT_THAT(ErrorsOf(Files("long.pem", "server.key")), HasSubstr("more than 1 MiB"));
  EXPECT_THAT(ErrorsOf(Files("server.pem", "server.key", "server.key")),
              HasSubstr("tls.client_ca: "));
  EXPECT_THAT(ErrorsOf(Files("server.pem", "server.key", "none.pem")),
              HasSubstr("tls.client_ca: "));
}

TEST(TlsMaterialTest, TheTimeOfTheCertificateCounts) {
  EXPECT_THAT(ErrorsOf(Files("server-expired.pem", "server-expired.key")),
              HasSubstr("server-expired.pem: expired on 20"));
  EXPECT_EQ(
      ErrorsOf(Files("server-expired.pem", "server-expired.key"), ::time(nullptr), Validity::kAny),
      "ok");
  EXPECT_THAT(ErrorsOf(Files("server.pem", "server.key"), ::time(nullptr) - 86'400),
              HasSubstr("not valid before"));
  EXPECT_THAT(ErrorsOf(Files("server.pem", "server.key"), ::time(nullptr) + 31 * 86'400),
              HasSubstr("expired on"));
}

TEST(TlsMaterialTest, AKeyWithAPassphraseIsRefusedAndNobodyIsAsked) {
  const std::string command = "openssl ec -in " + PathOf("server.key") +
                              " -aes256 -passout pass:x" + " -out " + PathOf("locked.key") +
                              " 2>/dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_THAT(ErrorsOf(Files("server.pem", "locked.key")), HasSubstr("locked.key: no private key"));
}

}  // namespace
}  // namespace leaseplane::security
