// Takes the place of platform/base/commit_point.cpp in the programs under test.
//
// AGENTTASK_COMMIT_POINTS names a folder. In it, `armed` holds lines like `before run-started`: the program
// that comes to one of them first takes the file away, writes the line into `kills`, and ends itself with
// SIGKILL, at that instruction. Whoever starts it again meets no armed file. `reached` has each line that the
// program came to, once. With the word `list` in the folder's place the program prints its points instead of
// running.
#include "tests/under_test/kill_at_commit_point.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <mutex>
#include <set>
#include <string>
#include <unistd.h>

namespace agenttask {
namespace {

const char* control_folder() {
  static const char* const folder = std::getenv("AGENTTASK_COMMIT_POINTS");
  return folder;
}

void append(const std::string& file, const std::string& line) {
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0 || ::write(descriptor, line.data(), line.size()) < 0) std::abort();
  ::close(descriptor);
}

/// What is armed: lines, each with its end; empty where nothing is.
std::string read_armed(const std::string& file) {
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return {};
  std::array<char, 8192> bytes{};
  const auto count = ::read(descriptor, bytes.data(), bytes.size());
  ::close(descriptor);
  return count > 0 ? std::string(bytes.data(), static_cast<std::size_t>(count)) : std::string();
}

void note_reached(const std::string& folder, const std::string& line) {
  static std::mutex mutex;
  static std::set<std::string> seen;
  const std::scoped_lock lock(mutex);
  if (seen.insert(line).second) append(folder + "/reached", line);
}

[[gnu::constructor]] void list_points() {
  if (control_folder() == nullptr || std::string(control_folder()) != "list") return;
  for (const CommitPoint point : test::known_commit_points())
    std::printf("%.*s\n", static_cast<int>(point.name.size()), point.name.data());
  std::fflush(stdout);
  ::_exit(0);
}

}  // namespace

void at_commit_point(CommitPoint point, CommitMoment moment) noexcept {
  const auto known = test::known_commit_points();
  if (std::find(known.begin(), known.end(), point) == known.end()) {
    std::fprintf(stderr, "commit point %.*s is not in the list\n", static_cast<int>(point.name.size()),
                 point.name.data());
    std::abort();
  }
  if (control_folder() == nullptr) return;
  const std::string folder = control_folder();
  const std::string line =
      (moment == CommitMoment::before ? "before " : "after ") + std::string(point.name) + '\n';
  note_reached(folder, line);
  const std::string armed = read_armed(folder + "/armed");
  if (('\n' + armed).find('\n' + line) == std::string::npos) return;
  if (std::rename((folder + "/armed").c_str(), (folder + "/struck").c_str()) != 0) return;
  append(folder + "/kills", line);
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

}  // namespace agenttask
