// SPDX-License-Identifier: Apache-2.0
//
// In libFuzzer's place where there is none: runs every file of a corpus, and then inputs derived
// from them. TARGET CORPUS [COUNT [SEED]]; a failure names the input by file or by seed and number.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/support/verify_ledger.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

Bytes Derive(const std::vector<Bytes>& corpus, std::mt19937_64& random) {
  Bytes bytes = corpus[random() % corpus.size()];
  const Bytes& other = corpus[random() % corpus.size()];
  for (uint64_t changes = 1 + random() % 8; changes > 0; --changes) {
    const size_t at = bytes.empty() ? 0 : random() % bytes.size();
    const auto here = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random() % 6) {
      case 0:
        if (!bytes.empty()) bytes[at] ^= static_cast<uint8_t>(1u << random() % 8);
        break;
      case 1:
        if (!bytes.empty()) bytes[at] = static_cast<uint8_t>(random());
        break;
      case 2:
        bytes.insert(here, static_cast<uint8_t>(random()));
        break;
      case 3:
        if (!bytes.empty()) bytes.erase(here);
        break;
      case 4:
        bytes.resize(at);
        break;
      default: {
        const size_t count = other.empty() ? 0 : random() % std::min<size_t>(other.size(), 64);
        bytes.insert(here, other.begin(), other.begin() + static_cast<std::ptrdiff_t>(count));
      }
    }
    if (bytes.size() > 16384) bytes.resize(16384);
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  const std::string target = std::filesystem::path(argv[0]).filename().string();
  const uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  const uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  const double began = leaseplane::testing::MonotonicSeconds();
  std::vector<Bytes> corpus;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::ifstream file(entry.path(), std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    std::fprintf(stderr, "%s\n", entry.path().c_str());
    LLVMFuzzerTestOneInput(corpus.back().data(), corpus.back().size());
  }
  if (corpus.empty()) {
    std::fprintf(stderr, "%s: an empty corpus\n", argv[1]);
    return 66;
  }
  for (uint64_t i = 0; i < count; ++i) {
    std::mt19937_64 random(seed * 1'000'003 + i);
    const Bytes bytes = Derive(corpus, random);
    if (i % 1000 == 0) {
      std::fprintf(stderr, "seed %llu, from input %llu\n", static_cast<unsigned long long>(seed),
                   static_cast<unsigned long long>(i));
    }
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
  }
  leaseplane::testing::RecordResult(target + ", derived inputs", "inputs", corpus.size() + count,
                                    leaseplane::testing::MonotonicSeconds() - began);
  return 0;
}
