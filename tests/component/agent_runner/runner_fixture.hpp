#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "agent/runner/runner.hpp"
#include "agent/workers/builtin_workers.hpp"
#include "platform/os/process.hpp"
#include "platform/os/system_clock.hpp"
#include "platform/protocol/json.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What happens, in order, while a test listens: commit points, and what the test adds.
struct Happened {
  std::mutex mutex;
  bool listens = false;
  std::vector<std::string> events;
  void begin() {
    const std::scoped_lock lock(mutex);
    events.clear();
    listens = true;
  }
  void end() {
    const std::scoped_lock lock(mutex);
    listens = false;
  }
  void add(std::string event) {
    const std::scoped_lock lock(mutex);
    if (listens) events.push_back(std::move(event));
  }
};

inline Happened& happened() {
  static Happened one;
  return one;
}

/// A worker that counts, and does what the test says.
class TestWorker final : public TaskWorker {
 public:
  using Work = std::function<WorkResult(RunContext&, const TaskSpec&)>;
  explicit TestWorker(Work work) : work_(std::move(work)) {}
  [[nodiscard]] Result<Validation> validate(const Task& task, std::stop_token) const override {
    if (!check) return Validation{};
    const auto valid = check(task.spec);
    if (!valid) return valid.error();
    return Validation{*valid, *valid ? "" : "not yet"};
  }
  [[nodiscard]] WorkResult execute(RunContext& context, const Task& task) const override {
    ++starts;
    return work_(context, task.spec);
  }
  [[nodiscard]] std::string lacks(const TaskSpec&) const override { return missing ? missing() : ""; }
  std::function<Result<bool>(const TaskSpec&)> check;
  std::function<std::string()> missing;
  mutable std::atomic<int> starts = 0;

 private:
  Work work_;
};

/// A gate that runs wait at until the test opens it.
class Gate {
 public:
  void open() {
    const std::scoped_lock lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  /// False when it was asked to stop before.
  bool wait(const std::stop_token& stop = {}) {
    std::unique_lock lock(mutex_);
    return changed_.wait(lock, stop, [&] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool open_ = false;
};

class RunnerFixture : public testing::Test {
 protected:
  RunnerFixture() {
    options_.spool_folder = folder_.path() / "spool";
    options_.slots = 4;
    options_.grace = milliseconds(500);
    EXPECT_TRUE(workers_.add("echo", make_echo_worker()));
    EXPECT_TRUE(workers_.add("command", make_command_worker(supervisor_)));
    open_ledger();
  }
  ~RunnerFixture() override {
    if (runner_) runner_->stop();
    subscription_.reset();
  }

  void open_ledger() {
    subscription_.reset();
    ledger_.reset();
    auto opened = Ledger::open(folder_.path() / "ledger.db", *clock_, ledger_options_);
    ASSERT_TRUE(opened) << opened.error().message;
    ledger_ = std::move(*opened);
    subscription_ = ledger_->subscribe([this](const LedgerChange&) {
      const std::scoped_lock lock(mutex_);
      changed_.notify_all();
    });
  }
  test::ManualClock& use_manual_clock() {
    clock_ = &manual_clock_;
    open_ledger();
    return manual_clock_;
  }
  void make_runner() {
    runner_ = std::make_unique<Runner>(*ledger_, workers_, policy_, supervisor_, *clock_, log_, options_);
  }
  void run() {
    make_runner();
    ASSERT_TRUE(runner_->recover());
    const auto started = runner_->start();
    ASSERT_TRUE(started) << started.error().message;
  }

  TestWorker& add_worker(const std::string& type, TestWorker::Work work) {
    auto worker = std::make_unique<TestWorker>(std::move(work));
    TestWorker& reference = *worker;
    EXPECT_TRUE(workers_.add(type, std::move(worker)));
    return reference;
  }
  static TaskSpec spec(std::string type, const nlohmann::json& data = nlohmann::json::object()) {
    TaskSpec spec;
    spec.type = std::move(type);
    spec.data = encode_json(data);
    return spec;
  }
  static TaskSpec shell(const std::string& line) { return spec("command", {{"cmd", line}}); }
  std::string create(const TaskSpec& what) {
    auto created = ledger_->create(what);
    EXPECT_TRUE(created) << created.error().message;
    return created ? created->task.spec.id : std::string();
  }
  Task get(const std::string& id) { return *ledger_->get(id); }

  /// Waits for a state of the ledger, woken by its changes.
  template <class Condition>
  bool eventually(Condition condition, milliseconds at_most = seconds(20)) {
    const auto until = std::chrono::steady_clock::now() + at_most;
    std::unique_lock lock(mutex_);
    while (true) {
      lock.unlock();
      if (condition()) return true;
      if (std::chrono::steady_clock::now() >= until) return false;
      lock.lock();
      changed_.wait_for(lock, milliseconds(20));
    }
  }
  Task ended(const std::string& id) {
    EXPECT_TRUE(eventually([&] { return has_ended(get(id).state.status); }))
        << "task " << id << " does not end";
    return get(id);
  }
  Task running(const std::string& id) {
    EXPECT_TRUE(eventually([&] { return get(id).state.status == TaskStatus::running; }));
    return get(id);
  }
  static nlohmann::json result(const Task& task) { return *parse_json(task.state.result); }
  std::string kept(const std::string& id, OutputStream stream, std::int64_t run = 1) {
    std::string text;
    const auto chunks = *ledger_->kept_output(id, run);
    for (const auto& chunk : chunks) {
      EXPECT_LE(chunk.bytes.size(), limits::kOutputChunkBytes);
      if (chunk.stream == stream) text += chunk.bytes;
    }
    return text;
  }
  std::string out(const std::string& id) { return kept(id, OutputStream::standard_output); }
  std::string err(const std::string& id) { return kept(id, OutputStream::standard_error); }

  test::TemporaryFolder folder_;
  os::SystemClock system_clock_;
  test::ManualClock manual_clock_;
  const Clock* clock_ = &system_clock_;
  os::ProcessSupervisor supervisor_;
  Logger log_{LogLevel::error, LogFormat::text};
  WorkerRegistry workers_;
  Policy policy_{""};
  LedgerOptions ledger_options_;
  RunnerOptions options_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<Ledger> ledger_;
  std::shared_ptr<void> subscription_;
  std::unique_ptr<Runner> runner_;
};

}  // namespace agenttask::agent
