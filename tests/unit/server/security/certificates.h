// SPDX-License-Identifier: Apache-2.0
//
// Certificates for one test program, made by tests/support/make_certificates.sh.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "server/security/tls_material.h"

namespace leaseplane::security {

// Their directory; made once.
inline const std::string& CertificateDir() {
  static const std::string dir = [] {
    const char* root = std::getenv("LEASEPLANE_SOURCE_DIR");
    std::string path = testing::TempDir() + "/certificates-" + std::to_string(getpid());
    const std::string command =
        std::string(root != nullptr ? root : ".") + "/tests/support/make_certificates.sh " + path;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return path;
  }();
  return dir;
}

inline std::string PathOf(const std::string& file) { return CertificateDir() + "/" + file; }

inline std::string TextOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteText(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace leaseplane::security
