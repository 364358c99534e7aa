// Runs outside the agent's service as the agent sees them: the tests are their recorders.
#include <fstream>
#include <thread>

#include "agent/runner/outliving_folder.hpp"
#include "agent/runner/outliving_recorder.hpp"
#include "agent/runner/spool.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/os/signals.hpp"
#include "tests/component/agent_runner/runner_fixture.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;

const std::string kUnknownTask = "0192a5b0-0000-7000-8000-000000000001";
const std::string kUnknownRun = "0192a5b0-0000-7000-8000-000000000002";

/// What can't be opened at this moment, until its other name is its own again.
class Unreadable {
 public:
  explicit Unreadable(fs::path file) : file_(std::move(file)), other_(file_.string() + ".other") {
    if (fs::exists(fs::symlink_status(file_))) fs::rename(file_, other_);
    fs::create_symlink(file_.filename(), file_);
  }
  void mend() {
    if (fs::exists(fs::symlink_status(other_))) return fs::rename(other_, file_);
    fs::remove(file_);
  }

 private:
  fs::path file_;
  fs::path other_;
};

class OutlivingTest : public RunnerFixture {
 protected:
  ~OutlivingTest() override {
    if (runner_) runner_->stop();
  }
  OutlivingFolder make_folder(const std::string& task, const std::string& run_id, const std::string& data) {
    EXPECT_TRUE(os::create_folder(options_.spool_folder, os::Readable::by_owner));
    auto prepared = OutlivingFolder::prepare(options_.spool_folder, task, 1000);
    EXPECT_TRUE(prepared) << prepared.error().message;
    EXPECT_TRUE(prepared->move_to(OutlivingFolder::of(options_.spool_folder, task, run_id)));
    EXPECT_TRUE(prepared->write(OutlivingRequest{task, run_id, 1, data, "", 0, 1000}));
    return *prepared;
  }
  /// A run that an earlier agent has begun outside, and its recorder claimed.
  OutlivingFolder begun() {
    TaskSpec what = shell("true");
    what.options.outlives_agent = true;
    id_ = create(what);
    auto answer = ledger_->start(id_, true);
    EXPECT_TRUE(answer && answer->run);
    const auto folder = make_folder(id_, answer->run->run_id, "{}");
    auto claimed = folder.claim();
    EXPECT_TRUE(claimed && *claimed);
    lock_.emplace(**std::move(claimed));
    open_ledger();
    return folder;
  }
  /// As a recorder ends: it says how, and is gone.
  void end(const OutlivingFolder& folder) {
    OutlivingEnd end;
    end.result.status = RunStatus::complete;
    end.result.data = R"({"exitCode":0})";
    end.ended_at = clock_->wall();
    EXPECT_TRUE(folder.write(end));
    lock_.reset();
  }
  static void write_output(const OutlivingFolder& folder, std::string_view text) {
    const auto spool = Spool::begin(folder.stream(OutputStream::standard_output));
    ASSERT_TRUE(spool) << spool.error().message;
    (*spool)->append(text);
  }
  /// The follower has looked a few times and stays with what it cannot tell.
  void expect_it_waits() {
    EXPECT_FALSE(eventually([&] { return has_ended(get(id_).state.status); }, milliseconds(600)));
  }

  std::string id_;
  std::optional<os::FileLock> lock_;
};

TEST_F(OutlivingTest, AnEndThatCannotBeReadNowIsReadLater) {
  const auto folder = begun();
  write_output(folder, "all of it");
  end(folder);
  Unreadable unreadable(folder.path() / "end.json");
  run();
  expect_it_waits();
  unreadable.mend();
  EXPECT_EQ(TaskStatus::complete, ended(id_).state.status) << get(id_).state.detail;
  EXPECT_EQ("all of it", out(id_));
}

TEST_F(OutlivingTest, AnEndThatCannotBeReadHoldsUpNoStop) {
  const auto folder = begun();
  end(folder);
  Unreadable unreadable(folder.path() / "end.json");
  run();
  runner_->stop();
  EXPECT_EQ(TaskStatus::running, get(id_).state.status);
  unreadable.mend();
  open_ledger();
  run();
  EXPECT_EQ(TaskStatus::complete, ended(id_).state.status);
}

TEST_F(OutlivingTest, NoEndIsRecordedWithoutTheOutputThatIsThere) {
  const auto folder = begun();
  write_output(folder, "all of it");
  end(folder);
  Unreadable unreadable(folder.stream(OutputStream::standard_output));
  run();
  expect_it_waits();
  unreadable.mend();
  ended(id_);
  EXPECT_EQ("all of it", out(id_));
}

TEST_F(OutlivingTest, OutputThatWasLostHoldsUpNoEnd) {
  const auto folder = begun();
  end(folder);
  fs::remove(folder.stream(OutputStream::standard_output));
  std::ofstream(folder.stream(OutputStream::standard_error), std::ios::trunc) << "no output";
  run();
  EXPECT_EQ(TaskStatus::complete, ended(id_).state.status);
}

TEST_F(OutlivingTest, ItIsExplainedAsItRunsAndNotAsItWouldNextTime) {
  const auto folder = begun();
  run();
  ASSERT_TRUE(eventually([&] { return runner_->explain(id_)->outside; }));
  ASSERT_TRUE(ledger_->update(id_, R"({"options":{"outlivesAgent":false}})"));
  EXPECT_TRUE(runner_->explain(id_)->outside);
  end(folder);
  ended(id_);
  EXPECT_FALSE(runner_->explain(id_)->outside);
}

TEST_F(OutlivingTest, ACancelIsHeardFromTheLookOn) {
  const auto folder = begun();
  make_runner();
  ASSERT_TRUE(runner_->recover());
  // The console is open before the loop begins.
  ASSERT_TRUE(ledger_->cancel(id_));
  EXPECT_TRUE(eventually([&] { return folder.asked_to_stop().has_value(); }));
  ASSERT_TRUE(runner_->start());
  end(folder);
  ended(id_);
}

TEST_F(OutlivingTest, ACancelThatCannotBeWrittenIsWrittenLater) {
  const auto folder = begun();
  fs::create_directories(folder.stop_file() / "in the way");
  run();
  ASSERT_TRUE(ledger_->cancel(id_));
  expect_it_waits();
  fs::remove_all(folder.stop_file());
  EXPECT_TRUE(eventually([&] { return folder.asked_to_stop() == StopCause::cancel; }));
  end(folder);
  ended(id_);
}

TEST_F(OutlivingTest, NothingStartsBesideAStrayThatStops) {
  const auto folder = make_folder(kUnknownTask, kUnknownRun, "{}");
  auto claimed = folder.claim();
  ASSERT_TRUE(claimed && *claimed);
  lock_.emplace(**std::move(claimed));
  std::atomic<bool> stopped = false;
  const std::jthread recorder([&](const std::stop_token& stop) {
    while (!folder.asked_to_stop() && !stop.stop_requested()) std::this_thread::sleep_for(milliseconds(5));
    std::this_thread::sleep_for(milliseconds(100));  // its processes take a while
    stopped = true;
    end(folder);
  });
  make_runner();
  ASSERT_TRUE(runner_->recover());
  EXPECT_TRUE(stopped);
  EXPECT_TRUE(fs::is_empty(options_.spool_folder));
}

TEST_F(OutlivingTest, WhatARemovalHasLeftIsRemoved) {
  const auto folder = make_folder(kUnknownTask, kUnknownRun, "{}");
  fs::rename(folder.path(), folder.path().string() + ".outliving-gone");
  make_runner();
  ASSERT_TRUE(runner_->recover());
  EXPECT_TRUE(fs::is_empty(options_.spool_folder));
}

TEST_F(OutlivingTest, WhatWasCancelledBeforeItBeganDoesNotBegin) {
  const auto mark = folder_.path() / "began";
  const auto folder =
      make_folder(kUnknownTask, kUnknownRun, encode_json({{"cmd", "touch '" + mark.string() + "'"}}));
  ASSERT_TRUE(folder.ask_to_stop(StopCause::cancel));
  os::ServiceEvents events;
  const auto recorded = record_outliving_run(folder.path(), supervisor_, events, *clock_);
  ASSERT_TRUE(recorded) << recorded.error().message;
  const auto end = folder.end();
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(RunStatus::cancelled, end->result.status) << end->result.detail;
  EXPECT_FALSE(fs::exists(mark));
}

}  // namespace
}  // namespace agenttask::agent
