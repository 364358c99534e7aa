#include "platform/os/posix/users.hpp"

#include <gtest/gtest.h>

namespace agenttask::os {
namespace {

TEST(Users, PeopleAreTheIdsThatLoginGivesThem) {
  EXPECT_FALSE(is_person(0, 1000));
  EXPECT_FALSE(is_person(999, 1000));
  EXPECT_TRUE(is_person(1000, 1000));
  EXPECT_TRUE(is_person(60000, 1000));
  EXPECT_FALSE(is_person(61184, 1000)) << "a service's for as long as it runs";
  EXPECT_FALSE(is_person(65519, 1000));
  EXPECT_FALSE(is_person(65534, 1000)) << "nobody";
  EXPECT_FALSE(is_person(65535, 1000));
  EXPECT_TRUE(is_person(1'834'600'500, 1000)) << "of a directory service";
  EXPECT_FALSE(is_person(static_cast<uid_t>(-1), 1000));
  EXPECT_FALSE(is_person(static_cast<uid_t>(-2), 500));  // nobody, on macOS
  EXPECT_TRUE(is_person(500, 500));
  EXPECT_FALSE(is_person(0, 0)) << "root is an administrator, whatever the file says";
}

TEST(Users, TheLeastIdIsReadFromItsFile) {
  EXPECT_EQ(least_person_id(""), 1000U);
  EXPECT_EQ(least_person_id("UID_MIN 500\n"), 500U);
  EXPECT_EQ(least_person_id("# UID_MIN 1\nSYS_UID_MIN 101\nUID_MIN\t\t  2000  # people\nUID_MAX 60000"),
            2000U);
  EXPECT_EQ(least_person_id("UID_MINIMUM 7\n"), 1000U);
  EXPECT_EQ(least_person_id("UID_MIN x\nUID_MIN 0\nUID_MIN"), 1000U);
  EXPECT_EQ(least_person_id("UID_MIN 99999999999999\n"), 1000U);
}

}  // namespace
}  // namespace agenttask::os
