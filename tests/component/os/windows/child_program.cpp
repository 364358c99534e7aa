#include "tests/component/os/windows/child_program.hpp"

#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <io.h>
#include <windows.h>
// after windows.h
#include <shellapi.h>

#include "platform/os/outliving.hpp"
#include "platform/os/windows/handle.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

std::wstring own_file() {
  wchar_t file[MAX_PATH];
  return {file, ::GetModuleFileNameW(nullptr, file, MAX_PATH)};
}

std::uint32_t start_sleeper(DWORD flags) {
  std::wstring line = L"\"" + own_file() + L"\" sleep";
  STARTUPINFOW start{};
  start.cb = sizeof start;
  PROCESS_INFORMATION made{};
  // With our streams, as a command's background process has them.
  if (::CreateProcessW(nullptr, line.data(), nullptr, nullptr, TRUE, flags, nullptr, nullptr, &start,
                       &made) == 0) {
    return 0;
  }
  const Handle process(made.hProcess);
  const Handle thread(made.hThread);
  return made.dwProcessId;
}

void say(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void write_bytes(FILE* stream, long long count) {
  const std::string block(64 * 1024, 'x');
  for (; count > 0; count -= static_cast<long long>(block.size())) {
    std::fwrite(block.data(), 1, static_cast<std::size_t>(std::min<long long>(count, 64 * 1024)), stream);
  }
  std::fflush(stream);
}

void copy_input() {
  // As it comes: fread would wait until its buffer is full.
  char buffer[4096];
  for (int count = 0; (count = ::_read(::_fileno(stdin), buffer, sizeof buffer)) > 0;) {
    std::fwrite(buffer, 1, static_cast<std::size_t>(count), stdout);
    std::fflush(stdout);
  }
}

class Announcer : public ProcessObserver {
 public:
  void started(std::int64_t pid) override { say(std::to_string(pid) + "\n"); }
  void output(OutputStream, std::string_view) override {}
};

int supervise(const std::vector<std::string>& words) {
  ProcessSupervisor supervisor;
  Announcer announcer;
  ProcessSpec spec{
      .argv = child_argv({"sleep"}), .environment = clean_environment().value(), .run_id = words.at(1)};
  spec.environment[kChildVariable] = "1";
  if (words.size() > 2) spec.record = words[2];
  return supervisor.run(spec, {}, announcer) ? 0 : 1;
}

int leave_apart(const std::string& folder) {
  ProcessSupervisor supervisor;
  const OutlivingProgram program{.name = "test",
                                 .description = "a test",
                                 .argv = child_argv({"stay", folder + "\\pid"}),
                                 .folder = to_wide(folder)};
  const auto launched = launch_outliving(supervisor, program);
  say(launched ? "launched\n" : launched.error().message + "\n");
  ::Sleep(INFINITE);
  return 0;
}

void stay(const std::string& file) {
  const std::string whole = std::to_string(::GetCurrentProcessId()) + "\n";
  std::ofstream(std::filesystem::path(to_wide(file)), std::ios::binary) << whole;
  ::Sleep(INFINITE);
}

int act(const std::vector<std::string>& words) {
  const std::string& what = words.at(0);
  if (what == "arguments") {
    for (std::size_t at = 1; at < words.size(); ++at)
      say(std::to_string(words[at].size()) + "\n" + words[at] + "\n");
  } else if (what == "exit") {
    ::ExitProcess(static_cast<UINT>(std::stoll(words.at(1))));
  } else if (what == "write") {
    write_bytes(stderr, std::stoll(words.at(2)));
    write_bytes(stdout, std::stoll(words.at(1)));
  } else if (what == "copy") {
    copy_input();
  } else if (what == "tree" || what == "leave") {
    say(std::to_string(start_sleeper(what == "tree" ? CREATE_NEW_PROCESS_GROUP : 0)) + "\n");
    if (what == "tree") ::Sleep(INFINITE);
  } else if (what == "handle") {
    DWORD flags = 0;
    const auto handle = reinterpret_cast<HANDLE>(static_cast<std::uintptr_t>(std::stoull(words.at(1))));
    say(::GetHandleInformation(handle, &flags) != 0 ? "open\n" : "closed\n");
  } else if (what == "supervise") {
    return supervise(words);
  } else if (what == "leave-apart") {
    return leave_apart(words.at(1));
  } else if (what == "stay") {
    stay(words.at(1));
  } else {
    ::Sleep(INFINITE);
  }
  return 0;
}

/// Before main: a child is no test.
const bool acted = [] {
  if (::GetEnvironmentVariableW(to_wide(kChildVariable).c_str(), nullptr, 0) == 0) return false;
  int count = 0;
  wchar_t** const given = ::CommandLineToArgvW(::GetCommandLineW(), &count);
  std::vector<std::string> words;
  for (int at = 1; at < count; ++at) words.push_back(to_utf8(given[at]));
  for (FILE* stream : {stdin, stdout, stderr}) ::_setmode(::_fileno(stream), _O_BINARY);
  std::_Exit(act(words));
}();

}  // namespace

std::vector<std::string> child_argv(const std::vector<std::string>& words) {
  std::vector<std::string> argv{to_utf8(own_file())};
  argv.insert(argv.end(), words.begin(), words.end());
  return argv;
}

bool is_running(unsigned long pid) {
  const Handle process(::OpenProcess(SYNCHRONIZE, FALSE, pid));
  return process.is_open() && ::WaitForSingleObject(process.get(), 0) == WAIT_TIMEOUT;
}

}  // namespace agenttask::os
