// SPDX-License-Identifier: Apache-2.0
#include "server/rpc/request_parser.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <map>
#include <string>

namespace leaseplane::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr int kDepthMax = 8;
constexpr size_t kViolationsMax = 16;

// Walks a message as it came over the wire and lists the text fields that are not UTF-8.
class TextCheck {
 public:
  std::vector<FieldViolation> Run(const Descriptor* type, std::string_view bytes) {
    CheckMessage(type, bytes, "", kDepthMax);
    return std::move(violations_);
  }

 private:
  // Stops quietly where the bytes make no sense: the parser has refused them already.
  void CheckMessage(const Descriptor* type, std::string_view bytes, const std::string& path,
                    int depth) {
    CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                        static_cast<int>(bytes.size()));
    std::map<int, int> seen;  // elements of repeated fields so far
    while (const uint32_t tag = in.ReadTag()) {
      const FieldDescriptor* field =
          type->FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
      const bool is_bytes =
          WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
      if (field == nullptr || !is_bytes) {
        if (!WireFormatLite::SkipField(&in, tag)) return;
        continue;
      }
      std::string value;
      if (!WireFormatLite::ReadBytes(&in, &value)) return;
      CheckField(field, value, FieldPath(field, path, &seen), depth);
    }
  }

  void CheckField(const FieldDescriptor* field, const std::string& value, const std::string& path,
                  int depth) {
    if (violations_.size() >= kViolationsMax) return;
    if (field->type() == FieldDescriptor::TYPE_STRING) {
      if (!IsUtf8(value)) violations_.push_back({path, "must be valid UTF-8"});
    } else if (field->is_map()) {
      CheckMapEntry(field, value, path, depth);
    } else if (field->type() == FieldDescriptor::TYPE_MESSAGE && depth > 0) {
      CheckMessage(field->message_type(), value, path, depth - 1);
    }
  }

  // A map's entries have no index and their parts no name worth telling: once for the whole map.
  void CheckMapEntry(const FieldDescriptor* field, const std::string& value,
                     const std::string& path, int depth) {
    const size_t before = violations_.size();
    CheckMessage(field->message_type(), value, path, depth - 1);
    if (violations_.size() == before) return;
    violations_.resize(before);
    if (before > 0 && violations_.back().field == path) return;
    violations_.push_back({path, "keys and values must be valid UTF-8"});
  }

  static std::string FieldPath(const FieldDescriptor* field, const std::string& path,
                               std::map<int, int>* seen) {
    std::string out = path.empty() ? field->name() : path + "." + field->name();
    if (field->is_repeated() && !field->is_map()) {
      out += '[';
      out += std::to_string((*seen)[field->number()]++);
      out += ']';
    }
    return out;
  }

  std::vector<FieldViolation> violations_;
};

std::string Flatten(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  std::string flat;
  if (!bytes.Dump(&slices).ok()) return flat;
  for (const grpc::Slice& slice : slices) {
    flat.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return flat;
}

// Length of the well-formed sequence at the front of `text`, 0 if there is none.
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  // The second byte also rules out overlong forms, surrogates and what is beyond U+10FFFF.
  if (lead == 0xe0 && byte(1) < 0xa0) return 0;
  if (lead == 0xed && byte(1) > 0x9f) return 0;
  if (lead == 0xf0 && byte(1) < 0x90) return 0;
  if (lead == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::vector<FieldViolation> ParseRequest(const grpc::ByteBuffer& bytes,
                                         google::protobuf::Message* request) {
  grpc::ByteBuffer shared(bytes);  // a reference, not a copy of the bytes
  if (shared.Length() == 0) {      // a reader refuses a buffer without slices
    request->Clear();
    return {};
  }
  grpc::ProtoBufferReader reader(&shared);
  if (reader.status().ok() && request->ParseFromZeroCopyStream(&reader)) return {};
  const std::string flat = Flatten(bytes);
  auto violations = TextCheck().Run(request->GetDescriptor(), flat);
  if (violations.empty()) {
    violations.push_back({"", "the request is not a " + request->GetTypeName() + " message"});
  }
  return violations;
}

grpc::ByteBuffer SerializeReply(const google::protobuf::MessageLite& reply) {
  const size_t size = reply.ByteSizeLong();
  grpc::Slice slice(size);
  // The slice is ours alone until it is in the buffer.
  auto* out = const_cast<uint8_t*>(slice.begin());
  reply.SerializeWithCachedSizesToArray(out);
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace leaseplane::rpc
