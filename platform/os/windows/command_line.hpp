#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"

/// Windows gives a program one line of text; what its arguments are is the program's own business. Private to
/// platform/os/windows.
namespace agenttask::os {

/// One argument as CommandLineToArgvW and the C runtimes take it apart again: in quotes where it is empty or
/// has a blank or a quote, backslashes doubled where a quote follows.
[[nodiscard]] std::wstring quote_argument(std::wstring_view argument);

/// The line for a program whose runtime follows those rules. `argv` are UTF-8. `invalid` with field `argv`
/// for a quote in the program's name, which nothing can express; `limit` past 32,766 UTF-16 units.
[[nodiscard]] Result<std::wstring> make_command_line(const std::vector<std::string>& argv);

/// Whether `argv` is the form of `shell_command` for cmd.exe: /d /s /c and one line.
[[nodiscard]] bool is_shell_line(const std::vector<std::string>& argv);

/// cmd.exe takes its line as it is, between the first and the last quote (/s); nothing is escaped.
[[nodiscard]] Result<std::wstring> make_shell_command_line(const std::vector<std::string>& argv);

/// The line with which cmd.exe runs a batch file: each argument in quotes. cmd.exe looks into quotes for '%',
/// and a quote or a line's end would begin another command: arguments with one of these are `invalid` with
/// field `argv`, as no way of writing them is safe for whatever the batch file does with them.
[[nodiscard]] Result<std::wstring> make_batch_command_line(const std::wstring& command_processor,
                                                           const std::wstring& batch_file,
                                                           const std::vector<std::string>& argv);

}  // namespace agenttask::os
