// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/process_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <unordered_map>

#include "core/base/unique_fd.h"

namespace leaseplane::cli {
namespace {

struct Process {
  pid_t pid = 0;
  pid_t parent = 0;
  char state = '?';
  uint64_t start_ticks = 0;
};

constexpr int kFieldsToStart = 18;  // from the parent's pid to the start time, in proc(5)'s stat

std::optional<Process> ReadProcess(pid_t pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/stat";
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[1024];
  const ssize_t size = file ? ::read(file.get(), text, sizeof(text) - 1) : -1;
  if (size <= 0) return std::nullopt;
  text[size] = '\0';
  // The name in parentheses may hold anything, parentheses too; the last one ends it.
  const std::string line(text);
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos || name_end + 4 > line.size()) return std::nullopt;
  Process process;
  process.pid = pid;
  process.state = line[name_end + 2];
  const char* rest = line.c_str() + name_end + 4;
  char* end = nullptr;
  process.parent = static_cast<pid_t>(::strtol(rest, &end, 10));
  for (int i = 0; i < kFieldsToStart; ++i) process.start_ticks = ::strtoull(end, &end, 10);
  return process;
}

std::vector<Process> AllProcesses() {
  std::vector<Process> all;
  DIR* proc = ::opendir("/proc");
  if (proc == nullptr) return all;
  while (const dirent* entry = ::readdir(proc)) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    const auto process = ReadProcess(static_cast<pid_t>(::strtol(entry->d_name, nullptr, 10)));
    if (process.has_value()) all.push_back(*process);
  }
  ::closedir(proc);
  return all;
}

bool Contains(const std::vector<pid_t>& pids, pid_t pid) {
  return std::find(pids.begin(), pids.end(), pid) != pids.end();
}

std::vector<Process> Below(pid_t root, const std::vector<pid_t>& excluded) {
  std::unordered_multimap<pid_t, Process> by_parent;
  for (const Process& process : AllProcesses()) by_parent.emplace(process.parent, process);
  std::vector<Process> found;
  std::vector<pid_t> pending{root};
  while (!pending.empty()) {
    const auto [begin, end] = by_parent.equal_range(pending.back());
    pending.pop_back();
    for (auto it = begin; it != end; ++it) {
      if (Contains(excluded, it->first == root ? it->second.pid : 0)) continue;
      found.push_back(it->second);
      pending.push_back(it->second.pid);
    }
  }
  return found;
}

void Signal(const Process& process, int signal_number) {
  const UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0U)));
  if (!fd && errno == ENOSYS) {
    ::kill(process.pid, signal_number);
    return;
  }
  const auto again = ReadProcess(process.pid);
  if (!fd || !again.has_value() || again->start_ticks != process.start_ticks) return;
  ::syscall(SYS_pidfd_send_signal, fd.get(), signal_number, nullptr, 0U);
}

}  // namespace

void AdoptOrphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); }

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  for (const Process& process : AllProcesses()) {
    if (process.parent == parent) children.push_back(process.pid);
  }
  return children;
}

std::vector<pid_t> Descendants(pid_t root, const std::vector<pid_t>& excluded) {
  std::vector<pid_t> live;
  for (const Process& process : Below(root, excluded)) {
    if (process.state != 'Z' && process.state != 'X') live.push_back(process.pid);
  }
  return live;
}

void SignalDescendants(pid_t root, const std::vector<pid_t>& excluded, int signal_number) {
  for (const Process& process : Below(root, excluded)) {
    if (process.state != 'Z' && process.state != 'X') Signal(process, signal_number);
  }
}

}  // namespace leaseplane::cli
