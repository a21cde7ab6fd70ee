// SPDX-License-Identifier: Apache-2.0
#include "core/shm/segment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <vector>

namespace leaseplane::shm {
namespace {

// The daemon's side of one pool, sealed, with hooks to damage it before the client looks.
struct TestPool {
  UniqueFd data, ctl, meta;
  Mapping data_map, ctl_map, meta_map;
  Geometry geometry;

  explicit TestPool(uint32_t capacity, uint64_t pool_uid = 7) : geometry(MakeGeometry(capacity)) {
    const std::vector<std::string> resources = {"first", "", "third"};
    const uint64_t meta_bytes = MetaBytes(geometry, resources);
    data = *CreateSegment("data", geometry.data_bytes);
    ctl = *CreateSegment("ctl", geometry.ctl_bytes);
    meta = *CreateSegment("meta", meta_bytes);
    auto map = [](const UniqueFd& fd, uint64_t bytes) {
      return *Mapping::Map(fd.get(), bytes, Access::kReadWrite, InFork::kInherited);
    };
    data_map = map(data, geometry.data_bytes);
    ctl_map = map(ctl, geometry.ctl_bytes);
    meta_map = map(meta, meta_bytes);
    FormatCtl(ctl_map.base(), geometry, pool_uid, 3);
    FormatMeta(meta_map.base(), geometry, pool_uid, resources);
    Publish(ctl_map.base());
    Publish(meta_map.base());
  }
  void Seal() {
    ASSERT_TRUE(SealSize(data.get()).ok());
    ASSERT_TRUE(SealReadOnly(ctl.get()).ok());
    ASSERT_TRUE(SealReadOnly(meta.get()).ok());
  }
  AttachError Attach(AttachedPool& out) const {
    return AttachPool(data.get(), ctl.get(), meta.get(), out);
  }
  CtlHeader& header() { return *At<CtlHeader>(ctl_map.base(), 0); }
};

TEST(Segment, AttachedPoolSeesWhatTheDaemonWrote) {
  TestPool pool(3);
  pool.Seal();
  AttachedPool attached;
  ASSERT_EQ(pool.Attach(attached), AttachError::kNone);
  EXPECT_EQ(attached.geometry.max_capacity, 3u);
  EXPECT_EQ(attached.pool_uid, 7u);
  EXPECT_EQ(attached.Resource(0), "first");
  EXPECT_EQ(attached.Resource(1), "");
  EXPECT_EQ(attached.Resource(2), "third");
  EXPECT_EQ(attached.Resource(3), "");
  pool.header().heartbeat = 99;  // the daemon's mapping outlives the seal
  EXPECT_EQ(CtlOf(attached.ctl.base()).heartbeat, 99u);
  *At<uint32_t>(attached.data.base(), kWseqOffset) = 5;
  EXPECT_EQ(*At<uint32_t>(pool.data_map.base(), kWseqOffset), 5u);
}

TEST(Segment, SealedControlSegmentRefusesEveryNewWriter) {
  TestPool pool(3);
  pool.Seal();
  const int fd = pool.ctl.get();
  EXPECT_FALSE(
      Mapping::Map(fd, pool.geometry.ctl_bytes, Access::kReadWrite, InFork::kInherited).ok());
  EXPECT_EQ(pwrite(fd, "x", 1, 0), -1);
  EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
  AttachedPool attached;
  ASSERT_EQ(pool.Attach(attached), AttachError::kNone);
  EXPECT_EQ(mprotect(attached.ctl.base(), 4096, PROT_READ | PROT_WRITE), -1);
}

TEST(Segment, SizeOfADataSegmentCannotChange) {
  TestPool pool(3);
  pool.Seal();
  EXPECT_EQ(ftruncate(pool.data.get(), 0), -1);
  EXPECT_EQ(ftruncate(pool.data.get(), 1 << 20), -1);
  EXPECT_FALSE(SealReadOnly(pool.data.get()).ok());
}

TEST(Segment, ModeAndExecBitAreClosed) {
  TestPool pool(3);
  struct stat info {};
  ASSERT_EQ(fstat(pool.data.get(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST(Segment, AttachRefusesSegmentsWithoutSeals) {
  TestPool pool(3);
  AttachedPool attached;
  EXPECT_EQ(pool.Attach(attached), AttachError::kNotSealed);
  ASSERT_TRUE(SealReadOnly(pool.ctl.get()).ok());
  EXPECT_EQ(pool.Attach(attached), AttachError::kNotSealed);
  EXPECT_FALSE(attached.data);
}

TEST(Segment, AttachRefusesAFileThatIsNoMemfd) {
  UniqueFd file(open(testing::TempDir().c_str(), O_TMPFILE | O_RDWR, 0600));
  ASSERT_TRUE(file);
  Mapping sess;
  EXPECT_EQ(AttachSess(file.get(), sess), AttachError::kNotSealed);
}

struct Damage {
  const char* name;
  void (*apply)(TestPool&);
  AttachError expected;
};

class DamagedPool : public testing::TestWithParam<Damage> {};

TEST_P(DamagedPool, IsRefusedWithTheCheckThatFailed) {
  TestPool pool(3);
  GetParam().apply(pool);
  pool.Seal();
  AttachedPool attached;
  EXPECT_EQ(pool.Attach(attached), GetParam().expected) << AttachErrorText(pool.Attach(attached));
  EXPECT_FALSE(attached.data);
}

INSTANTIATE_TEST_SUITE_P(
    Damages, DamagedPool,
    testing::Values(
        Damage{"Magic", [](TestPool& p) { p.header().segment.magic = 0; }, AttachError::kNotReady},
        Damage{"Kind", [](TestPool& p) { p.header().segment.kind = 3; }, AttachError::kKind},
        Damage{"Abi", [](TestPool& p) { ++p.header().segment.abi_major; }, AttachError::kAbi},
        Damage{"Bytes", [](TestPool& p) { p.header().segment.segment_bytes += 1; },
               AttachError::kSize},
        Damage{"Capacity", [](TestPool& p) { p.header().max_capacity = 65; },
               AttachError::kGeometry},
        Damage{"CapacityZero", [](TestPool& p) { p.header().max_capacity = 0; },
               AttachError::kGeometry},
        Damage{"Stride", [](TestPool& p) { p.header().slot_stride_bytes = 1 << 30; },
               AttachError::kGeometry},
        Damage{"SlotsOffset", [](TestPool& p) { p.header().slots_offset = 1ull << 40; },
               AttachError::kGeometry},
        Damage{"DataBytes", [](TestPool& p) { p.header().data_bytes = 4096; },
               AttachError::kGeometry},
        Damage{"Uid", [](TestPool& p) { p.header().segment.pool_uid = 8; }, AttachError::kPoolUid},
        Damage{"MetaTable",
               [](TestPool& p) { At<MetaHeader>(p.meta_map.base(), 0)->table_offset = 4000; },
               AttachError::kGeometry},
        Damage{"MetaStrings",
               [](TestPool& p) { At<MetaHeader>(p.meta_map.base(), 0)->strings_bytes = 1 << 30; },
               AttachError::kSize}),
    [](const auto& damage) { return std::string(damage.param.name); });

TEST(Segment, AttachRefusesDataOfAnotherSize) {
  TestPool small(3), large(1000);
  small.Seal();
  large.Seal();
  AttachedPool attached;
  EXPECT_EQ(AttachPool(small.data.get(), large.ctl.get(), large.meta.get(), attached),
            AttachError::kSize);
  EXPECT_EQ(AttachPool(large.data.get(), small.ctl.get(), small.meta.get(), attached),
            AttachError::kSize);
}

TEST(Segment, SessionWordsAttachReadOnly) {
  UniqueFd fd = *CreateSegment("sess", kSessBytes);
  Mapping mine = *Mapping::Map(fd.get(), kSessBytes, Access::kReadWrite, InFork::kInherited);
  FormatSess(mine.base(), 5);
  Publish(mine.base());
  ASSERT_TRUE(SealReadOnly(fd.get()).ok());
  Mapping theirs;
  ASSERT_EQ(AttachSess(fd.get(), theirs), AttachError::kNone);
  EXPECT_EQ(SessOf(theirs.base()).instance_uid, 5u);
}

TEST(Segment, ClientsMappingIsHiddenFromForkedChildrenAndTheDaemonsIsNot) {
  TestPool pool(3);
  pool.Seal();
  AttachedPool attached;
  ASSERT_EQ(pool.Attach(attached), AttachError::kNone);
  const pid_t child = fork();
  if (child == 0) {
    // mincore() tells of an address range that is not mapped without touching it.
    unsigned char resident = 0;
    const bool hidden = mincore(attached.ctl.base(), 1, &resident) != 0;
    const bool inherited = mincore(pool.ctl_map.base(), 1, &resident) == 0;
    _exit(hidden && inherited ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Segment, AMillionSlotsAttach) {
  TestPool pool(kCapacityMax);
  pool.Seal();
  AttachedPool attached;
  EXPECT_EQ(pool.Attach(attached), AttachError::kNone);
}

}  // namespace
}  // namespace leaseplane::shm
