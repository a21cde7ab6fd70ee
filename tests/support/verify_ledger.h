// SPDX-License-Identifier: Apache-2.0
//
// What a verification stage has measured, as one JSON object a line. Lines are appended to the file
// named by LEASEPLANE_LEDGER, if it is set, and always printed; tests/verify adds them up.
#pragma once

#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace leaseplane::testing {

inline double MonotonicSeconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

inline void RecordResult(const std::string& stage, const std::string& metric, uint64_t value,
                         double seconds) {
  char date[32];
  const time_t now = time(nullptr);
  tm broken{};
  strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &broken));
  char line[512];
  const int length = std::snprintf(
      line, sizeof(line),
      R"({"stage":"%s","metric":"%s","value":%llu,"seconds":%.1f,"date":"%s"})"
      "\n",
      stage.c_str(), metric.c_str(), static_cast<unsigned long long>(value), seconds, date);
  std::fputs(line, stdout);
  std::fflush(stdout);
  const char* path = std::getenv("LEASEPLANE_LEDGER");
  if (path == nullptr || *path == '\0') return;
  FILE* file = std::fopen(path, "ae");
  if (file == nullptr || std::fwrite(line, 1, static_cast<size_t>(length), file) == 0 ||
      std::fclose(file) != 0) {
    std::perror(path);
    std::exit(74);
  }
}

}  // namespace leaseplane::testing
