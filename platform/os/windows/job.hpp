#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/os/windows/handle.hpp"

namespace agenttask::os {

/// The Job Object of one run or of a part of one: everything that is started in it stays in it, as no process
/// may break away. While it is held, the system itself kills all of it when we end, however we end. It has no
/// name: nobody else can open it. Private to platform/os/windows. Threads: any.
class Job {
 public:
  static Result<Job> create();

  [[nodiscard]] HANDLE get() const { return handle_.get(); }
  [[nodiscard]] std::vector<std::uint32_t> members() const;
  [[nodiscard]] bool is_empty() const;
  /// Kills all of it in one step, whoever is being started meanwhile. They end with `exit_code`.
  void kill(unsigned exit_code) const;
  /// From now on it outlives us: what a command left behind on purpose.
  void let_go() const;

 private:
  explicit Job(Handle handle) : handle_(std::move(handle)) {}
  Handle handle_;
};

/// The jobs that are under way, by the id of their run, and those that ended runs left something in. Private
/// to platform/os/windows. Threads: any.
class RunJobs {
 public:
  /// `run_id` may be empty: such a run is found by nobody.
  Result<std::shared_ptr<Job>> make(const std::string& run_id);
  /// Of the runs with these ids and of their parts (`RUN/PART`).
  [[nodiscard]] std::vector<std::shared_ptr<Job>> find(std::span<const std::string> run_ids) const;
  /// Forgets those in which nothing runs.
  void remove_empty();

 private:
  mutable std::mutex mutex_;
  std::multimap<std::string, std::shared_ptr<Job>> jobs_;
};

/// Whether `id` is `run_id` or a part of it.
[[nodiscard]] bool is_of_run(std::string_view id, std::string_view run_id);

}  // namespace agenttask::os
