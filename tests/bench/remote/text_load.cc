// SPDX-License-Identifier: Apache-2.0
//
// text_load: lock and unlock as fast as Redis or memcached answer, with a fixed number of
// connections that each have one request on its way. One thread.
//
//   text_load --system redis --address unix:/run/redis.sock --in-flight 64 --seconds 2
//             [--server-pid N ...]
//   text_load --system memcached --address 127.0.0.1:11211 ...
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/unique_fd.h"
#include "tests/bench/remote/measure.h"

namespace leaseplane::bench {
namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "text_load: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

// The lock as the system's own documents recommend it: who took it alone may take it away.
struct Dialogue {
  std::string lock, lock_answer;
  std::string unlock, unlock_answer;
};

// The SHA-1 is Redis's name for the script, answered to SCRIPT LOAD.
constexpr char kScript[] =
    "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) else return 0 end";

std::string Resp(const std::vector<std::string>& words) {
  std::string out = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) {
    out += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  }
  return out;
}

Dialogue MakeDialogue(const std::string& system, int number, const std::string& script_sha) {
  // Of this run alone: the one before may have ended with locks held.
  std::string key = "lock:" + std::to_string(::getpid());
  key += ":" + std::to_string(number);
  const std::string token = "holder-" + std::to_string(number);
  Dialogue dialogue;
  if (system == "redis") {
    dialogue.lock = Resp({"SET", key, token, "NX", "PX", "30000"});
    dialogue.lock_answer = "+OK\r\n";
    dialogue.unlock = Resp({"EVALSHA", script_sha, "1", key, token});
    dialogue.unlock_answer = ":1\r\n";
  } else {
    dialogue.lock =
        "add " + key + " 0 30 " + std::to_string(token.size()) + "\r\n" + token + "\r\n";
    dialogue.lock_answer = "STORED\r\n";
    dialogue.unlock = "delete " + key + "\r\n";
    dialogue.unlock_answer = "DELETED\r\n";
  }
  return dialogue;
}

UniqueFd Connect(const std::string& address) {
  if (address.rfind("unix:", 0) == 0) {
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    address.copy(to.sun_path, sizeof(to.sun_path) - 1, 5);
    if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) Fail("connect");
    return fd;
  }
  const size_t colon = address.rfind(':');
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(colon + 1))));
  ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  if (::connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) Fail("connect");
  const int on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

void SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0) Fail("send");
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

// "$40\r\n<sha>\r\n"
std::string LoadScript(const std::string& address) {
  const UniqueFd fd = Connect(address);
  SendAll(fd.get(), Resp({"SCRIPT", "LOAD", kScript}));
  std::string answer;
  char buffer[256];
  while (answer.size() < 47) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got <= 0) Fail("SCRIPT LOAD");
    answer.append(buffer, static_cast<size_t>(got));
  }
  return answer.substr(5, 40);
}

class Caller {
 public:
  Caller(const std::string& address, Dialogue dialogue)
      : fd_(Connect(address)), dialogue_(std::move(dialogue)) {}

  int fd() const { return fd_.get(); }
  void Send() {
    sent_ns_ = NowNs();
    received_.clear();
    SendAll(fd_.get(), holds_ ? dialogue_.unlock : dialogue_.lock);
  }
  void Readable(Measure& measure) {
    char buffer[4096];
    const ssize_t got = ::read(fd_.get(), buffer, sizeof buffer);
    if (got <= 0) Fail("read");
    received_.append(buffer, static_cast<size_t>(got));
    const std::string& expected = holds_ ? dialogue_.unlock_answer : dialogue_.lock_answer;
    if (received_.size() < expected.size()) return;
    if (received_ != expected) Fail("unexpected answer " + received_);
    measure.Operation(NowNs() - sent_ns_);
    if (holds_) measure.Pairs(1);
    holds_ = !holds_;
    Send();
  }

 private:
  UniqueFd fd_;
  Dialogue dialogue_;
  std::string received_;
  bool holds_ = false;
  int64_t sent_ns_ = 0;
};

int Main(int argc, char** argv) {
  std::string system, address;
  int in_flight = 1;
  double seconds = 1;
  std::vector<int> server_pids;
  CLI::App app("Load on Redis or memcached");
  app.add_option("--system", system)->required()->check(CLI::IsMember({"redis", "memcached"}));
  app.add_option("--address", address)->required();
  app.add_option("--in-flight", in_flight);
  app.add_option("--seconds", seconds);
  app.add_option("--server-pid", server_pids);
  CLI11_PARSE(app, argc, argv);

  const std::string sha = system == "redis" ? LoadScript(address) : "";
  const UniqueFd poll(::epoll_create1(EPOLL_CLOEXEC));
  std::vector<std::unique_ptr<Caller>> callers;
  for (int i = 0; i < in_flight; ++i) {
    callers.push_back(std::make_unique<Caller>(address, MakeDialogue(system, i, sha)));
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = callers.back().get();
    ::epoll_ctl(poll.get(), EPOLL_CTL_ADD, callers.back()->fd(), &event);
  }
  Measure measure(seconds, server_pids);
  for (auto& caller : callers) caller->Send();
  std::vector<epoll_event> events(callers.size());
  while (!measure.IsOver(NowNs())) {
    const int count = ::epoll_wait(poll.get(), events.data(), in_flight, 20'000);
    if (count <= 0) Fail("no answer");
    for (int i = 0; i < count; ++i) static_cast<Caller*>(events[i].data.ptr)->Readable(measure);
  }
  measure.Print();
  return 0;
}

}  // namespace
}  // namespace leaseplane::bench

int main(int argc, char** argv) { return leaseplane::bench::Main(argc, argv); }
