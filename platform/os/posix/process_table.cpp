#include "platform/os/posix/process_table.hpp"

#include <algorithm>

#include "platform/base/encoding.hpp"

namespace agenttask::os {
namespace {

constexpr unsigned kPartBits = 16;
constexpr std::uint64_t kPartOfMark = std::uint64_t{1} << kPartBits;

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 14'695'981'039'346'656'037U;
  for (const char byte : text) hash = (hash ^ static_cast<unsigned char>(byte)) * 1'099'511'628'211U;
  return hash;
}

}  // namespace

std::uint64_t inherited_mark(std::string_view run_id) {
  // In a range that no administrator sets and that is not the system's "unlimited": 44 bits say which run it
  // is, and 16 which part of it.
  constexpr std::uint64_t kBase = std::uint64_t{1} << 61;
  const auto slash = std::min(run_id.find('/'), run_id.size());
  const std::string_view part = run_id.substr(slash);
  const std::uint64_t run = fnv1a(run_id.substr(0, slash)) & ((std::uint64_t{1} << 44) - 1);
  return kBase | run << kPartBits | (part.empty() ? 0 : 1 + fnv1a(part) % (kPartOfMark - 1));
}

std::uint64_t inherited_mark_of_whole(std::uint64_t mark) {
  return mark & ~(kPartOfMark - 1);
}

ProcessInfo make_description(int pid, std::string command_line, const std::string& short_name) {
  constexpr std::size_t kMostBytes = 256;
  std::string command = command_line.empty() ? "[" + short_name + "]" : std::move(command_line);
  command.resize(std::min(command.size(), kMostBytes));
  for (auto& byte : command) {
    if (static_cast<unsigned char>(byte) < 0x20) byte = ' ';
  }
  command.resize(command.size() - incomplete_utf8_tail(command));
  if (!is_utf8(command)) {
    for (auto& byte : command) {
      if (static_cast<unsigned char>(byte) >= 0x80) byte = '?';
    }
  }
  return ProcessInfo{pid, command};
}

}  // namespace agenttask::os
