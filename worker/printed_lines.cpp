#include "worker/printed_lines.hpp"

#include <utility>

namespace agenttask::worker {
namespace {
constexpr std::size_t kMostWaiting = 64 * 1024;
}

PrintedLines::int_type PrintedLines::overflow(int_type character) {
  if (traits_type::eq_int_type(character, traits_type::eof())) return traits_type::not_eof(character);
  const char one = traits_type::to_char_type(character);
  return take({&one, 1}) ? character : traits_type::eof();
}

std::streamsize PrintedLines::xsputn(const char* text, std::streamsize count) {
  return take({text, static_cast<std::size_t>(count)}) ? count : 0;
}

bool PrintedLines::take(std::string_view text) {
  const std::lock_guard lock(mutex_);
  waiting_ += text;
  const std::size_t last = waiting_.rfind('\n');
  std::size_t ready = last == std::string::npos ? 0 : last + 1;
  if (waiting_.size() - ready > kMostWaiting) ready = waiting_.size();
  const bool written = conversation_.print(std::string_view(waiting_).substr(0, ready));
  waiting_.erase(0, ready);
  return written;
}

int PrintedLines::sync() {
  const std::lock_guard lock(mutex_);
  return conversation_.print(std::exchange(waiting_, {})) ? 0 : -1;
}

}  // namespace agenttask::worker
