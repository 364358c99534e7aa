#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "platform/os/process.hpp"
#include "platform/os/windows/handle.hpp"

/// What the system knows of its processes. Private to platform/os/windows.
namespace agenttask::os {

struct ProcessEntry {
  std::uint32_t pid = 0;
  std::uint32_t parent = 0;  ///< the number that started it; may be another's by now
  std::uint64_t start = 0;   ///< 100 ns since 1601: with the pid it names one process; 0: we may not look
};

/// All processes, in no order.
[[nodiscard]] std::vector<ProcessEntry> read_processes();
/// When the process began; 0 where the handle does not allow to look.
[[nodiscard]] std::uint64_t start_of(HANDLE process);
/// A handle to that very process while it runs, with these rights and those to look and wait; closed
/// otherwise.
[[nodiscard]] Handle open_process(const ProcessEntry& entry, DWORD rights);
/// The path of its program, at most 256 bytes; its number where we may not look.
[[nodiscard]] ProcessInfo describe_process(std::uint32_t pid);
/// The run mark in its environment; nothing when it has none or we may not look.
[[nodiscard]] std::optional<std::string> read_run_mark(std::uint32_t pid);

/// The line of a record (see `ProcessSpec::record`).
[[nodiscard]] std::string record_line(const ProcessEntry& entry);
/// The processes that are in the record.
[[nodiscard]] std::vector<ProcessEntry> read_records(const std::filesystem::path& record);

}  // namespace agenttask::os
