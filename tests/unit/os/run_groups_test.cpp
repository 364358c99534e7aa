#include "platform/os/posix/run_groups.hpp"

#include <fstream>

#include <gtest/gtest.h>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/linux/group_place.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;

constexpr std::string_view kMounts =
    "25 30 0:23 / /sys rw,nosuid shared:7 - sysfs sysfs rw\n"
    "32 25 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

TEST(GroupPlace, IsOurGroupBelowWhereTheHierarchyIsMounted) {
  const auto place = find_group_place("0::/system.slice/agenttaskd.service\n", kMounts);
  ASSERT_TRUE(place);
  EXPECT_EQ(place->top, "/sys/fs/cgroup");
  EXPECT_EQ(place->folder, "/sys/fs/cgroup/system.slice/agenttaskd.service");
}

TEST(GroupPlace, MayBeTheTopItself) {
  EXPECT_EQ(find_group_place("0::/\n", kMounts)->folder, "/sys/fs/cgroup");
}

TEST(GroupPlace, IsFoundBesideTheOlderVersion) {
  const auto place = find_group_place("3:pids:/a\n1:name=systemd:/a\n0::/a\n",
                                      "40 39 0:30 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
                                      "41 39 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  ASSERT_TRUE(place);
  EXPECT_EQ(place->folder, "/sys/fs/cgroup/unified/a");
}

TEST(GroupPlace, IsSeenFromAContainerWithoutANamespaceOfItsOwn) {
  const std::string_view mounts = "9 8 0:28 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
  EXPECT_EQ(find_group_place("0::/docker/x/deeper\n", mounts)->folder, "/sys/fs/cgroup/deeper");
  EXPECT_EQ(find_group_place("0::/docker/x\n", mounts)->folder, "/sys/fs/cgroup");
  EXPECT_FALSE(find_group_place("0::/docker/xy\n", mounts)) << "another container's";
}

TEST(GroupPlace, ANameWithABlankIsUnderstood) {
  EXPECT_EQ(find_group_place("0::/\n", "1 2 0:28 / /mnt/my\\040groups rw - cgroup2 c rw\n")->top,
            "/mnt/my groups");
}

TEST(GroupName, AUnitThatIsCalledLikeARunIsNoneOfItsGroups) {
  for (const auto* folder : {"agenttask-run-a", "agenttask-run-a.2", "agenttask-run-a.17"})
    EXPECT_TRUE(is_group_called(folder, "agenttask-run-a")) << folder;
  // In the unit is the recorder, which ends its run by itself.
  for (const auto* folder : {"agenttask-run-a.service", "agenttask-run-a.", "agenttask-run-a.2x",
                             "agenttask-run-ab", "agenttask-run-", "agenttask-run-a.2.service"})
    EXPECT_FALSE(is_group_called(folder, "agenttask-run-a")) << folder;
}

TEST(GroupPlace, IsNotToBeHadEverywhere) {
  for (const auto* own : {"", "1:name=systemd:/a\n", "0::/../outside\n", "0::/gone (deleted)\n", "0::\n"}) {
    const auto place = find_group_place(own, kMounts);
    ASSERT_FALSE(place) << own;
    EXPECT_EQ(place.error().code, ErrorCode::unsupported);
  }
  for (const auto* mounts : {"", "\n", " - cgroup2 ", "1 2 0:28 / - cgroup2 c rw", "x - cgroup2 x"}) {
    EXPECT_FALSE(find_group_place("0::/a\n", mounts)) << mounts;
  }
}

TEST(GroupName, IsMadeOfTheRunAndItsPart) {
  EXPECT_EQ(group_name("0197-ab"), "agenttask-run-0197-ab");
  EXPECT_EQ(group_name("0197-ab/service-1"), "agenttask-run-0197-ab/service-1");
}

TEST(GroupName, NothingElseComesIn) {
  for (const std::string& id : {std::string(), std::string("a/"), std::string("/a"), std::string("../x"),
                                std::string("a/.."), std::string("a/b/c"), std::string("a.2"),
                                std::string("a b"), std::string("a\0b", 3), std::string(201, 'a')}) {
    EXPECT_EQ(group_name(id), path()) << id;
  }
  EXPECT_NE(group_name(std::string(200, 'a')), path());
}

/// A folder that stands for our own group. Ordinary folders have none of the system's files.
class Groups : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(own_); }
  void TearDown() override { std::filesystem::remove_all(top_); }
  static void put_to_use(const path& group) { std::ofstream(group / "cgroup.procs") << "1\n"; }
  static void empty(const path& group) { std::filesystem::remove(group / "cgroup.procs"); }

  const path top_ = std::filesystem::temp_directory_path() / ("groups-" + hex_encode(random_bytes(8)));
  const path own_ = top_ / "system.slice" / "agent.service";
};

TEST_F(Groups, GoWithTheirRun) {
  RunGroups groups(top_, own_);
  EXPECT_EQ(groups.status().in_force, Containment::groups);
  {
    const auto group = groups.make("run");
    ASSERT_TRUE(group);
    EXPECT_EQ(group->folder(), own_ / "agenttask-run-run");
    EXPECT_TRUE(std::filesystem::is_directory(group->folder()));
  }
  EXPECT_FALSE(std::filesystem::exists(own_ / "agenttask-run-run"));
}

TEST_F(Groups, StayWhileSomethingRunsInThem) {
  RunGroups groups(top_, own_);
  const path folder = own_ / "agenttask-run-run";
  { put_to_use(groups.make("run")->folder()); }
  groups.remove_empty();
  EXPECT_TRUE(std::filesystem::exists(folder));
  empty(folder);
  groups.remove_empty();
  EXPECT_FALSE(std::filesystem::exists(folder));
}

TEST_F(Groups, OfAnEarlierLifeGoWhenTheyAreEmpty) {
  std::filesystem::create_directory(own_ / "agenttask-run-earlier");
  std::filesystem::create_directory(own_ / "somebody-elses");
  RunGroups(top_, own_).remove_empty();
  EXPECT_FALSE(std::filesystem::exists(own_ / "agenttask-run-earlier"));
  EXPECT_TRUE(std::filesystem::exists(own_ / "somebody-elses"));
}

TEST_F(Groups, OfOneNameAreKeptApart) {
  RunGroups groups(top_, own_);
  { put_to_use(groups.make("check")->folder()); }
  const auto second = groups.make("check");
  ASSERT_TRUE(second);
  EXPECT_EQ(second->folder(), own_ / "agenttask-run-check.2");
  const std::string ids[] = {"check"};
  EXPECT_EQ(groups.find(ids).size(), 2U);
}

TEST_F(Groups, AreFoundWhereverTheyAre) {
  RunGroups groups(top_, own_);
  const auto here = groups.make("run");
  std::filesystem::create_directories(top_ / "user.slice" / "agenttask-run-run" / "part");
  std::filesystem::create_directories(top_ / "user.slice" / "agenttask-run-run2");
  const std::string ids[] = {"run", "../..", ""};
  EXPECT_EQ(groups.find(ids).size(), 2U);
  EXPECT_TRUE(groups.find({}).empty());
}

TEST_F(Groups, OfAPartIsInsideThatOfItsRun) {
  RunGroups groups(top_, own_);
  {
    const auto part = groups.make("run/service-1");
    EXPECT_EQ(part->folder(), own_ / "agenttask-run-run" / "service-1");
  }
  groups.remove_empty();
  EXPECT_FALSE(std::filesystem::exists(own_ / "agenttask-run-run"));
}

TEST_F(Groups, ThatCanNotBeMadeAreSaid) {
  RunGroups groups(top_, own_ / "missing");
  EXPECT_FALSE(groups.make("run"));
  EXPECT_EQ(groups.status().in_force, Containment::marks);
  EXPECT_NE(groups.status().detail.find("agenttask-run-run"), std::string::npos);
  std::filesystem::create_directories(own_ / "missing");
  const auto group = groups.make("run");
  ASSERT_TRUE(group);
  groups.note_entry(ENOENT);
  EXPECT_EQ(groups.status().in_force, Containment::marks);
  groups.note_entry(0);
  EXPECT_EQ(groups.status().in_force, Containment::groups);
}

TEST_F(Groups, WithoutAPlaceThereAreNone) {
  RunGroups groups("", "", "no such thing here");
  EXPECT_FALSE(groups.make("run"));
  const std::string ids[] = {"run"};
  EXPECT_TRUE(groups.find(ids).empty());
  groups.remove_empty();
  EXPECT_EQ(groups.status().detail, "no such thing here");
}

}  // namespace
}  // namespace agenttask::os
