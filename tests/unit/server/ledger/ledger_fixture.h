// SPDX-License-Identifier: Apache-2.0
//
// A folder with one ledger, records with every field set, and contents as text to compare.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>

#include "server/ledger/mapped_ledger.h"

namespace leaseplane::ledger {

inline engine::LeaseRecord MakeLease(SlotIndex slot, FencingToken token) {
  engine::LeaseRecord lease;
  const auto n = static_cast<uint64_t>(token);
  lease.id = {n * 0x9E37'79B9'7F4A'7C15ULL, n};
  lease.slot = slot;
  lease.token = token;
  lease.principal = "uid:" + std::to_string(n % 100'000);
  lease.client_id = "client-" + std::to_string(slot);
  lease.metadata = {{"job", std::to_string(n)}, {"note", std::string(n % 40, 'x')}};
  lease.request_id = {n + 1, n + 2};
  lease.body_hash = n * 3;
  lease.ttl_ns = 15 * engine::kSecond + token;
  lease.deadline_at_ns = 1'000'000 + token;
  lease.max_end_at_ns = engine::kNever - token;
  lease.acquired_unix_ns = 1'700'000'000 * engine::kSecond + token;
  return lease;
}

inline std::string Show(const engine::LedgerContents& contents) {
  std::ostringstream out;
  for (const auto& l : contents.leases) {
    out << "lease " << l.slot << ' ' << l.token << ' ' << l.id.hi << ' ' << l.id.lo << ' '
        << l.principal << ' ' << l.client_id << ' ' << l.request_id.hi << ' ' << l.request_id.lo
        << ' ' << l.body_hash << ' ' << l.ttl_ns << ' ' << l.deadline_at_ns << ' '
        << l.max_end_at_ns << ' ' << l.acquired_unix_ns;
    for (const auto& [key, value] : l.metadata) out << ' ' << key << '=' << value;
    out << '\n';
  }
  for (const auto& t : contents.tombstones) {
    out << "tombstone " << t.slot << ' ' << t.token << ' ' << t.id.hi << ' ' << t.id.lo << ' '
        << t.principal << ' ' << t.client_id << ' ' << t.request_id.hi << ' ' << t.request_id.lo
        << ' ' << t.body_hash << ' ' << static_cast<int>(t.ended_as) << ' ' << t.ended_unix_ns
        << ' ' << t.ended_at_ns << '\n';
  }
  for (const auto& lock : contents.locks) out << "lock " << lock.slot << ' ' << lock.reason << '\n';
  return out.str();
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

class LedgerFixture : public ::testing::Test {
 protected:
  LedgerFixture() {
    std::string pattern = ::testing::TempDir() + "/ledgerXXXXXX";
    dir_ = ::mkdtemp(pattern.data());
  }
  ~LedgerFixture() override { std::filesystem::remove_all(dir_); }

  const std::string& dir() const { return dir_; }
  std::string path() const { return dir_ + "/gpu.ledger"; }

  static LedgerIdentity Identity(uint32_t max_capacity) {
    return {"gpu", {11, 12}, {21, 22}, max_capacity};
  }

  std::unique_ptr<MappedLedger> CreateEmpty(uint32_t max_capacity) {
    auto ledger = MappedLedger::Create(dir_, Identity(max_capacity), {});
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    return *std::move(ledger);
  }
  std::unique_ptr<MappedLedger> Reopen(uint32_t max_capacity) {
    auto ledger = MappedLedger::Open(dir_, Identity(max_capacity));
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    return *std::move(ledger);
  }

 private:
  std::string dir_;
};

}  // namespace leaseplane::ledger
