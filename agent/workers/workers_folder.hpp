#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "agent/workers/external_worker.hpp"
#include "agent/workers/task_worker.hpp"
#include "agent/workers/worker_manifest.hpp"
#include "platform/base/error.hpp"
#include "platform/base/log.hpp"

namespace agenttask::agent {

/// One worker folder, for people.
struct WorkerDescription {
  std::string name;
  std::string folder;
  std::vector<std::string> types;
  std::vector<std::string> services;
  bool validates = false;
  DurationMilliseconds timeout = 0;  ///< 0: as the task says
  std::string problem;               ///< why it is not used; empty: it is
};

/// All worker folders of a workers folder, in order of their names, each with what keeps it from being used:
/// its own problems, and types or services that one before it has.
[[nodiscard]] std::vector<FoundWorker> read_workers(const std::filesystem::path& folder);

/// Keeps the registry's external workers as the workers folder has them: workers that appear, change, or go
/// are noticed at once (where the system can tell; else at rescan()). Runs under way go on with what they
/// began with.
///
/// Threads: any. Crash: holds nothing; the folder is the truth.
class WorkersFolder {
 public:
  /// Called after each change, with the types that have a worker now, on the thread that noticed.
  using OnChange = std::function<void(std::span<const std::string> types)>;
  /// Reads the folder. All that it is given outlives it; `on_change` is not called before start().
  WorkersFolder(std::filesystem::path folder, WorkerRegistry& registry, os::ProcessSupervisor& supervisor,
                Logger& log, OnChange on_change);
  ~WorkersFolder();
  WorkersFolder(const WorkersFolder&) = delete;
  WorkersFolder& operator=(const WorkersFolder&) = delete;

  /// Begins to watch.
  void start();
  void stop();
  /// Looks again now; whether something had changed.
  bool rescan();
  [[nodiscard]] std::vector<WorkerDescription> describe() const;
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

 private:
  /// Whether something differs from the last look.
  bool read();
  void watch(const std::stop_token& stop);
  /// What the workers hang on.
  struct Watched {
    std::vector<std::filesystem::path> folders;
    std::vector<std::filesystem::path> files;
    bool program_missing = false;
  };
  [[nodiscard]] Watched watched() const;

  const std::filesystem::path folder_;
  WorkerRegistry& registry_;
  os::ProcessSupervisor& supervisor_;
  Logger& log_;
  const OnChange on_change_;
  std::mutex reading_;  ///< one look at a time
  mutable std::mutex mutex_;
  std::vector<FoundWorker> found_;  ///< guarded by mutex_
  std::vector<std::string> types_;  ///< guarded by mutex_
  std::jthread watcher_;
};

}  // namespace agenttask::agent
