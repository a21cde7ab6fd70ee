// SPDX-License-Identifier: Apache-2.0
//
// First byte: which request; the rest: its bytes as they come from the wire.
#include <grpcpp/support/byte_buffer.h>

#include "server/rpc/convert.h"
#include "server/rpc/request_parser.h"
#include "tests/fuzz/input.h"

namespace leaseplane::fuzz {
namespace {

using rpc::FieldChecks;
using rpc::ParseRequest;

void Judge(const FieldChecks& checks) {
  for (const auto& violation : checks.violations()) {
    Must(!violation.field.empty(), "a violation names no field");
  }
  if (!checks.ok()) {
    Must(checks.status().error_code() == grpc::StatusCode::INVALID_ARGUMENT, "the wrong code");
  }
}

template <class Message, class Read>
void Try(const grpc::ByteBuffer& bytes, Read&& read) {
  Message message;
  const auto wrong = ParseRequest(bytes, &message);
  if (!wrong.empty()) return;
  FieldChecks checks;
  read(message, &checks);
  Judge(checks);
}

}  // namespace
}  // namespace leaseplane::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace v1 = leaseplane::v1;
  using leaseplane::fuzz::Must;
  using leaseplane::fuzz::Try;
  using leaseplane::rpc::FieldChecks;
  leaseplane::fuzz::Input input(data, size);
  const auto which = input.Take<uint8_t>();
  const std::string rest = input.Rest();
  grpc::Slice slice(rest);
  const grpc::ByteBuffer bytes(&slice, 1);
  switch (which % 4) {
    case 0:
      Try<v1::AcquireLeaseRequest>(bytes, [](const auto& m, FieldChecks* checks) {
        const auto command = leaseplane::rpc::ReadAcquire(m, "uid:1", "", 50'000'000'000, checks);
        if (checks->ok()) Must(command.request.max_wait_ns <= 50'000'000'000, "too long a wait");
      });
      break;
    case 1:
      Try<v1::CreatePoolRequest>(bytes, [](const auto& m, FieldChecks* checks) {
        const auto options = leaseplane::rpc::ReadPool(m, checks);
        if (checks->ok()) Must(options.capacity >= 1, "a pool without slots");
      });
      break;
    case 2:
      Try<v1::RenewLeaseRequest>(bytes, [](const auto& m, FieldChecks* checks) {
        checks->Lease("name", m.name());
        checks->TtlNs("ttl", m.has_ttl(), m.ttl());
        checks->Token("fencing_token", m.fencing_token());
      });
      break;
    default:
      Try<v1::ListLeasesRequest>(bytes, [](const auto& m, FieldChecks* checks) {
        checks->Pool("parent", m.parent());
        const uint32_t page = checks->PageSize("page_size", m.page_size());
        Must(page <= leaseplane::rpc::kPageSizeMax, "too large a page");
      });
  }
  return 0;
}
