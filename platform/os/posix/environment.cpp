#include <unistd.h>

#include "platform/os/posix/users.hpp"
#include "platform/os/process.hpp"

namespace agenttask::os {
namespace {

// Why the variable can't be given to a child; empty when it can.
std::string fault_of(const std::string& name, const std::string& value) {
  if (name.empty()) return "has no name";
  if (name.find('=') != std::string::npos) return "has a '=' in its name";
  if (name.find('\0') != std::string::npos || value.find('\0') != std::string::npos)
    return "contains a NUL byte";
  if (name.starts_with("LD_") || name.starts_with("DYLD_"))
    return "steers the loader of programs and is never passed on";
  if (name.starts_with("AGENTTASK_")) return "is reserved for the agent";
  return {};
}

}  // namespace

Result<Environment> clean_environment(std::string_view run_as) {
  User user{.name = std::to_string(::geteuid()), .home = "/", .shell = "/bin/sh"};
  if (run_as.empty()) {
    if (const auto known = find_user(::geteuid())) user = *known;
  } else {
    auto found = find_user(std::string(run_as));
    if (!found) return Error{found.error().code, found.error().message, "runAs"};
    user = *found;
  }
  const std::string everyone = "/usr/local/bin:/usr/bin:/bin";
  const bool root = run_as.empty() ? ::geteuid() == 0 : user.id == 0;
  return Environment{
      {"PATH", root ? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" : everyone},
      {"HOME", user.home},
      {"USER", user.name},
      {"LOGNAME", user.name},
      {"SHELL", user.shell},
      {"LANG", "C.UTF-8"},
  };
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
  for (const auto& [name, value] : added) environment[name] = value;
}

int exit_code_to_pass_on(int code) {
  constexpr int kLargest = 255;
  return code < 0 || code > kLargest ? kLargest : code;
}

Result<std::vector<std::string>> shell_command(std::string_view line, std::string_view shell) {
  if (line.find('\0') != std::string_view::npos) {
    return Error{ErrorCode::invalid, "the shell line contains a NUL byte", "cmd"};
  }
  if (shell.empty() || shell == "sh")
    return std::vector<std::string>{"/bin/sh", "-c", "--", std::string(line)};
  if (shell == "bash") return std::vector<std::string>{"/bin/bash", "-c", "--", std::string(line)};
  if (shell == "powershell" || shell == "cmd") {
    return Error{ErrorCode::unsupported,
                 "this system has no shell \"" + std::string(shell) + "\"; use sh or bash", "shell"};
  }
  return Error{ErrorCode::invalid,
               "there is no shell \"" + std::string(shell) + "\"; use sh, bash, powershell or cmd", "shell"};
}

}  // namespace agenttask::os
