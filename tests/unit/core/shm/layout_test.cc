// SPDX-License-Identifier: Apache-2.0
//
// The layout stands in LAYOUT.md, in layout.h and here; this test keeps the three together.
#include "core/shm/layout.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "core/shm/segment.h"

namespace leaseplane::shm {
namespace {

struct Place {
  uint64_t offset, bytes;
  bool operator==(const Place&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Place& p) {
  return out << "offset " << p.offset << ", " << p.bytes << " bytes";
}
using Table = std::map<std::string, Place>;

#define PLACE(Struct, field)                                   \
  {                                                            \
#field, { offsetof(Struct, field), sizeof(Struct::field) } \
  }

const std::map<std::string, Table>& Structs() {
  static const auto* structs = new std::map<std::string, Table>{
      {"SegmentHeader",
       {PLACE(SegmentHeader, magic), PLACE(SegmentHeader, abi_major),
        PLACE(SegmentHeader, abi_minor), PLACE(SegmentHeader, kind),
        PLACE(SegmentHeader, header_bytes), PLACE(SegmentHeader, segment_bytes),
        PLACE(SegmentHeader, pool_uid)}},
      {"CtlHeader",
       {PLACE(CtlHeader, segment),
        PLACE(CtlHeader, max_capacity),
        PLACE(CtlHeader, slot_stride_bytes),
        PLACE(CtlHeader, data_bytes),
        PLACE(CtlHeader, slots_offset),
        PLACE(CtlHeader, records_offset),
        PLACE(CtlHeader, record_count),
        PLACE(CtlHeader, record_bytes),
        PLACE(CtlHeader, bitmap_offset),
        PLACE(CtlHeader, grant_bits_offset),
        PLACE(CtlHeader, base_epoch),
        PLACE(CtlHeader, reserved0),
        PLACE(CtlHeader, drained),
        PLACE(CtlHeader, reserved1),
        PLACE(CtlHeader, policy),
        PLACE(CtlHeader, reserved5),
        PLACE(CtlHeader, active_records),
        PLACE(CtlHeader, reserved2),
        PLACE(CtlHeader, reserved3),
        PLACE(CtlHeader, heartbeat),
        PLACE(CtlHeader, reserved4)}},
      {"MetaHeader",
       {PLACE(MetaHeader, segment), PLACE(MetaHeader, string_count), PLACE(MetaHeader, reserved0),
        PLACE(MetaHeader, table_offset), PLACE(MetaHeader, strings_offset),
        PLACE(MetaHeader, strings_bytes)}},
      {"SessHeader",
       {PLACE(SessHeader, segment), PLACE(SessHeader, words_offset), PLACE(SessHeader, word_count),
        PLACE(SessHeader, reserved0), PLACE(SessHeader, instance_uid),
        PLACE(SessHeader, reserved1)}},
      {"Data",
       {{"wseq", {kWseqOffset, 4}},
        {"dseq", {kDseqOffset, 4}},
        {"wcnt", {kWcntOffset, 8}},
        {"record_summary", {kRecordSummaryOffset, kRecordCountMax / 64 * 8}},
        {"summary_root", {kSummaryRootOffset, 8}},
        {"slots", {kSlotsOffset, 8}}}},
      {"FinderRecord",
       {PLACE(FinderRecord, claim), PLACE(FinderRecord, reserved0), PLACE(FinderRecord, entries),
        PLACE(FinderRecord, reserved1)}},
  };
  return *structs;
}

std::vector<std::string> Cells(const std::string& line) {
  std::vector<std::string> cells;
  std::stringstream in(line.substr(1));
  for (std::string cell; std::getline(in, cell, '|');) {
    const size_t begin = cell.find_first_not_of(' ');
    const size_t end = cell.find_last_not_of(' ');
    cells.push_back(begin == std::string::npos ? "" : cell.substr(begin, end - begin + 1));
  }
  return cells;
}

bool IsNumber(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

// Rows of the tables whose first two cells after the name are numbers, by the heading above.
class LayoutDocument : public testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("LEASEPLANE_LAYOUT_MD");
    ASSERT_NE(path, nullptr) << "LEASEPLANE_LAYOUT_MD names LAYOUT.md";
    std::ifstream in(path);
    ASSERT_TRUE(in) << path;
    std::string heading;
    for (std::string line; std::getline(in, line);) {
      if (!line.empty() && line[0] == '#') heading = line.substr(line.find_first_not_of("# "));
      if (line.empty() || line[0] != '|') continue;
      std::vector<std::string> cells = Cells(line);
      if (heading == "Examples") {
        if (IsNumber(cells[0])) examples_.push_back(cells);
      } else if (cells.size() >= 4 && IsNumber(cells[1]) && IsNumber(cells[2])) {
        tables_[heading][cells[0]] = {std::stoull(cells[1]), std::stoull(cells[2])};
      }
    }
  }
  std::map<std::string, Table> tables_;
  std::vector<std::vector<std::string>> examples_;
};

TEST_F(LayoutDocument, HasEveryFieldAtTheOffsetOfTheStruct) {
  for (const auto& [name, fields] : Structs()) {
    EXPECT_EQ(tables_[name], fields) << name;
  }
}

TEST_F(LayoutDocument, TablesLeaveNoGapBetweenFields) {
  for (const std::string name :
       {"SegmentHeader", "CtlHeader", "MetaHeader", "SessHeader", "FinderRecord"}) {
    std::map<uint64_t, uint64_t> by_offset;
    for (const auto& [field, place] : tables_[name]) by_offset[place.offset] = place.bytes;
    uint64_t end = 0;
    for (const auto& [offset, bytes] : by_offset) {
      EXPECT_EQ(offset, end) << name;
      end = offset + bytes;
    }
  }
}

TEST_F(LayoutDocument, ExamplesAreWhatMakeGeometryComputes) {
  ASSERT_GE(examples_.size(), 5u);
  for (const auto& row : examples_) {
    const Geometry g = MakeGeometry(static_cast<uint32_t>(std::stoul(row[0])));
    EXPECT_EQ(std::to_string(g.slot_stride_bytes), row[1]) << row[0];
    EXPECT_EQ(std::to_string(g.records_offset), row[2]) << row[0];
    EXPECT_EQ(std::to_string(g.bitmap_offset), row[3]) << row[0];
    EXPECT_EQ(std::to_string(g.data_bytes), row[4]) << row[0];
    EXPECT_EQ(std::to_string(g.ctl_bytes), row[5]) << row[0];
  }
}

TEST(Geometry, AreasDoNotOverlapForAnyCapacity) {
  for (uint32_t n = 1; n <= kCapacityMax; n = n < 5000 ? n + 1 : n + 7919) {
    const Geometry g = MakeGeometry(n);
    EXPECT_GE(g.records_offset, kSlotsOffset + uint64_t{n} * g.slot_stride_bytes);
    EXPECT_GE(g.bitmap_offset, g.records_offset + uint64_t{g.record_count} * kRecordBytes);
    EXPECT_GE(g.data_bytes, g.bitmap_offset + g.bitmap_word_count * 8);
    EXPECT_GE(g.ctl_bytes, kPageBytes + uint64_t{g.grant_word_count} * 8);
    EXPECT_GE(g.grant_word_count * 64, n);
  }
}

std::string Hex(const std::byte* bytes, size_t count) {
  static const char* digits = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    if (i % 32 == 0) out += '\n';
    out += digits[static_cast<unsigned>(bytes[i]) >> 4];
    out += digits[static_cast<unsigned>(bytes[i]) & 15];
  }
  return out;
}

struct alignas(kPageBytes) Page {
  std::byte bytes[kPageBytes] = {};
};

TEST(GoldenBytes, CtlOfAPoolOfThree) {
  Page page;
  FormatCtl(page.bytes, MakeGeometry(3), 0x1122334455667788, 25'000);
  Publish(page.bytes);
  EXPECT_EQ(Hex(page.bytes, 256),
            "\ndec0efbe01000000020000000001000000200000000000008877665544332211"
            "\n0300000040000000004000000000000000100000000000000020000000000000"
            "\n0c0000000001000000300000000000000010000000000000a861000000000000"
            "\n0000000000000000000000000000000000000000000000000000000000000000"
            "\n00000000a8610000000000000000000000000000000000000000000000000000"
            "\n0000000000000000000000000000000000000000000000000000000000000000"
            "\n0000000000000000000000000000000000000000000000000000000000000000"
            "\n0000000000000000000000000000000000000000000000000000000000000000");
}

TEST(GoldenBytes, MetaOfTwoResourcesInAPoolOfThree) {
  Page page;
  const std::vector<std::string> resources = {"gpu-a", "b"};
  FormatMeta(page.bytes, MakeGeometry(3), 0x1122334455667788, resources);
  Publish(page.bytes);
  EXPECT_EQ(Hex(page.bytes, 96),
            "\ndec0efbe01000000030000004000000000200000000000008877665544332211"
            "\n0300000000000000400000000000000050000000000000000600000000000000"
            "\n00000000050000000600000006000000"
            "6770752d61620000"
            "0000000000000000");
}

TEST(GoldenBytes, SessHeader) {
  Page page;
  FormatSess(page.bytes, 0x0102030405060708);
  Publish(page.bytes);
  EXPECT_EQ(Hex(page.bytes, 64),
            "\ndec0efbe01000000040000004000000000100200000000000000000000000000"
            "\n0010000000000000004000000000000008070605040302010000000000000000");
}

TEST(SessionWord, KeepsStateAndValueApart) {
  const uint64_t word = MakeSessionWord(SessionState::kRevoked, ~uint64_t{0});
  EXPECT_EQ(word, 0xbfffffffffffffff);
  EXPECT_EQ(SessionStateOf(word), SessionState::kRevoked);
}

}  // namespace
}  // namespace leaseplane::shm
