#include "tests/support/system.hpp"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <sys/socket.h>

#include "tests/support/posix/emulator.hpp"

namespace agenttask::test {

// The emulator answers for a program's own entry in /proc, which it knows by two of its three names.
bool is_emulated() {
  std::error_code none;
  return std::filesystem::read_symlink("/proc/self/exe", none) !=
         std::filesystem::read_symlink("/proc/thread-self/exe", none);
}

void set_variable(const char* name, const std::string& value) {
  ::setenv(name, value.c_str(), 1);
}

void unset_variable(const char* name) {
  ::unsetenv(name);
}

void ignore_broken_pipes() {
  std::signal(SIGPIPE, SIG_IGN);
}

void end_socket(int socket) {
  ::shutdown(socket, SHUT_RDWR);
}

void stop_sending(int socket) {
  ::shutdown(socket, SHUT_WR);
}

void finish_socket(int socket) {
  stop_sending(socket);
  char rest[4096];
  while (::recv(socket, rest, sizeof rest, 0) > 0) {
  }
}

}  // namespace agenttask::test
