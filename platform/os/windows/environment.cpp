#include <filesystem>
#include <windows.h>

#include "platform/base/encoding.hpp"
#include "platform/os/process.hpp"
#include "platform/os/windows/accounts.hpp"
#include "platform/os/windows/program.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

std::string upper(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return result;
}

// Why the variable can't be given to a child; empty when it can. Names have no case here.
std::string fault_of(const std::string& name, const std::string& value) {
  if (name.empty()) return "has no name";
  if (name.find('=') != std::string::npos) return "has a '=' in its name";
  if (name.find('\0') != std::string::npos || value.find('\0') != std::string::npos)
    return "contains a NUL byte";
  if (!is_utf8(name) || !is_utf8(value)) return "is not valid UTF-8";
  const std::string known = upper(name);
  if (known.starts_with("LD_") || known == "__COMPAT_LAYER")
    return "steers the loader of programs and is never passed on";
  if (known.starts_with("AGENTTASK_")) return "is reserved for the agent";
  return {};
}

/// A variable of our own that says how this machine is arranged; empty when it is not set.
std::string own_variable(const wchar_t* name) {
  std::wstring value(32767, L'\0');  // the longest that there can be
  value.resize(::GetEnvironmentVariableW(name, value.data(), static_cast<DWORD>(value.size())));
  return to_utf8(value);
}

}  // namespace

Result<void> check_run_as(std::string_view run_as) {
  if (run_as.empty()) return {};
  const auto wanted = find_account(std::string(run_as));
  if (!wanted) return Error{wanted.error().code, wanted.error().message, "runAs"};
  if (*wanted == user_of_this_process()) return {};
  return Error{
      ErrorCode::unsupported,
      "on Windows a command can't run as another user than the agent's: that would take the password "
      "of \"" +
          std::string(run_as) + "\"",
      "runAs"};
}

Result<Environment> clean_environment(std::string_view run_as) {
  if (auto user = check_run_as(run_as); !user) return user.error();
  const std::string system = to_utf8(system_folder());
  const std::string windows = std::filesystem::path(system_folder()).parent_path().string();
  const std::string user = account_name(user_of_this_process());
  Environment environment{
      {"PATH", system + ";" + windows + ";" + system + "\\Wbem;" + system + "\\WindowsPowerShell\\v1.0"},
      {"PATHEXT", ".COM;.EXE;.BAT;.CMD"},
      {"SystemRoot", windows},
      {"windir", windows},
      {"SystemDrive", windows.substr(0, 2)},
      {"ComSpec", system + "\\cmd.exe"},
      {"USERNAME", user.substr(user.find('\\') == std::string::npos ? 0 : user.find('\\') + 1)},
      {"OS", "Windows_NT"},
  };
  // Where things are on this machine: programs fail in odd ways without these.
  for (const wchar_t* name :
       {L"ProgramData", L"ALLUSERSPROFILE", L"ProgramFiles", L"ProgramFiles(x86)", L"ProgramW6432",
        L"CommonProgramFiles", L"CommonProgramFiles(x86)", L"CommonProgramW6432", L"PUBLIC", L"COMPUTERNAME",
        L"NUMBER_OF_PROCESSORS", L"PROCESSOR_ARCHITECTURE", L"USERPROFILE", L"APPDATA", L"LOCALAPPDATA",
        L"TEMP", L"TMP", L"DriverData"}) {
    if (auto value = own_variable(name); !value.empty()) environment.emplace(to_utf8(name), std::move(value));
  }
  return environment;
}

Result<void> check_environment(const Environment& variables) {
  for (const auto& [name, value] : variables) {
    if (const auto fault = fault_of(name, value); !fault.empty()) {
      std::string message = "the environment variable \"";
      message.append(name).append("\" ").append(fault);
      return Error{ErrorCode::invalid, std::move(message), "env." + name};
    }
  }
  return {};
}

void add_variables(Environment& environment, const Environment& added) {
  for (const auto& [name, value] : added) {
    const std::wstring wanted = to_wide(name);
    std::erase_if(environment, [&wanted](const auto& entry) {
      return ::CompareStringOrdinal(to_wide(entry.first).c_str(), -1, wanted.c_str(), -1, TRUE) == CSTR_EQUAL;
    });
    environment[name] = value;
  }
}

int exit_code_to_pass_on(int code) {
  return code;  // all 32 bits arrive
}

Result<std::vector<std::string>> shell_command(std::string_view line, std::string_view shell) {
  if (line.find('\0') != std::string_view::npos) {
    return Error{ErrorCode::invalid, "the shell line contains a NUL byte", "cmd"};
  }
  const std::string programs = to_utf8(system_folder()) + "\\";
  if (shell.empty() || shell == "cmd") {
    constexpr std::size_t kLongestLine = 8000;  // of 8191 characters, with what stands before it
    while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_of("\r\n") != std::string_view::npos) {
      return Error{ErrorCode::invalid, "cmd.exe takes one line, and this has several: join them with & or &&",
                   "cmd"};
    }
    if (to_wide(line).size() > kLongestLine) {
      return Error{
          ErrorCode::limit,
          "cmd.exe takes a line of " + std::to_string(kLongestLine) + " characters: put it into a file",
          "cmd"};
    }
    return std::vector<std::string>{programs + "cmd.exe", "/d", "/s", "/c", std::string(line)};
  }
  if (shell == "powershell") {
    const std::string program = programs + "WindowsPowerShell\\v1.0\\powershell.exe";
    if (::GetFileAttributesW(to_wide(program).c_str()) == INVALID_FILE_ATTRIBUTES) {
      return Error{ErrorCode::unsupported,
                   "this system has no shell \"powershell\": there is no " + program + "; use cmd", "shell"};
    }
    // As text: what its error stream carries would be XML otherwise, as nobody's console reads it.
    return std::vector<std::string>{program,         "-NoLogo", "-NoProfile", "-NonInteractive",
                                    "-OutputFormat", "Text",    "-Command",   std::string(line)};
  }
  if (shell == "sh" || shell == "bash") {
    return Error{ErrorCode::unsupported,
                 "this system has no shell \"" + std::string(shell) + "\"; use cmd or powershell", "shell"};
  }
  return Error{ErrorCode::invalid,
               "there is no shell \"" + std::string(shell) + "\"; use sh, bash, powershell or cmd", "shell"};
}

}  // namespace agenttask::os
