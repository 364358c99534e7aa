#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"

int main(int count, char** words) {
  try {
    agenttask::console::Console console(agenttask::console::Screen::of_this_process());
    return agenttask::console::run(std::vector<std::string>(words + 1, words + count), console);
  } catch (const std::exception& fault) {
    std::fprintf(stderr, "agenttask: internal fault: %s\n", fault.what());
    return agenttask::console::kFailure;
  }
}
