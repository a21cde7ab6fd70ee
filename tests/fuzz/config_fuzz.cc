// SPDX-License-Identifier: Apache-2.0
#include "server/config/parse.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using leaseplane::fuzz::Must;
  leaseplane::config::DaemonOptions options;
  std::vector<leaseplane::config::ConfigError> errors;
  leaseplane::config::ParseConfigText(leaseplane::fuzz::Input(data, size).Rest(), "f.yaml",
                                      &options, &errors);
  for (const auto& error : errors) {
    Must(error.where.rfind("f.yaml", 0) == 0, "an error does not say where");
    Must(!error.valid.empty() || !error.got.empty(), "an error says nothing");
  }
  if (!errors.empty()) return 0;
  for (const auto& pool : options.pools) {
    Must(pool.capacity >= 1 && pool.capacity <= leaseplane::kCapacityMax, "capacity out of range");
  }
  return 0;
}
