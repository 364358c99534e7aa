// On Windows the folder decides, from which a new file inherits its rights.
#include <array>

#include <gtest/gtest.h>

#include "platform/storage/database.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::storage {
namespace {

TEST(FileRights, NewFilesAreReadableByTheOwnerAlone) {
  using std::filesystem::perms;
  constexpr std::array<std::string_view, 1> kOne = {"CREATE TABLE things (name TEXT PRIMARY KEY) STRICT"};
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "store.db";
  const auto database = Database::open(file, {"the test's store", 4711, kOne});
  ASSERT_TRUE(database) << database.error().message;
  EXPECT_EQ(perms::none,
            std::filesystem::status(file).permissions() & (perms::group_all | perms::others_all));
}

}  // namespace
}  // namespace agenttask::storage
