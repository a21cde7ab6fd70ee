// SPDX-License-Identifier: Apache-2.0
#include "clients/cli/output.h"

#include <gtest/gtest.h>

#include <sstream>

#include "clients/cli/message_json.h"
#include "leaseplane/v1/lease_service.pb.h"

namespace leaseplane::cli {
namespace {

std::string Printed(const Table& table) {
  std::ostringstream out;
  table.Print(out);
  return out.str();
}

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCell) {
  Table table({{"POOL"}, {"SLOTS", Table::Align::kRight}, {"NOTE"}});
  table.AddRow({"gpu", "8", "a b"});
  table.AddRow({"database", "1000000", ""});
  EXPECT_EQ(Printed(table),
            "POOL        SLOTS  NOTE\n"
            "gpu             8  a b\n"
            "database  1000000  -\n");
}

TEST(TableTest, LettersAreCountedNotBytes) {
  Table table({{"A"}, {"B"}});
  table.AddRow({"grün", "x"});
  table.AddRow({"grau", "y"});
  EXPECT_EQ(Printed(table), "A     B\ngrün  x\ngrau  y\n");
}

TEST(TableTest, WhatWouldSteerATerminalIsMadePrintable) {
  EXPECT_EQ(Printable("a\nb\tc\x1b[31md\x7f"), "a b c?[31md?");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "1m"),
            "?1m");
  EXPECT_EQ(Printable("grün"), "grün");
}

TEST(MessageJson, TokensArePlainDecimals) {
  v1::AcquireLeaseResponse response;
  response.mutable_lease()->set_name("pools/gpu/leases/x");
  response.mutable_lease()->set_fencing_token((int64_t{1} << 53) - 1);
  response.mutable_lease()->set_state(v1::Lease::STATE_ACTIVE);
  (*response.mutable_lease()->mutable_metadata())["job"] = "7";
  response.mutable_remaining_duration()->set_seconds(15);
  const nlohmann::ordered_json json = ToJson(response);
  EXPECT_EQ(json["lease"]["fencing_token"].dump(), "9007199254740991");
  EXPECT_EQ(json["lease"]["state"], "STATE_ACTIVE");
  EXPECT_EQ(json["lease"]["metadata"]["job"], "7");
  EXPECT_EQ(json["remaining_duration"], "15s");
  EXPECT_EQ(json["lease"]["slot_index"], 0) << "zero is a slot, not an absent field";
  EXPECT_FALSE(json["lease"].contains("end_time"));
}

TEST(MessageJson, RepeatedFieldsAreListsEvenIfEmpty) {
  v1::ListLeasesResponse list;
  EXPECT_EQ(ToJson(list)["leases"].dump(), "[]");
  list.add_leases()->set_slot_index(2);
  EXPECT_EQ(ToJson(list)["leases"][0]["slot_index"], 2);
}

}  // namespace
}  // namespace leaseplane::cli
