#include <cerrno>
#include <cstdio>
#include <exception>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "platform/os/service.hpp"

namespace agenttask::os {
namespace {

constexpr int kOwnFailure = 125;

void open_standard_streams() {
  for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
    // open gives the lowest free number, which is this one.
    if (::fcntl(stream, F_GETFD) == -1 && errno == EBADF) ::open("/dev/null", O_RDWR);
  }
}

}  // namespace

int run_program(int argc, char** argv, const std::function<int(std::vector<std::string> arguments)>& body) {
  open_standard_streams();
  ::signal(SIGPIPE, SIG_IGN);
  try {
    return body(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "%s: %s\n", argc > 0 ? argv[0] : "agenttask", failure.what());
    return kOwnFailure;
  }
}

}  // namespace agenttask::os
