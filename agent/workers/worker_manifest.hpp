#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/workers/data_schema.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

namespace agenttask::agent {

/// What `worker.json` says about a worker (docs/workers.md).
struct WorkerManifest {
  std::string name;              ///< of its folder
  std::filesystem::path folder;  ///< where its processes start
  std::vector<std::string> types;
  std::vector<std::string> services;
  std::vector<std::string> command;  ///< argv; `./x` is in the folder
  bool validates = false;            ///< it answers `validate`
  DurationMilliseconds timeout = 0;  ///< the most a run may take; 0: as the task says
  std::map<std::string, std::string> environment;
  std::string run_as;
  std::shared_ptr<const DataSchema> data_schema;  ///< null: any data
};

/// One worker folder as it is found: what its manifest says as far as it can be read, and everything that
/// keeps it from being used.
struct FoundWorker {
  WorkerManifest manifest;
  std::string text;  ///< of the manifest
  std::vector<std::string> problems;
  /// What its being ready hangs on besides its folder: the program where it is, or should be; empty: it is
  /// somewhere in PATH, perhaps.
  std::filesystem::path program;
  bool program_missing = false;  ///< one of the problems is that its program can't be run
};

constexpr const char* kManifestFile = "worker.json";
constexpr std::size_t kManifestBytes = 1024 * 1024;

/// The members of a manifest, checked; name and folder are the caller's.
[[nodiscard]] Result<WorkerManifest> parse_worker_manifest(std::string_view text);

/// Where the worker's program is, as far as names and access rights tell; else why it can't be run.
[[nodiscard]] Result<std::filesystem::path> locate_worker_program(const WorkerManifest& manifest);

/// Reads a worker folder: its manifest, whether its program may be run, and whether nobody but root and we
/// could have written folder, manifest, and the programs named with `./`.
[[nodiscard]] FoundWorker read_worker(const std::filesystem::path& folder);

}  // namespace agenttask::agent
