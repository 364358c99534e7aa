#include <sys/ioctl.h>
#include <unistd.h>

#include "platform/os/host.hpp"

namespace agenttask::os {

bool output_is_terminal() {
  return ::isatty(STDOUT_FILENO) == 1;
}
bool error_is_terminal() {
  return ::isatty(STDERR_FILENO) == 1;
}

int terminal_width() {
  constexpr int kUsual = 80;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsual;
  return size.ws_col;
}

}  // namespace agenttask::os
