#include "platform/os/reserved_room.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"

namespace agenttask::os {
namespace {

constexpr std::int64_t kBytes = 256 * 1024;

class Room : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  /// What the file takes of the disk.
  std::int64_t taken() const {
    struct stat facts {};
    return ::stat(file_.c_str(), &facts) == 0 ? facts.st_blocks * 512 : 0;
  }
  const std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("room-" + hex_encode(random_bytes(8)));
  const std::filesystem::path file_ = folder_ / "reserve";
};

TEST_F(Room, IsTakenGivenUpAndTakenAgain) {
  ReservedRoom room(file_, kBytes);
  EXPECT_FALSE(room.give_up()) << "there is none yet";
  ASSERT_TRUE(room.take());
  EXPECT_GE(taken(), kBytes);
  ASSERT_TRUE(room.take());
  EXPECT_TRUE(room.give_up());
  EXPECT_EQ(taken(), 0);
  EXPECT_FALSE(room.give_up());
  ASSERT_TRUE(room.take());
  EXPECT_GE(taken(), kBytes);
}

TEST_F(Room, IsThereAfterACrash) {
  ASSERT_TRUE(ReservedRoom(file_, kBytes).take());
  EXPECT_TRUE(ReservedRoom(file_, kBytes).give_up());
}

TEST_F(Room, AFileWithAHoleHoldsNone) {
  ReservedRoom room(file_, kBytes);
  ASSERT_TRUE(room.take());
  ASSERT_EQ(::truncate(file_.c_str(), 0), 0);
  ASSERT_EQ(::truncate(file_.c_str(), kBytes), 0);
  EXPECT_LT(taken(), kBytes);
  ASSERT_TRUE(room.take());
  EXPECT_GE(taken(), kBytes);
}

TEST_F(Room, ALinkIsNotFollowed) {
  std::filesystem::create_symlink(folder_ / "elsewhere", file_);
  EXPECT_FALSE(ReservedRoom(file_, kBytes).take());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "elsewhere"));
}

TEST_F(Room, WhereNoneCanBeHadItSaysWhy) {
  const auto taken = ReservedRoom(folder_ / "missing" / "reserve", kBytes).take();
  ASSERT_FALSE(taken);
  EXPECT_NE(taken.error().message.find("missing/reserve"), std::string::npos) << taken.error().message;
}

}  // namespace
}  // namespace agenttask::os
