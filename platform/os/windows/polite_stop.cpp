#include "platform/os/windows/polite_stop.hpp"

#include <algorithm>
#include <mutex>
#include <windows.h>

#include "platform/os/windows/launch.hpp"

namespace agenttask::os {
namespace {

BOOL CALLBACK close_if_theirs(HWND window, LPARAM argument) {
  const auto& pids = *reinterpret_cast<const std::span<const std::uint32_t>*>(argument);
  DWORD owner = 0;
  ::GetWindowThreadProcessId(window, &owner);
  if (std::find(pids.begin(), pids.end(), owner) != pids.end()) ::PostMessageW(window, WM_CLOSE, 0, 0);
  return TRUE;
}

/// The system has one console for each process, so this has one lock for it.
std::mutex& console_lock() {
  static std::mutex mutex;
  return mutex;
}

void send_break(std::uint32_t group, std::span<const std::uint32_t> pids) {
  const std::lock_guard lock(console_lock());
  if (has_console()) {
    ::GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group);
    return;
  }
  // Theirs is not ours: we visit it for a moment. Whoever of them has it will do.
  for (const std::uint32_t pid : pids) {
    if (::AttachConsole(pid) == 0) continue;
    ::GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, group);
    ::FreeConsole();
    return;
  }
}

}  // namespace

void ask_to_end(std::uint32_t group, std::span<const std::uint32_t> pids) {
  if (pids.empty()) return;
  ::EnumWindows(&close_if_theirs, reinterpret_cast<LPARAM>(&pids));
  send_break(group, pids);
}

}  // namespace agenttask::os
