#include "agent/workers/workers_folder.hpp"

#include <algorithm>
#include <map>
#include <system_error>
#include <utility>

#include "platform/os/folder_watch.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;
using std::filesystem::path;

constexpr std::size_t kMostWorkers = 256;
constexpr milliseconds kSettle{100};  ///< a copy or an unpacked archive comes bit by bit
constexpr milliseconds kLongestSettle{1000};
constexpr int kMostLooks = 5;
/// A program that is missing may come with a file system or with PATH, which nothing tells.
constexpr milliseconds kLookForPrograms{60'000};

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const auto& line : lines) text += (text.empty() ? "" : "; ") + line;
  return text;
}

bool same(const FoundWorker& a, const FoundWorker& b) {
  return a.manifest.folder == b.manifest.folder && a.text == b.text && a.problems == b.problems &&
         a.program == b.program;
}

/// Notes whatever one of the workers before has as well.
void refuse_taken(FoundWorker& worker, std::map<std::string, std::string>& owners,
                  const std::vector<std::string>& names, const char* what) {
  for (const std::string& name : names) {
    const auto owner = owners.find(name);
    if (owner == owners.end()) continue;
    worker.problems.push_back(std::string(what) + " " + name + " is the worker " + owner->second + "'s");
  }
}

}  // namespace

std::vector<FoundWorker> read_workers(const path& folder) {
  std::vector<path> folders;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(folder, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    std::error_code ignored;
    const std::string name = entry->path().filename().string();
    if (!name.starts_with('.') && entry->is_directory(ignored)) folders.push_back(entry->path());
  }
  std::sort(folders.begin(), folders.end());
  std::vector<FoundWorker> workers;
  std::map<std::string, std::string> types;
  std::map<std::string, std::string> services;
  for (const path& one : folders) {
    if (workers.size() == kMostWorkers) break;
    FoundWorker worker = read_worker(one);
    if (worker.problems.empty()) {
      refuse_taken(worker, types, worker.manifest.types, "the type");
      refuse_taken(worker, services, worker.manifest.services, "the service");
    }
    if (worker.problems.empty()) {
      for (const auto& type : worker.manifest.types) types.emplace(type, worker.manifest.name);
      for (const auto& service : worker.manifest.services) services.emplace(service, worker.manifest.name);
    }
    workers.push_back(std::move(worker));
  }
  return workers;
}

WorkersFolder::WorkersFolder(path folder, WorkerRegistry& registry, os::ProcessSupervisor& supervisor,
                             Logger& log, OnChange on_change)
    : folder_(std::move(folder)),
      registry_(registry),
      supervisor_(supervisor),
      log_(log),
      on_change_(std::move(on_change)) {
  (void)read();
}

WorkersFolder::~WorkersFolder() {
  stop();
}

bool WorkersFolder::read() {
  const std::scoped_lock one_at_a_time(reading_);
  auto found = read_workers(folder_);
  {
    const std::scoped_lock lock(mutex_);
    if (std::equal(found.begin(), found.end(), found_.begin(), found_.end(), same)) return false;
  }
  const auto services = std::make_shared<WorkerServices>();
  std::vector<std::shared_ptr<const WorkerManifest>> usable;
  for (const FoundWorker& worker : found) {
    if (!worker.problems.empty()) {
      log_.warning("a worker can't be used",
                   {{"folder", worker.manifest.folder.string()}, {"problem", joined(worker.problems)}});
      continue;
    }
    usable.push_back(std::make_shared<const WorkerManifest>(worker.manifest));
    for (const auto& service : worker.manifest.services) services->emplace(service, usable.back());
  }
  WorkerRegistry::Workers workers;
  std::vector<std::string> types;
  for (const auto& manifest : usable) {
    const auto worker = make_external_worker(manifest, services, supervisor_);
    for (const auto& type : manifest->types) {
      workers.emplace(type, worker);
      types.push_back(type);
    }
  }
  registry_.set_external(std::move(workers), services);
  log_.info("workers folder read", {{"folder", folder_.string()}, {"workers", usable.size()}});
  const std::scoped_lock lock(mutex_);
  found_ = std::move(found);
  types_ = std::move(types);
  return true;
}

bool WorkersFolder::rescan() {
  if (!read()) return false;
  std::vector<std::string> types;
  {
    const std::scoped_lock lock(mutex_);
    types = types_;
  }
  if (on_change_) on_change_(types);
  return true;
}

void WorkersFolder::start() {
  watcher_ = std::jthread([this](const std::stop_token& stop) { watch(stop); });
}

void WorkersFolder::stop() {
  if (!watcher_.joinable()) return;
  watcher_.request_stop();
  watcher_.join();
}

WorkersFolder::Watched WorkersFolder::watched() const {
  Watched watched{{folder_}, {}, false};
  const std::scoped_lock lock(mutex_);
  for (const auto& worker : found_) {
    watched.folders.push_back(worker.manifest.folder);
    watched.program_missing = watched.program_missing || worker.program_missing;
    if (worker.program.empty()) continue;
    watched.files.push_back(worker.program);
    std::error_code unresolved;
    auto real = std::filesystem::canonical(worker.program, unresolved);
    if (!unresolved && real != worker.program) watched.files.push_back(std::move(real));
  }
  return watched;
}

void WorkersFolder::watch(const std::stop_token& stop) {
  using Event = os::FolderWatch::Event;
  const auto watch = os::FolderWatch::create();
  if (!watch) {
    log_.warning("changes of the workers folder are noticed at a reload (SIGHUP) only",
                 {{"error", watch.error().message}});
    return;
  }
  bool warned = false;
  milliseconds look_again{0};
  const auto look = [&] {
    // A worker folder that appeared is watched only after the look that found it: what came into it meanwhile
    // is seen by another one.
    for (int looks = 0; looks < kMostLooks; ++looks) {
      const Watched wanted = watched();
      look_again = wanted.program_missing ? kLookForPrograms : milliseconds(0);
      const auto watching = (*watch)->watch(wanted.folders, wanted.files);
      if (!watching && !std::exchange(warned, true)) {
        log_.warning("some changes of the workers folder are noticed at a reload (SIGHUP) only",
                     {{"error", watching.error().message}});
      }
      if (!rescan()) return;
    }
  };
  look();
  while ((*watch)->wait(look_again, stop) != Event::stopped) {
    const auto latest = std::chrono::steady_clock::now() + kLongestSettle;
    while ((*watch)->wait(kSettle, stop) == Event::changed && std::chrono::steady_clock::now() < latest) {
    }
    if (stop.stop_requested()) return;
    look();
  }
}

std::vector<WorkerDescription> WorkersFolder::describe() const {
  const std::scoped_lock lock(mutex_);
  std::vector<WorkerDescription> list;
  for (const FoundWorker& worker : found_) {
    const WorkerManifest& manifest = worker.manifest;
    list.push_back({manifest.name, manifest.folder.string(), manifest.types, manifest.services,
                    manifest.validates, manifest.timeout, joined(worker.problems)});
  }
  return list;
}

}  // namespace agenttask::agent
