// SPDX-License-Identifier: Apache-2.0
//
// Messages to the attach server over a real socket. First byte: whether a hello that is right goes
// first. Then pieces: one byte for the length (0: a whole message), and so many bytes.
#include <memory>

#include "tests/fuzz/input.h"
#include "tests/unit/server/attach/attach_fixture.h"

namespace leaseplane::fuzz {
namespace {

class Server : public attach::AttachTest {
 public:
  Server() {
    SetUp();
    StartServer();
  }
  ~Server() override {
    TearDown();
    ::unlink(path_.c_str());
    ::rmdir(path_.substr(0, path_.rfind('/')).c_str());
  }
  void TestBody() override {}
  const std::string& path() const { return path_; }
};

// An index is free again when its process is dead, and ours is not: so a new server in time.
constexpr int kUsesMax = 200;

Server& Present() {
  static std::unique_ptr<Server> server;
  static int uses = 0;
  if (server == nullptr || ++uses >= kUsesMax) {
    server.reset();
    server = std::make_unique<Server>();
    uses = 0;
  }
  return *server;
}

}  // namespace
}  // namespace leaseplane::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using leaseplane::fuzz::Must;
  leaseplane::fuzz::Input input(data, size);
  leaseplane::fuzz::Server& server = leaseplane::fuzz::Present();
  {
    leaseplane::attach::Client client(server.path());
    Must(client.connected, "no connection is taken");
    if (input.Take<uint8_t>() % 2 == 0) client.Send(leaseplane::attach::Client::Hello());
    while (input.size() > 0) {
      const size_t length = input.Take<uint8_t>();
      std::string piece =
          input.TakeText(length == 0 ? sizeof(leaseplane::attach::Message) : length);
      if (length == 0) piece.resize(sizeof(leaseplane::attach::Message));
      if (!client.SendBytes(piece.data(), piece.size())) break;
    }
  }
  leaseplane::attach::Client next(server.path());
  Must(next.Attach().kind == leaseplane::attach::Kind::kWelcome, "the next process is not served");
  return 0;
}
