#include "platform/os/windows/command_line.hpp"

#include <algorithm>

#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

constexpr std::size_t kLongestLine = 32'766;  // CreateProcess: 32,767 with the NUL

Result<std::wstring> checked(std::wstring line) {
  if (line.size() <= kLongestLine) return line;
  return Error{ErrorCode::limit,
               "the arguments are too long for the system: they make a line of " +
                   std::to_string(line.size()) + " characters, and at most " + std::to_string(kLongestLine) +
                   " are possible; give much data on standard input or in a file",
               "argv"};
}

/// Neither backslashes nor quotes are special in the program's own name: what is between quotes counts.
Result<std::wstring> quote_program(const std::string& program) {
  if (program.find('"') != std::string::npos) {
    return Error{ErrorCode::invalid, "a program's name can't have a quote on this system", "argv"};
  }
  return L"\"" + to_wide(program) + L"\"";
}

}  // namespace

std::wstring quote_argument(std::wstring_view argument) {
  if (!argument.empty() && argument.find_first_of(L" \t\n\v\"") == std::wstring_view::npos) {
    return std::wstring(argument);
  }
  std::wstring quoted = L"\"";
  std::size_t backslashes = 0;
  for (const wchar_t unit : argument) {
    if (unit == L'\\') {
      ++backslashes;
    } else {
      if (unit == L'"') quoted.append(backslashes + 1, L'\\');
      backslashes = 0;
    }
    quoted += unit;
  }
  quoted.append(backslashes, L'\\');  // before the closing quote
  return quoted + L"\"";
}

Result<std::wstring> make_command_line(const std::vector<std::string>& argv) {
  auto line = quote_program(argv.front());
  if (!line) return line;
  for (std::size_t at = 1; at < argv.size(); ++at) *line += L" " + quote_argument(to_wide(argv[at]));
  return checked(*std::move(line));
}

bool is_shell_line(const std::vector<std::string>& argv) {
  return argv.size() == 5 && argv[1] == "/d" && argv[2] == "/s" && argv[3] == "/c";
}

Result<std::wstring> make_shell_command_line(const std::vector<std::string>& argv) {
  auto line = quote_program(argv.front());
  if (!line) return line;
  return checked(*line + L" /d /s /c \"" + to_wide(argv.back()) + L"\"");
}

Result<std::wstring> make_batch_command_line(const std::wstring& command_processor,
                                             const std::wstring& batch_file,
                                             const std::vector<std::string>& argv) {
  // Without delayed expansion a '!' is a letter; with extensions on, as batch files expect.
  std::wstring line = L"\"" + command_processor + L"\" /e:on /v:off /d /s /c \"\"" + batch_file + L"\"";
  for (std::size_t at = 1; at < argv.size(); ++at) {
    if (argv[at].find_first_of("\"%\r\n") != std::string::npos) {
      return Error{ErrorCode::invalid,
                   "argument " + std::to_string(at) +
                       " of the batch file has a quote, a '%' or a line's end, which cmd.exe would not take "
                       "literally; pass it in an environment variable or on standard input",
                   "argv"};
    }
    std::wstring argument = to_wide(argv[at]);
    // A batch file hands its arguments on to programs, for which backslashes before a quote are special.
    const auto last = argument.find_last_not_of(L'\\');
    const std::size_t trailing = argument.size() - (last == std::wstring::npos ? 0 : last + 1);
    argument.append(trailing, L'\\');
    line += L" \"" + argument + L"\"";
  }
  return checked(line + L"\"");
}

}  // namespace agenttask::os
