// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/message_json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

#include <string>

namespace leaseplane::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::util::TimeUtil;
using nlohmann::ordered_json;

ordered_json MessageValue(const Message& message) {
  if (message.GetDescriptor() == google::protobuf::Duration::descriptor()) {
    return TimeUtil::ToString(static_cast<const google::protobuf::Duration&>(message));
  }
  if (message.GetDescriptor() == google::protobuf::Timestamp::descriptor()) {
    return TimeUtil::ToString(static_cast<const google::protobuf::Timestamp&>(message));
  }
  return ToJson(message);
}

// `index` is -1 for a field that is not repeated.
ordered_json FieldValue(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection& from = *message.GetReflection();
  const bool one = index < 0;
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return one ? from.GetInt32(message, field) : from.GetRepeatedInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_INT64:
      return one ? from.GetInt64(message, field) : from.GetRepeatedInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_UINT32:
      return one ? from.GetUInt32(message, field) : from.GetRepeatedUInt32(message, field, index);
    case FieldDescriptor::CPPTYPE_UINT64:
      return one ? from.GetUInt64(message, field) : from.GetRepeatedUInt64(message, field, index);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return one ? from.GetDouble(message, field) : from.GetRepeatedDouble(message, field, index);
    case FieldDescriptor::CPPTYPE_FLOAT:
      return one ? from.GetFloat(message, field) : from.GetRepeatedFloat(message, field, index);
    case FieldDescriptor::CPPTYPE_BOOL:
      return one ? from.GetBool(message, field) : from.GetRepeatedBool(message, field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return (one ? from.GetEnum(message, field) : from.GetRepeatedEnum(message, field, index))
          ->name();
    case FieldDescriptor::CPPTYPE_STRING:
      return one ? from.GetString(message, field) : from.GetRepeatedString(message, field, index);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return MessageValue(one ? from.GetMessage(message, field)
                              : from.GetRepeatedMessage(message, field, index));
  }
  return nullptr;
}

// Keys of all maps in the API are strings.
ordered_json MapValue(const Message& message, const FieldDescriptor* field, int count) {
  ordered_json map = ordered_json::object();
  for (int i = 0; i < count; ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, field, i);
    const Descriptor* type = entry.GetDescriptor();
    map[FieldValue(entry, type->map_key(), -1).get<std::string>()] =
        FieldValue(entry, type->map_value(), -1);
  }
  return map;
}

}  // namespace

ordered_json ToJson(const Message& message) {
  ordered_json object = ordered_json::object();
  const Descriptor* type = message.GetDescriptor();
  const Reflection& from = *message.GetReflection();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->is_map()) {
      object[field->name()] = MapValue(message, field, from.FieldSize(message, field));
    } else if (field->is_repeated()) {
      ordered_json list = ordered_json::array();
      for (int k = 0; k < from.FieldSize(message, field); ++k) {
        list.push_back(FieldValue(message, field, k));
      }
      object[field->name()] = std::move(list);
    } else if (!field->has_presence() || from.HasField(message, field)) {
      object[field->name()] = FieldValue(message, field, -1);
    }
  }
  return object;
}

}  // namespace leaseplane::cli
