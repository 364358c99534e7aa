#include <string>
#include <vector>

#include "agent/console/console.hpp"
#include "platform/os/service.hpp"

int main(int argc, char** argv) {
  return agenttask::os::run_program(argc, argv, [](const std::vector<std::string>& arguments) {
    agenttask::console::Console console(agenttask::console::Screen::of_this_process());
    return agenttask::console::run(arguments, console);
  });
}
