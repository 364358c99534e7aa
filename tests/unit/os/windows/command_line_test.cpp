#include "platform/os/windows/command_line.hpp"

#include <random>
#include <windows.h>
// after windows.h
#include <shellapi.h>

#include <gtest/gtest.h>

#include "platform/os/process.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

std::vector<std::string> take_apart(const std::wstring& line) {
  int count = 0;
  wchar_t** const words = ::CommandLineToArgvW(line.c_str(), &count);
  std::vector<std::string> argv;
  for (int at = 0; at < count; ++at) argv.push_back(to_utf8(words[at]));
  ::LocalFree(words);
  return argv;
}

TEST(CommandLine, QuotesWhatNeedsItAndNothingElse) {
  EXPECT_EQ(quote_argument(L"plain"), L"plain");
  EXPECT_EQ(quote_argument(L"C:\\a\\b\\"), L"C:\\a\\b\\");
  EXPECT_EQ(quote_argument(L""), L"\"\"");
  EXPECT_EQ(quote_argument(L"a b\\"), L"\"a b\\\\\"");
  EXPECT_EQ(quote_argument(L"say \"hi\""), L"\"say \\\"hi\\\"\"");
  EXPECT_EQ(quote_argument(L"a\\\\\"b"), L"\"a\\\\\\\\\\\"b\"");
}

TEST(CommandLine, ComesApartAsItWasGiven) {
  std::mt19937 random(20'261'122);
  const std::vector<std::string> pieces{"a", " ", "\t", "\"", "\\", "\\\\", "\\\"", "'",  "%",
                                        "^", "&", "|",  "<",  "$",  "\n",   "é",    "日", "😀"};
  for (int round = 0; round < 500; ++round) {
    std::vector<std::string> argv{"C:\\Program Files\\x.exe"};
    for (unsigned count = random() % 6; count > 0; --count) {
      argv.emplace_back();
      for (unsigned length = random() % 9; length > 0; --length)
        argv.back() += pieces[random() % pieces.size()];
    }
    const auto line = make_command_line(argv);
    ASSERT_TRUE(line);
    EXPECT_EQ(take_apart(*line), argv);
  }
}

TEST(CommandLine, HasALimit) {
  const auto argv = [](std::size_t letters) {
    return std::vector<std::string>{"x", std::string(letters, 'y')};
  };
  EXPECT_TRUE(make_command_line(argv(32'766 - 4)));  // "x" with its quotes, and a blank
  const auto longer = make_command_line(argv(32'766 - 3));
  ASSERT_FALSE(longer);
  EXPECT_EQ(longer.error().code, ErrorCode::limit);
  EXPECT_FALSE(make_command_line({"a\"b"}));
}

TEST(CommandLine, AShellLineIsPassedOnAsItIs) {
  const auto argv = shell_command("echo \"a b\" & dir %PATH%").value();
  ASSERT_TRUE(is_shell_line(argv));
  const auto line = make_shell_command_line(argv).value();
  EXPECT_TRUE(line.ends_with(L" /d /s /c \"echo \"a b\" & dir %PATH%\""));
}

TEST(CommandLine, ABatchFileGetsNothingThatCmdWouldReadOtherwise) {
  const auto line =
      make_batch_command_line(L"C:\\cmd.exe", L"C:\\a b\\x.cmd", {"x", "a&calc", "", "b\\"}).value();
  EXPECT_EQ(line, L"\"C:\\cmd.exe\" /e:on /v:off /d /s /c \"\"C:\\a b\\x.cmd\" \"a&calc\" \"\" \"b\\\\\"\"");
  for (const char* bad : {"\"&calc", "%CD%", "a\nb", "a\rb"}) {
    const auto refused = make_batch_command_line(L"c", L"x", {"x", bad});
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().field, "argv");
  }
}

TEST(ShellCommand, RefusesWhatCmdWouldCut) {
  EXPECT_TRUE(shell_command("dir\r\n"));
  EXPECT_EQ(shell_command("echo a\necho b").error().code, ErrorCode::invalid);
  EXPECT_EQ(shell_command(std::string(9'000, 'x')).error().code, ErrorCode::limit);
  EXPECT_EQ(shell_command("ls", "bash").error().code, ErrorCode::unsupported);
  EXPECT_EQ(shell_command("ls", "zsh").error().code, ErrorCode::invalid);
  EXPECT_EQ(shell_command("ls", "zsh").error().field, "shell");
}

}  // namespace
}  // namespace agenttask::os
