#include "agent/console/screen.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "agent/console/text.hpp"
#include "platform/os/host.hpp"

namespace agenttask::console {
namespace {

bool write_to(std::FILE* file, std::string_view bytes) {
  if (bytes.empty()) return true;
  return std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size() && std::fflush(file) == 0;
}

}  // namespace

Screen Screen::of_this_process() {
  const bool output = os::output_is_terminal();
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  const bool plain = (no_color != nullptr && *no_color != '\0') || terminal == nullptr ||
                     std::string_view(terminal) == "dumb";
  const auto width = output ? static_cast<std::size_t>(os::terminal_width()) : 0;
  return {output, os::error_is_terminal(), width, output && !plain};
}

bool Screen::print(std::string_view bytes) const {
  return write_to(stdout, bytes);
}

bool Screen::print_error(std::string_view bytes) const {
  return write_to(stderr, bytes);
}

void Screen::say(std::string_view message) const {
  print_error("agenttask: " + printable_lines(message) + "\n");
}

std::string Screen::paint(Color color, std::string_view text) const {
  if (!color_ || color == Color::none || text.empty()) return std::string(text);
  const char* code = color == Color::good   ? "32"
                     : color == Color::bad  ? "31"
                     : color == Color::busy ? "33"
                                            : "2";
  return std::string("\x1b[") + code + "m" + std::string(text) + "\x1b[0m";
}

}  // namespace agenttask::console
