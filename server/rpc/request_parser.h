// SPDX-License-Identifier: Apache-2.0
//
// Turns the bytes of a call into messages and back. The services take their requests as bytes,
// because a message with text that is not UTF-8 does not parse, and gRPC by itself then answers
// UNIMPLEMENTED without a word; here the caller hears which field it was.
//
// Pure functions, any thread. Cost: one pass; a second one over a message that does not parse.
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>

#include <string_view>
#include <vector>

#include "server/rpc/status_map.h"

namespace leaseplane::rpc {

// Fills `request`. What is wrong with the bytes, empty if nothing is; then `request` is as parsed,
// else it is unspecified.
std::vector<FieldViolation> ParseRequest(const grpc::ByteBuffer& bytes,
                                         google::protobuf::Message* request);

grpc::ByteBuffer SerializeReply(const google::protobuf::MessageLite& reply);

// Well-formed as the Unicode standard's table 3-7 has it: no overlong forms, no surrogates.
bool IsUtf8(std::string_view text);

}  // namespace leaseplane::rpc
