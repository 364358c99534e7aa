#include <fstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include "platform/os/host.hpp"
#include "tests/component/os/child.hpp"

namespace agenttask::os {
namespace {

using ::testing::HasSubstr;

class ProcessStart : public ProcessTest {
 protected:
  Error failure(const ProcessSpec& spec) {
    const auto outcome = supervisor.run(spec, {}, child);
    EXPECT_FALSE(outcome);
    EXPECT_EQ(child.pid, 0) << "started() was called";
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    return outcome ? Error{} : outcome.error();
  }
  std::string make_file(const std::string& text, mode_t mode) {
    const auto file = folder_ / "program";
    std::ofstream(file) << text;
    ::chmod(file.c_str(), mode);
    return file;
  }
  void SetUp() override { std::filesystem::create_directory(folder_); }
  void TearDown() override {
    std::filesystem::remove_all(folder_);
    ProcessTest::TearDown();
  }
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / run_id;
};

TEST_F(ProcessStart, SaysThatAProgramIsMissing) {
  auto spec = shell("");
  for (const auto* name : {"/no/such/program", "no-such-program", "./no-such-program", "/etc/passwd/x"}) {
    spec.argv = {name};
    const auto error = failure(spec);
    EXPECT_EQ(error.code, ErrorCode::not_found) << name;
    EXPECT_EQ(error.field, "argv");
    EXPECT_THAT(error.message, HasSubstr(name));
  }
}

TEST_F(ProcessStart, SaysThatAFileIsNotAProgram) {
  auto spec = shell("");
  spec.argv = {make_file("text", 0644)};
  EXPECT_EQ(failure(spec).code, ErrorCode::denied);
  spec.argv = {make_file("text without a first line", 0755)};
  EXPECT_EQ(failure(spec).code, ErrorCode::invalid);
  spec.argv = {make_file("#!/no/such/interpreter\n", 0755)};
  EXPECT_EQ(failure(spec).code, ErrorCode::not_found);
  spec.argv = {folder_};
  EXPECT_EQ(failure(spec).code, ErrorCode::denied);
}

TEST_F(ProcessStart, SaysThatTheFolderIsMissing) {
  auto spec = shell("true");
  spec.cwd = "/no/such/folder";
  const auto missing = failure(spec);
  EXPECT_EQ(missing.code, ErrorCode::not_found);
  EXPECT_EQ(missing.field, "cwd");
  spec.cwd = "/etc/passwd";
  EXPECT_EQ(failure(spec).field, "cwd");
}

TEST_F(ProcessStart, SaysThatAUserIsUnknown) {
  auto spec = shell("true");
  spec.run_as = "no-such-user";
  const auto error = failure(spec);
  EXPECT_EQ(error.code, ErrorCode::not_found);
  EXPECT_EQ(error.field, "runAs");
}

TEST_F(ProcessStart, NeedsRootToBecomeAnotherUser) {
  if (is_administrator()) GTEST_SKIP() << "root may become anybody";
  auto spec = shell("true");
  spec.run_as = "root";
  const auto error = failure(spec);
  EXPECT_EQ(error.code, ErrorCode::denied);
  EXPECT_EQ(error.field, "runAs");
}

TEST_F(ProcessStart, FolderThatTheUserMayNotEnterIsDenied) {
  if (!is_administrator()) GTEST_SKIP() << "becoming another user needs root";
  std::filesystem::permissions(folder_, std::filesystem::perms::owner_all);
  auto spec = shell("true");
  spec.run_as = "nobody";
  spec.cwd = folder_;
  const auto error = failure(spec);
  EXPECT_EQ(error.code, ErrorCode::denied);
  EXPECT_EQ(error.field, "cwd");
}

TEST_F(ProcessStart, RefusesWhatCanNotBePassed) {
  auto spec = shell("true");
  spec.argv = {};
  EXPECT_EQ(failure(spec).code, ErrorCode::invalid);
  spec.argv = {""};
  EXPECT_EQ(failure(spec).code, ErrorCode::invalid);
  spec.argv = {"true", std::string("a\0b", 3)};
  EXPECT_EQ(failure(spec).field, "argv");
  spec = shell("true");
  spec.environment["LD_PRELOAD"] = "/x.so";
  EXPECT_EQ(failure(spec).field, "env.LD_PRELOAD");
}

TEST_F(ProcessStart, ArgumentsPastTheSystemsLimitAreALimit) {
  auto spec = shell("true");
  spec.argv = {"true", std::string(1 << 20, 'x')};  // one argument may have 128 KiB
  const auto error = failure(spec);
  EXPECT_EQ(error.code, ErrorCode::limit);
  EXPECT_EQ(error.field, "argv");
}

TEST_F(ProcessStart, ShortageOfDescriptorsIsTemporary) {
  const auto spec = shell("exit 5");
  run(spec);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const auto open_now = static_cast<rlim_t>(own_usage().value().open_files);
  int failures = 0;
  int successes = 0;
  for (rlim_t more = 0; more < 12; ++more) {  // fails at each step of the start in turn
    const rlimit tight{open_now + more, before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
    const auto outcome = supervisor.run(spec, {}, child);
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    if (outcome) {
      EXPECT_EQ(outcome->exit_code, 5);
      ++successes;
    } else {
      EXPECT_EQ(outcome.error().code, ErrorCode::unavailable) << outcome.error().message;
      ++failures;
    }
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  }
  EXPECT_GT(failures, 2);
  EXPECT_GT(successes, 2);
  EXPECT_EQ(static_cast<rlim_t>(own_usage().value().open_files), open_now);
}

}  // namespace
}  // namespace agenttask::os
