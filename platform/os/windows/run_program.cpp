#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <io.h>
#include <windows.h>
// after windows.h
#include <shellapi.h>

#include "platform/os/service.hpp"
#include "platform/os/windows/service_session.hpp"
#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

constexpr int kOwnFailure = 125;

/// The arguments as they were given: those of `main` went through the code page of the machine.
std::vector<std::string> read_arguments() {
  std::vector<std::string> arguments;
  int count = 0;
  wchar_t** const words = ::CommandLineToArgvW(::GetCommandLineW(), &count);
  for (int at = 1; words != nullptr && at < count; ++at) arguments.push_back(to_utf8(words[at]));
  ::LocalFree(words);
  return arguments;
}

/// A library that this program did not bring and the system does not have is nobody's, and certainly not one
/// that lies in the current folder or beside the program.
void harden() {
  ::SetDefaultDllDirectories(LOAD_LIBRARY_SEARCH_SYSTEM32);
  ::SetDllDirectoryW(L"");
  ::HeapSetInformation(nullptr, HeapEnableTerminationOnCorruption, nullptr, 0);
  // No questions on a screen that nobody looks at; children inherit it.
  ::SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX | SEM_NOOPENFILEERRORBOX);
}

void open_standard_streams() {
  const struct {
    DWORD name;
    FILE* file;
    const char* mode;
  } streams[] = {
      {STD_INPUT_HANDLE, stdin, "rb"}, {STD_OUTPUT_HANDLE, stdout, "wb"}, {STD_ERROR_HANDLE, stderr, "wb"}};
  for (const auto& stream : streams) {
    const HANDLE handle = ::GetStdHandle(stream.name);
    if (handle == nullptr || handle == INVALID_HANDLE_VALUE || ::_fileno(stream.file) < 0) {
      [[maybe_unused]] FILE* const opened = std::freopen("NUL", stream.mode, stream.file);
    } else {
      ::_setmode(::_fileno(stream.file), _O_BINARY);
    }
  }
}

/// A console shows what we write as UTF-8 while we run, and as before afterwards: it may be another's, too.
class Utf8Console {
 public:
  Utf8Console() : before_(::GetConsoleOutputCP()) {
    if (before_ != 0 && before_ != CP_UTF8) ::SetConsoleOutputCP(CP_UTF8);
    const HANDLE output = ::GetStdHandle(STD_OUTPUT_HANDLE);
    DWORD mode = 0;
    if (::GetConsoleMode(output, &mode) != 0)
      ::SetConsoleMode(output, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
  }
  ~Utf8Console() {
    if (before_ != 0 && before_ != CP_UTF8) ::SetConsoleOutputCP(before_);
  }
  Utf8Console(const Utf8Console&) = delete;
  Utf8Console& operator=(const Utf8Console&) = delete;

 private:
  const UINT before_;
};

int guarded(const std::function<int(std::vector<std::string>)>& body, std::vector<std::string> arguments,
            const char* program) {
  try {
    return body(std::move(arguments));
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s: %s\n", program, failure.what());
    return kOwnFailure;
  }
}

}  // namespace

int run_program(int argc, char** argv, const std::function<int(std::vector<std::string> arguments)>& body) {
  harden();
  open_standard_streams();
  const char* const program = argc > 0 ? argv[0] : "agenttask";
  const auto guarded_body = [&](std::vector<std::string> arguments) {
    return guarded(body, std::move(arguments), program);
  };
  if (ServiceSession::is_wanted()) {
    int exit_code = 0;
    if (ServiceSession::run(guarded_body, read_arguments(), exit_code)) return exit_code;
  }
  const Utf8Console console;
  return guarded_body(read_arguments());
}

}  // namespace agenttask::os
