#include "platform/os/secure_file.hpp"

#include <aclapi.h>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "platform/os/reserved_room.hpp"
#include "platform/os/windows/access_rights.hpp"
#include "platform/os/windows/handle.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/windows/wine.hpp"

namespace agenttask::os {
namespace {

using std::filesystem::path;
using ::testing::HasSubstr;

struct SecureFile : ::testing::Test {
  test::TemporaryFolder holder;
  const path folder = holder.path() / L"o\u00df \u4e2d";  // no code page but UTF-8 has both

  void SetUp() override { ASSERT_TRUE(create_folder(folder, Readable::by_owner)); }

  static std::string list_of(const path& entry) {
    const Handle handle(::CreateFileW(entry.c_str(), READ_CONTROL, FILE_SHARE_READ | FILE_SHARE_WRITE,
                                      nullptr, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, nullptr));
    return list_text_of(handle.get());
  }
  static void open_to_everybody(const path& entry) {
    auto rights = AccessRights::from_text("D:(A;OICI;FA;;;WD)").value();
    ASSERT_EQ(DWORD{ERROR_SUCCESS},
              ::SetNamedSecurityInfoW(const_cast<wchar_t*>(entry.c_str()), SE_FILE_OBJECT,
                                      DACL_SECURITY_INFORMATION, nullptr, nullptr, rights.list(), nullptr));
  }
};

TEST_F(SecureFile, WritesWholeFilesAndReplacesThem) {
  const path file = folder / L"\u00fcber.json";
  EXPECT_EQ(read_file(file, 100).error().code, ErrorCode::not_found);
  ASSERT_TRUE(write_file(file, "first", Readable::by_owner));
  ASSERT_TRUE(write_file(file, std::string("a\0\r\nb", 5), Readable::by_owner));
  EXPECT_EQ(read_file(file, 5).value(), std::string("a\0\r\nb", 5));
  EXPECT_EQ(read_file(file, 4).error().code, ErrorCode::limit);
  ASSERT_TRUE(sync_file(file));
  std::size_t left = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++left;
  EXPECT_EQ(left, 1U) << "nothing is left of the writing";
}

TEST_F(SecureFile, ReplacesAFileThatSomebodyReads) {
  const path file = folder / "x";
  ASSERT_TRUE(write_file(file, "old", Readable::by_owner));
  std::ifstream reader(file);  // a moment, as a scanner would
  reader.close();
  ASSERT_TRUE(write_file(file, "new", Readable::by_owner));
  EXPECT_EQ(read_file(file, 100).value(), "new");
}

TEST_F(SecureFile, MovesAndRemoves) {
  const path file = folder / "x";
  ASSERT_TRUE(write_file(file, "x", Readable::by_owner));
  ASSERT_TRUE(write_file(folder / "y", "y", Readable::by_owner));
  ASSERT_TRUE(move_durably(file, folder / "y"));
  EXPECT_EQ(read_file(folder / "y", 100).value(), "x");
  EXPECT_EQ(move_durably(file, folder / "z").error().code, ErrorCode::not_found);
  ASSERT_TRUE(remove_file(folder / "y"));
  ASSERT_TRUE(remove_file(folder / "y"));
  EXPECT_EQ(read_file(folder / "y", 100).error().code, ErrorCode::not_found);
}

TEST_F(SecureFile, ReadsOnlyFiles) {
  EXPECT_EQ(read_file(folder, 100).error().code, ErrorCode::invalid);
  EXPECT_EQ(read_file("NUL", 100).error().code, ErrorCode::invalid);
  EXPECT_EQ(read_file(folder / "nowhere" / "x", 100).error().code, ErrorCode::not_found);
}

TEST_F(SecureFile, MakesFoldersAboveAndRefusesFiles) {
  ASSERT_TRUE(create_folder(folder / "a" / "b", Readable::by_everyone));
  EXPECT_TRUE(std::filesystem::is_directory(folder / "a" / "b"));
  ASSERT_TRUE(write_file(folder / "file", "", Readable::by_owner));
  EXPECT_EQ(create_folder(folder / "file", Readable::by_owner).error().code, ErrorCode::conflict);
}

TEST_F(SecureFile, LongPathsAreNone) {
  path deep = folder;
  for (int depth = 0; depth < 6; ++depth) deep /= std::wstring(60, static_cast<wchar_t>(L'a' + depth));
  if (test::is_wine()) GTEST_SKIP() << "Wine has no long paths without a prefix";
  ASSERT_TRUE(create_folder(deep, Readable::by_owner))
      << "the manifest says so, and Windows where it is allowed";
  ASSERT_TRUE(write_file(deep / "x", "x", Readable::by_owner));
}

TEST_F(SecureFile, RightsAreOursAndInheritNothing) {
  if (test::is_wine()) GTEST_SKIP() << "Wine keeps no access rights";
  EXPECT_THAT(list_of(folder), HasSubstr("D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)"));
  EXPECT_EQ(list_of(folder).find(";;;BU)"), std::string::npos);
  ASSERT_TRUE(write_file(folder / "mine", "x", Readable::by_owner));
  EXPECT_EQ(list_of(folder / "mine").find(";;;BU)"), std::string::npos);
  ASSERT_TRUE(write_file(folder / "all", "x", Readable::by_everyone));
  EXPECT_THAT(list_of(folder / "all"), HasSubstr("(A;;0x1200a9;;;BU)"));
}

TEST_F(SecureFile, GivesAFolderThatWasThereTheRightRights) {
  if (test::is_wine()) GTEST_SKIP() << "Wine keeps no access rights";
  open_to_everybody(folder);
  EXPECT_THAT(list_of(folder), HasSubstr(";;;WD)"));
  ASSERT_TRUE(create_folder(folder, Readable::by_owner));
  EXPECT_EQ(list_of(folder).find(";;;WD)"), std::string::npos);
}

TEST_F(SecureFile, TrustsNothingThatOthersCanWrite) {
  const path file = folder / "policy.json";
  EXPECT_EQ(check_trusted(file).error().code, ErrorCode::not_found);
  ASSERT_TRUE(write_file(file, "{}", Readable::by_everyone));
  ASSERT_TRUE(check_trusted(file)) << check_trusted(file).error().message;
  if (test::is_wine()) GTEST_SKIP() << "Wine keeps no access rights";
  open_to_everybody(file);
  EXPECT_EQ(check_trusted(file).error().code, ErrorCode::denied);
  EXPECT_THAT(check_trusted(file).error().message, HasSubstr("icacls"));
  EXPECT_EQ(check_private(file).error().code, ErrorCode::denied);
}

TEST_F(SecureFile, OneHoldsTheLock) {
  const path file = folder / "lock";
  {
    const auto held = FileLock::acquire(file);
    ASSERT_TRUE(held) << held.error().message;
    const auto second = FileLock::acquire(file);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::conflict);
    EXPECT_THAT(second.error().message, HasSubstr("pid " + std::to_string(::GetCurrentProcessId())));
    EXPECT_EQ(FileLock::acquire(folder / "nowhere" / "lock").error().code, ErrorCode::not_found);
  }
  EXPECT_TRUE(FileLock::acquire(file));
}

TEST_F(SecureFile, RoomIsTakenAndGivenUp) {
  ReservedRoom room(folder / "reserve", 256 * 1024);
  EXPECT_FALSE(room.give_up());
  ASSERT_TRUE(room.take());
  ASSERT_TRUE(room.take());
  EXPECT_EQ(std::filesystem::file_size(folder / "reserve"), 256U * 1024);
  EXPECT_TRUE(room.give_up());
  EXPECT_FALSE(std::filesystem::exists(folder / "reserve"));
}

}  // namespace
}  // namespace agenttask::os
