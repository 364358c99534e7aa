#include "platform/os/windows/event_log.hpp"

#include <cstdio>
#include <fcntl.h>
#include <io.h>

#include "platform/os/windows/wide.hpp"

namespace agenttask::os {
namespace {

constexpr int kPipeBytes = 64 * 1024;
constexpr std::size_t kLongestLine = 16 * 1024;
// Of the message file that the installer names, whose messages are the text alone.
constexpr DWORD kWarningId = 2;
constexpr DWORD kErrorId = 1;

std::string_view word(std::string_view line, int number) {
  for (; number > 0; --number) {
    const auto blank = line.find(' ');
    if (blank == std::string_view::npos) return {};
    line.remove_prefix(blank + 1);
  }
  return line.substr(0, line.find(' '));
}

std::string_view level_of(std::string_view line) {
  if (!line.starts_with('{')) return word(line, 1);
  constexpr std::string_view kName = "\"level\":\"";
  const auto at = line.find(kName);
  if (at == std::string_view::npos) return {};
  line.remove_prefix(at + kName.size());
  return line.substr(0, line.find('"'));
}

}  // namespace

LineWeight weigh(std::string_view line) {
  const auto level = level_of(line);
  if (level == "warning") return LineWeight::warning;
  if (level == "info" || level == "debug") return LineWeight::unimportant;
  return LineWeight::error;
}

EventLog::EventLog() : source_(::RegisterEventSourceW(nullptr, L"AgentTask")) {
  int ends[2] = {-1, -1};
  if (source_ == nullptr || ::_pipe(ends, kPipeBytes, _O_BINARY | _O_NOINHERIT) != 0) return;
  std::fflush(stderr);
  before_ = ::_dup(::_fileno(stderr));
  const bool bound = ::_dup2(ends[1], ::_fileno(stderr)) == 0;
  ::_close(ends[1]);
  if (!bound) {
    ::_close(ends[0]);
    return;
  }
  std::setvbuf(stderr, nullptr, _IONBF, 0);
  lines_ = ends[0];
  reader_ = std::jthread([this] { read_lines(); });
}

EventLog::~EventLog() {
  if (lines_ >= 0) {
    std::fflush(stderr);
    // The last end that writes: the reader comes to an end behind what waits.
    if (before_ >= 0) {
      ::_dup2(before_, ::_fileno(stderr));
    } else {
      ::_close(::_fileno(stderr));
    }
    reader_.join();
    ::_close(lines_);
  }
  if (before_ >= 0) ::_close(before_);
  if (source_ != nullptr) ::DeregisterEventSource(source_);
}

void EventLog::read_lines() {
  std::string line;
  char buffer[4096];
  for (int count = 0; (count = ::_read(lines_, buffer, sizeof buffer)) > 0;) {
    for (const char byte : std::string_view(buffer, static_cast<std::size_t>(count))) {
      if (byte == '\n') {
        write(line);
        line.clear();
      } else if (line.size() < kLongestLine && byte != '\r') {
        line += byte;
      }
    }
  }
  write(line);
}

void EventLog::write(std::string_view line) const {
  if (line.empty()) return;
  const auto weight = weigh(line);
  if (weight == LineWeight::unimportant) return;
  const bool warning = weight == LineWeight::warning;
  const std::wstring text = to_wide(line);
  const wchar_t* words[] = {text.c_str()};
  ::ReportEventW(source_, warning ? EVENTLOG_WARNING_TYPE : EVENTLOG_ERROR_TYPE, 0,
                 warning ? kWarningId : kErrorId, nullptr, 1, 0, words, nullptr);
}

}  // namespace agenttask::os
