#include "platform/os/posix/child_registry.hpp"

#include <cerrno>
#include <sys/wait.h>
#include <unistd.h>

namespace agenttask::os {
namespace {

// Looks for an ended child without collecting it, or collects it. The pid is 0 when there is none.
siginfo_t wait_for(idtype_t which, pid_t child, int options) {
  siginfo_t info{};
  while (::waitid(which, static_cast<id_t>(child), &info, WEXITED | options) != 0) {
    if (errno != EINTR) return {};
  }
  return info;
}

bool has_no_child() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 && errno == ECHILD;
}

}  // namespace

// Before there is a child: who finds itself alone afterwards saw none of it.
bool ChildRegistry::begin_launch(std::uint64_t& number) {
  const std::lock_guard lock(mutex_);
  const bool alone = mains_.empty() && launches_under_way_ == 0 && has_no_child();
  ++launches_under_way_;
  for (auto& [main, is_alone] : mains_) is_alone = false;
  number = ++launches_;
  return alone;
}

Result<Launched> ChildRegistry::launch_apart(const LaunchRequest& request) {
  const std::shared_lock launching(launching_);
  std::uint64_t number = 0;
  (void)begin_launch(number);
  auto child = os::launch(request);
  const std::lock_guard lock(mutex_);
  --launches_under_way_;
  return child;
}

Result<Launched> ChildRegistry::launch(const LaunchRequest& request) {
  const std::shared_lock launching(launching_);
  std::uint64_t number = 0;
  const bool alone = begin_launch(number);
  auto child = os::launch(request);
  const std::lock_guard lock(mutex_);
  --launches_under_way_;
  if (child) mains_.emplace(child->pid, alone && number == launches_);
  return child;
}

Result<void> ChildRegistry::check_room() {
  const std::shared_lock launching(launching_);
  return check_launch();
}

bool ChildRegistry::is_alone(pid_t child) {
  const std::lock_guard lock(mutex_);
  const auto main = mains_.find(child);
  return main != mains_.end() && main->second;
}

std::optional<ProcessEnd> ChildRegistry::ended(pid_t child) {
  const auto info = wait_for(P_PID, child, WNOHANG | WNOWAIT);
  if (info.si_pid != child) return std::nullopt;
  return end_of(info);
}

void ChildRegistry::release(pid_t child) {
  const std::lock_guard lock(mutex_);  // before the pid can be given to the child of another run
  wait_for(P_PID, child, WNOHANG);
  mains_.erase(child);
}

void ChildRegistry::reap_orphans() {
  const std::unique_lock launching(launching_, std::try_to_lock);
  if (!launching) return;
  const std::lock_guard lock(mutex_);
  for (;;) {
    const auto info = wait_for(P_ALL, 0, WNOHANG | WNOWAIT);
    if (info.si_pid == 0) return;
    if (is_main(info.si_pid)) return reap_orphans_behind_mains();
    wait_for(P_PID, info.si_pid, WNOHANG);
  }
}

// The system shows us one ended child at a time, and the main process of a run that is still draining hides
// those behind it.
void ChildRegistry::reap_orphans_behind_mains() {
  for (const auto& entry : read_processes()) {
    if (entry.parent == ::getpid() && entry.is_zombie() && !is_main(entry.pid))
      wait_for(P_PID, entry.pid, WNOHANG);
  }
}

}  // namespace agenttask::os
