#include <windows.h>

#include "platform/os/host.hpp"

namespace agenttask::os {
namespace {

bool is_terminal(DWORD stream) {
  DWORD mode = 0;
  return ::GetConsoleMode(::GetStdHandle(stream), &mode) != 0;
}

}  // namespace

bool output_is_terminal() {
  return is_terminal(STD_OUTPUT_HANDLE);
}
bool error_is_terminal() {
  return is_terminal(STD_ERROR_HANDLE);
}

int terminal_width() {
  constexpr int kUsual = 80;
  CONSOLE_SCREEN_BUFFER_INFO facts{};
  if (::GetConsoleScreenBufferInfo(::GetStdHandle(STD_OUTPUT_HANDLE), &facts) == 0) return kUsual;
  const int columns = facts.srWindow.Right - facts.srWindow.Left + 1;
  return columns > 0 ? columns : kUsual;
}

}  // namespace agenttask::os
