#include "platform/os/host.hpp"

#include <cstdio>
#include <sstream>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "platform/base/encoding.hpp"
#include "platform/os/secure_file.hpp"

namespace agenttask::os {
namespace {

constexpr std::size_t kFactsBytes = 64 * 1024;

utsname system_facts() {
  utsname facts{};
  ::uname(&facts);
  return facts;
}

std::string read_facts(const char* file) {
  auto text = read_file(file, kFactsBytes);
  return text ? std::move(*text) : std::string();
}

// The value of PRETTY_NAME in os-release(5), without its quotes.
std::string distribution() {
  std::istringstream lines(read_facts("/etc/os-release"));
  for (std::string line; std::getline(lines, line);) {
    constexpr std::string_view kKey = "PRETTY_NAME=";
    if (!line.starts_with(kKey)) continue;
    auto value = line.substr(kKey.size());
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"')
      value = value.substr(1, value.size() - 2);
    return is_utf8(value) ? value : std::string();
  }
  return {};
}

std::int64_t to_milliseconds(const timeval& time) {
  return std::int64_t{time.tv_sec} * 1000 + time.tv_usec / 1000;
}

// The number in a line like "Private_Dirty:   12 kB" or "Threads: 3"; 0 when there is none.
std::uint64_t number_in(const std::string& text, std::string_view key) {
  const auto at = text.find(key);
  unsigned long long number = 0;
  if (at == std::string::npos || std::sscanf(text.c_str() + at + key.size(), " %llu", &number) != 1) return 0;
  return number;
}

}  // namespace

std::string platform_name() {
  return std::string("linux-") + system_facts().machine;
}

std::string system_description() {
  const auto facts = system_facts();
  const auto name = distribution();
  return (name.empty() ? "" : name + ", ") + facts.sysname + " " + facts.release;
}

std::string boot_id() {
  auto id = read_facts("/proc/sys/kernel/random/boot_id");
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

Result<ResourceUsage> own_usage() {
  constexpr std::uint64_t kKibibyte = 1024;
  const auto status = read_facts("/proc/self/status");
  if (status.empty()) return Error{ErrorCode::io, "cannot read /proc/self/status: is /proc mounted?"};
  ResourceUsage usage;
  usage.resident_bytes = number_in(status, "VmRSS:") * kKibibyte;
  usage.threads = static_cast<std::int64_t>(number_in(status, "Threads:"));
  const auto memory = read_facts("/proc/self/smaps_rollup");
  usage.private_bytes =
      (number_in(memory, "Private_Clean:") + number_in(memory, "Private_Dirty:")) * kKibibyte;
  rusage times{};
  ::getrusage(RUSAGE_SELF, &times);
  usage.cpu_milliseconds = to_milliseconds(times.ru_utime) + to_milliseconds(times.ru_stime);
  std::error_code failed;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", failed), end; !failed && entry != end;
       entry.increment(failed)) {
    ++usage.open_files;
  }
  if (usage.open_files > 0) --usage.open_files;  // the folder that was being read
  return usage;
}

}  // namespace agenttask::os
