#include "platform/os/linux/child_registry.hpp"

#include <cerrno>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/os/linux/process_table.hpp"

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

}  // namespace

Result<pid_t> ChildRegistry::launch(const LaunchRequest& request) {
  const std::shared_lock launching(launching_);
  auto child = os::launch(request);
  if (child) {
    const std::lock_guard lock(mutex_);
    mains_.insert(*child);
  }
  return child;
}

std::optional<ProcessEnd> ChildRegistry::ended(pid_t child) {
  const auto info = wait_for(P_PID, child, WNOHANG | WNOWAIT);
  if (info.si_pid != child) return std::nullopt;
  return ProcessEnd{info.si_code != CLD_EXITED, info.si_status};
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
