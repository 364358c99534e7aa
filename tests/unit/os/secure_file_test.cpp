#include "platform/os/secure_file.hpp"

#include <fstream>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/host.hpp"

namespace agenttask::os {
namespace {

using ::testing::HasSubstr;

class SecureFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(folder);
    ::chmod(folder.c_str(), 0700);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  static mode_t mode(const std::filesystem::path& path) {
    struct stat facts {};
    EXPECT_EQ(::lstat(path.c_str(), &facts), 0) << path;
    return facts.st_mode & 07777;
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
  }
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("files-" + hex_encode(random_bytes(6)));
  const std::filesystem::path file = folder / "file";
};

TEST_F(SecureFile, WritesWholeFilesWithTheirMode) {
  const auto mask = ::umask(0);
  EXPECT_TRUE(write_file(file, "secret", Readable::by_owner));
  EXPECT_EQ(mode(file), 0600U);
  ::umask(0077);
  EXPECT_TRUE(write_file(file, std::string("new\0", 4), Readable::by_everyone));
  ::umask(mask);
  EXPECT_EQ(mode(file), 0644U);
  EXPECT_EQ(read_file(file, 4).value(), std::string("new\0", 4));
  EXPECT_EQ(entries(), 1U);
}

TEST_F(SecureFile, ReplacesALinkInsteadOfFollowingIt) {
  ASSERT_TRUE(write_file(folder / "victim", "untouched", Readable::by_owner));
  std::filesystem::create_symlink(folder / "victim", file);
  ASSERT_TRUE(write_file(file, "mine", Readable::by_owner));
  EXPECT_EQ(read_file(folder / "victim", 100).value(), "untouched");
  EXPECT_TRUE(std::filesystem::is_regular_file(std::filesystem::symlink_status(file)));
}

TEST_F(SecureFile, FailedWriteLeavesNothing) {
  std::filesystem::create_directory(file);  // can't be replaced by a file
  EXPECT_FALSE(write_file(file, "x", Readable::by_owner));
  EXPECT_EQ(entries(), 1U);
  EXPECT_EQ(write_file(folder / "none" / "file", "x", Readable::by_owner).error().code, ErrorCode::not_found);
}

TEST_F(SecureFile, ReadsUpToItsLimit) {
  ASSERT_TRUE(write_file(file, std::string(50000, 'x'), Readable::by_owner));
  EXPECT_EQ(read_file(file, 50000).value().size(), 50000U);
  EXPECT_EQ(read_file(file, 49999).error().code, ErrorCode::limit);
  EXPECT_EQ(read_file(folder / "none", 10).error().code, ErrorCode::not_found);
  EXPECT_EQ(read_file(folder, 10).error().code, ErrorCode::invalid);
  const auto pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(read_file(pipe, 10).error().code, ErrorCode::invalid);  // and does not wait for a writer
}

TEST_F(SecureFile, RemovesFiles) {
  ASSERT_TRUE(write_file(file, "x", Readable::by_owner));
  EXPECT_TRUE(remove_file(file));
  EXPECT_TRUE(remove_file(file));
  EXPECT_EQ(entries(), 0U);
}

TEST_F(SecureFile, MakesFoldersWithTheirMode) {
  const auto mask = ::umask(0);
  const auto deep = folder / "a" / "b" / "c";
  EXPECT_TRUE(create_folder(deep, Readable::by_owner));
  ::umask(mask);
  EXPECT_EQ(mode(deep), 0700U);
  EXPECT_EQ(mode(folder / "a"), 0755U);
  EXPECT_TRUE(create_folder(deep.string() + "/", Readable::by_everyone));
  EXPECT_EQ(mode(deep), 0755U);
  ASSERT_TRUE(write_file(file, "x", Readable::by_owner));
  EXPECT_EQ(create_folder(file, Readable::by_owner).error().code, ErrorCode::conflict);
}

TEST_F(SecureFile, FolderOfAnotherIsRefused) {
  if (!is_administrator()) GTEST_SKIP() << "giving a folder away needs root";
  const auto theirs = folder / "theirs";
  ASSERT_TRUE(create_folder(theirs, Readable::by_owner));
  ASSERT_EQ(::chown(theirs.c_str(), 65534, 65534), 0);
  const auto refused = create_folder(theirs, Readable::by_owner);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::denied);
  EXPECT_THAT(refused.error().message, HasSubstr("nobody"));
}

TEST_F(SecureFile, TrustsOnlyWhatOthersCanNotWrite) {
  ASSERT_TRUE(write_file(file, "x", Readable::by_everyone));
  EXPECT_TRUE(check_trusted(file));
  EXPECT_EQ(check_trusted(folder / "none").error().code, ErrorCode::not_found);
  for (const mode_t bad : {0620U, 0602U}) {
    ::chmod(file.c_str(), bad);
    EXPECT_EQ(check_trusted(file).error().code, ErrorCode::denied);
  }
  ::chmod(file.c_str(), 0600);
  ::chmod(folder.c_str(), 0777);
  EXPECT_EQ(check_trusted(file).error().code, ErrorCode::denied);
  ::chmod(folder.c_str(), 01777);
  EXPECT_TRUE(check_trusted(file));  // as /tmp: nobody can replace another's file
}

TEST_F(SecureFile, TrustsALinkOnlyWithBothEnds) {
  ASSERT_TRUE(create_folder(folder / "open", Readable::by_owner));
  ASSERT_TRUE(write_file(folder / "open" / "target", "x", Readable::by_owner));
  std::filesystem::create_symlink(folder / "open" / "target", file);
  EXPECT_TRUE(check_trusted(file));
  ::chmod((folder / "open").c_str(), 0777);
  EXPECT_EQ(check_trusted(file).error().code, ErrorCode::denied);
}

TEST_F(SecureFile, FileOfAnotherIsNotTrusted) {
  if (!is_administrator()) GTEST_SKIP() << "giving a file away needs root";
  ASSERT_TRUE(write_file(file, "x", Readable::by_owner));
  ASSERT_EQ(::chown(file.c_str(), 65534, 65534), 0);
  const auto refused = check_trusted(file);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::denied);
  EXPECT_THAT(refused.error().message, HasSubstr("nobody"));
}

TEST_F(SecureFile, LockIsHeldByOneAndNamesItsHolder) {
  auto lock = std::make_unique<FileLock>(FileLock::acquire(file).value());
  const auto refused = FileLock::acquire(file);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
  EXPECT_THAT(refused.error().message, HasSubstr("pid " + std::to_string(current_pid()) + " "));
  EXPECT_THAT(refused.error().message, HasSubstr(folder.string()));
  lock.reset();
  EXPECT_TRUE(FileLock::acquire(file));
  EXPECT_EQ(FileLock::acquire(folder / "none" / "lock").error().code, ErrorCode::not_found);
}

TEST_F(SecureFile, LockIsWaitedForWhereOnlyAChildOfItsHolderHasIt) {
  const pid_t holder = ::fork();
  if (holder == 0) {
    const auto lock = FileLock::acquire(file);
    if (lock && ::fork() == 0) {
      ::usleep(100'000);  // a start that has not come to exec when its parent is killed
      ::_exit(0);
    }
    ::_exit(lock ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(holder, &status, 0), holder);
  ASSERT_EQ(status, 0);
  EXPECT_TRUE(FileLock::acquire(file));
}

TEST_F(SecureFile, LockEndsWithItsProcess) {
  const pid_t child = ::fork();
  if (child == 0) {
    const auto lock = FileLock::acquire(file);
    ::_exit(lock ? 0 : 1);  // without any destructor, as after kill -9
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(FileLock::acquire(file));
}

}  // namespace
}  // namespace agenttask::os
