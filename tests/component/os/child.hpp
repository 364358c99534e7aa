#pragma once
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>

#include <gtest/gtest.h>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/process.hpp"

namespace agenttask::os {

/// Keeps what a child wrote, counts it, and lets a test wait for a certain output.
class Recorder : public ProcessObserver {
 public:
  static constexpr std::size_t kKept = 64 * 1024;

  void started(std::int64_t process) override { pid = process; }
  void output(OutputStream stream, std::string_view bytes) override {
    const std::lock_guard lock(mutex_);
    auto& text = stream == OutputStream::standard_output ? out : err;
    (stream == OutputStream::standard_output ? out_bytes : err_bytes) += bytes.size();
    text.append(bytes.substr(0, kKept - std::min(kKept, text.size())));
    changed_.notify_all();
  }
  /// Waits until standard output holds `text`.
  void await_output(std::string_view text) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return out.find(text) != std::string::npos; });
  }

  std::int64_t pid = 0;
  std::string out;
  std::string err;
  std::uint64_t out_bytes = 0;
  std::uint64_t err_bytes = 0;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

/// A supervisor, and a mark by which everything that a test starts is found and removed at its end.
class ProcessTest : public ::testing::Test {
 protected:
  explicit ProcessTest(Containment at_most = Containment::groups) : supervisor(at_most) {}
  ProcessSpec shell(const std::string& line) {
    return ProcessSpec{.argv = shell_command(line).value(),
                       .environment = clean_environment().value(),
                       .run_id = run_id,
                       .grace = std::chrono::milliseconds(300)};
  }
  ProcessOutcome run(const ProcessSpec& spec, std::stop_token stop = {}) {
    auto outcome = supervisor.run(spec, stop, child);
    EXPECT_TRUE(outcome) << (outcome ? "" : outcome.error().message);
    return outcome ? *outcome : ProcessOutcome{};
  }
  ProcessOutcome run(const std::string& line) { return run(shell(line)); }
  /// What still runs of this test; it is gone afterwards.
  std::vector<ProcessInfo> remains() {
    const std::string ids[] = {run_id};
    return supervisor.stop_marked(ids, std::chrono::milliseconds(0)).found;
  }
  void TearDown() override { remains(); }

  const std::string run_id = "test-" + hex_encode(random_bytes(8));
  ProcessSupervisor supervisor;
  Recorder child;
};

inline std::chrono::milliseconds since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
}

}  // namespace agenttask::os
