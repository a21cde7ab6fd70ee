// SPDX-License-Identifier: Apache-2.0
//
// NodeProcess: a pool in a Node process, measured window by window like a gang.
//
// Ownership: the process ends with the object. Threads: one. Errors: abort with a reason.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <string>

#include "tests/bench/harness/gang.h"

namespace leaseplane::bench {

class NodeProcess {
 public:
  // Subjects are those of node/pool_bench.js. Returns when the code is compiled.
  NodeProcess(const std::string& subject, uint32_t capacity, int workers);
  ~NodeProcess();
  NodeProcess(const NodeProcess&) = delete;
  NodeProcess& operator=(const NodeProcess&) = delete;

  Gang::Window Run(double seconds);

 private:
  std::string ReadLine();

  pid_t pid_ = 0;
  std::FILE* to_ = nullptr;
  std::FILE* from_ = nullptr;
};

}  // namespace leaseplane::bench
