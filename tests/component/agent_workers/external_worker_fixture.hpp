#pragma once
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/workers/external_worker.hpp"
#include "agent/workers/run_wishes.hpp"
#include "agent/workers/workers_folder.hpp"
#include "platform/base/ids.hpp"
#include "platform/os/process.hpp"
#include "platform/protocol/json.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

/// A device without tasks and messages.
class EmptyDevice final : public TaskReader {
 public:
  [[nodiscard]] Result<Task> get(std::string_view) override {
    return Error{ErrorCode::not_found, "no such task", "id"};
  }
  [[nodiscard]] Result<TaskPage> list(const TaskFilter&, std::optional<std::int64_t>, std::size_t) override {
    return TaskPage{};
  }
  [[nodiscard]] Result<std::vector<RoomMessage>> messages(std::string_view, std::size_t) override {
    return std::vector<RoomMessage>{};
  }
};

/// A run that keeps what it is told.
class Context final : public RunContext {
 public:
  explicit Context(const Task& task) : wishes_(device_, task, 1, clock_) {}
  [[nodiscard]] const std::string& run_id() const override { return run_id_; }
  [[nodiscard]] std::stop_token stop() const override { return source.get_token(); }
  [[nodiscard]] StopCause stop_cause() const override { return cause; }
  void output(OutputStream stream, std::string_view bytes) override {
    auto& text = stream == OutputStream::standard_output ? out : err;
    counts_[static_cast<int>(stream)].bytes += static_cast<std::int64_t>(bytes.size());
    text += bytes.substr(0, 4 * 1024 * 1024 - std::min<std::size_t>(text.size(), 4 * 1024 * 1024));
    if (on_output) on_output();
  }
  [[nodiscard]] OutputCount count(OutputStream stream) const override {
    return counts_[static_cast<int>(stream)];
  }
  [[nodiscard]] std::int64_t run_number() const override { return 1; }
  [[nodiscard]] RunWishes& wishes() override { return wishes_; }
  void progress(std::string_view text) override { steps.emplace_back(text); }
  void stop_for(StopCause why) {
    cause = why;
    source.request_stop();
  }

  std::stop_source source;
  std::atomic<StopCause> cause = StopCause::none;
  std::string out, err;
  std::vector<std::string> steps;
  std::function<void()> on_output;

 private:
  const std::string run_id_ = make_uuid(1);
  test::ManualClock clock_;
  EmptyDevice device_;
  RunWishes wishes_;
  OutputCount counts_[2];
};

/// Workers are shell scripts; `$request` is the first line.
class ExternalWorkerTest : public testing::Test {
 protected:
  ExternalWorkerTest() {
    task_.spec.id = make_uuid(1);
    task_.spec.type = "T";
    task_.spec.room_id = "lobby";
  }
  fs::path make(const std::string& name, const std::string& manifest, const std::string& script) {
    const fs::path folder = folder_.path() / name;
    fs::create_directories(folder);
    std::ofstream(folder / "worker.json") << manifest;
    std::ofstream(folder / "run") << "#!/bin/sh\nread -r request\n" << script << "\n";
    fs::permissions(folder / "run", fs::perms(0755));
    for (const auto& path : {folder, folder / "worker.json"})
      fs::permissions(path, fs::perms::group_write | fs::perms::others_write, fs::perm_options::remove);
    return folder;
  }
  /// Of all worker folders that there are.
  std::shared_ptr<const WorkerServices> services() {
    auto services = std::make_shared<WorkerServices>();
    for (const FoundWorker& found : read_workers(folder_.path())) {
      EXPECT_TRUE(found.problems.empty()) << found.problems.front();
      const auto shared = std::make_shared<const WorkerManifest>(found.manifest);
      for (const auto& service : shared->services) services->emplace(service, shared);
    }
    return services;
  }
  std::shared_ptr<const TaskWorker> worker(const std::string& script, const std::string& more = "") {
    const auto folder =
        make("one", R"({"types":["T"],"services":["own"],"command":["./run"])" + more + "}", script);
    return make_external_worker(std::make_shared<const WorkerManifest>(read_worker(folder).manifest),
                                services(), supervisor_, times_);
  }
  WorkResult run(const std::string& script, const std::string& more = "") {
    return worker(script, more)->execute(context_, task_);
  }
  static nlohmann::json data(const WorkResult& result) { return *parse_json(result.data); }

  test::TemporaryFolder folder_;
  os::ProcessSupervisor supervisor_;
  WorkerTimes times_;
  Task task_;
  Context context_{task_};
};

}  // namespace agenttask::agent
