#include "agent/console/interrupts.hpp"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "agent/console/exit_code.hpp"

namespace agenttask::console {

Interrupts::Interrupts(int leaves_at)
    : leaves_at_(leaves_at), watcher_([this](int count) { on_interrupt(count); }) {}

void Interrupts::set_farewell(std::string text) {
  const std::lock_guard lock(mutex_);
  farewell_ = std::move(text);
}

void Interrupts::on_interrupt(int count) {
  count_.store(count);
  if (count < leaves_at_.load()) return;
  const std::lock_guard lock(mutex_);
  if (!farewell_.empty()) std::fprintf(stderr, "agenttask: %s\n", farewell_.c_str());
  std::_Exit(kInterrupted);
}

}  // namespace agenttask::console
