#include "server/store/writer.hpp"

#include <algorithm>
#include <csignal>
#include <deque>
#include <future>
#include <mutex>
#include <sys/resource.h>

#include "tests/component/server_store/store_fixture.hpp"

namespace agenttask::server::test {
namespace {

/// Counts commits; can be held at the beginning of a group, and can be made to fail.
class WatchedSession final : public WriteSession {
 public:
  struct Control {
    std::mutex mutex;
    std::condition_variable changed;
    bool hold = false;
    bool held = false;
    bool fail_commit = false;
    int commits = 0;
  };
  WatchedSession(std::unique_ptr<WriteSession> session, Control& control)
      : session_(std::move(session)), control_(control) {}

  Result<void> begin() override {
    std::unique_lock lock(control_.mutex);
    control_.held = control_.hold;
    control_.changed.notify_all();
    control_.changed.wait(lock, [this] { return !control_.hold; });
    return session_->begin();
  }
  Result<void> commit() override {
    const std::scoped_lock lock(control_.mutex);
    ++control_.commits;
    if (!control_.fail_commit) return session_->commit();
    session_->rollback();
    return Error{ErrorCode::io, "the disk is gone"};
  }
  void rollback() override { session_->rollback(); }
  Result<void> begin_job() override { return session_->begin_job(); }
  Result<void> end_job(bool keep) override { return session_->end_job(keep); }
  WriteStore& store() override { return session_->store(); }
  std::vector<std::string> take_touched() override { return session_->take_touched(); }
  std::vector<std::function<void()>> take_actions() override { return session_->take_actions(); }

 private:
  std::unique_ptr<WriteSession> session_;
  Control& control_;
};

class WriterTest : public ::testing::Test {
 public:
  WriterTest() : store(open_sqlite_store(folder.path() / "server.db").value()) {}
  ~WriterTest() override {
    release();
    writer.reset();
  }

 protected:
  void start(Writer::Settings settings = {}) {
    writer = std::make_unique<Writer>(
        std::make_unique<WatchedSession>(store->write_session().value(), control),
        [this](const std::vector<std::string>& keys) {
          touched.insert(touched.end(), keys.begin(), keys.end());
        },
        logger, settings,
        [this](const std::vector<std::string>& keys) {
          if (joining) joining(keys);
        });
  }
  /// The writer takes a first job and stays before its group until `release`.
  void hold() {
    {
      const std::scoped_lock lock(control.mutex);
      control.hold = true;
    }
    EXPECT_TRUE(submit([](WriteStore&) { return true; }));
    std::unique_lock lock(control.mutex);
    control.changed.wait(lock, [this] { return control.held; });
  }
  void release() {
    const std::scoped_lock lock(control.mutex);
    control.hold = false;
    control.changed.notify_all();
  }
  /// Also from within a job of the writer.
  bool submit(std::function<bool(WriteStore&)> run) {
    auto promise = std::make_shared<std::promise<Result<void>>>();
    {
      const std::scoped_lock lock(answers_mutex);
      answers.push_back(promise->get_future());
    }
    const bool taken =
        writer
            ->submit({std::move(run), [promise](const Result<void>& result) { promise->set_value(result); }})
            .has_value();
    const std::scoped_lock lock(answers_mutex);
    if (!taken) answers.pop_back();
    return taken;
  }
  Result<void> answer(std::size_t number) {
    std::future<Result<void>>* one = nullptr;
    {
      const std::scoped_lock lock(answers_mutex);
      one = &answers.at(number);
    }
    return one->get();
  }
  bool add_node(WriteStore& writes, const std::string& id) {
    NodeRecord node;
    node.id = id;
    writes.insert_node(node);
    writes.touch("node:" + id);
    writes.after_commit([this, id] {
      EXPECT_TRUE(exists(id)) << "it is told of what is there";
      EXPECT_EQ(std::count(touched.begin(), touched.end(), "node:" + id), 0) << "nobody is woken before";
      told.push_back(id);
    });
    return true;
  }
  bool exists(const std::string& id) { return store->read().value()->node(id).has_value(); }

  agenttask::test::TemporaryFolder folder;
  Logger logger{LogLevel::error, LogFormat::text};
  std::unique_ptr<Store> store;
  WatchedSession::Control control;
  std::vector<std::string> touched;
  std::vector<std::string> told;  ///< after the commit, of nodes
  std::mutex answers_mutex;
  std::deque<std::future<Result<void>>> answers;  ///< they stay where they are
  Writer::Touched joining;                        ///< before the commit
  std::unique_ptr<Writer> writer;
};

TEST_F(WriterTest, WhatWaitsIsOneCommit) {
  start();
  hold();
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(submit([this, i](WriteStore& writes) { return add_node(writes, "n" + std::to_string(i)); }));
  release();
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
  EXPECT_EQ(control.commits, 2);
  EXPECT_TRUE(exists("n0") && exists("n19"));
  EXPECT_EQ(touched.size(), 20U);
}

TEST_F(WriterTest, WhoWaitsForAKeyWritesInTheCommitThatTouchesIt) {
  std::vector<std::string> heard;
  joining = [&](const std::vector<std::string>& keys) {
    heard.insert(heard.end(), keys.begin(), keys.end());
    EXPECT_FALSE(exists("asked")) << "it is before the commit";
    if (heard.size() > 1) return;
    submit([this](WriteStore& writes) {
      EXPECT_TRUE(writes.node("asked")) << "it sees what is not committed yet";
      return add_node(writes, "joined");
    });
  };
  start();
  ASSERT_TRUE(submit([this](WriteStore& writes) { return add_node(writes, "asked"); }));
  ASSERT_TRUE(answer(0));
  ASSERT_TRUE(answer(1));
  EXPECT_EQ(control.commits, 1);
  EXPECT_EQ(heard, std::vector<std::string>{"node:asked"}) << "it is asked once for a group";
  EXPECT_EQ(touched, (std::vector<std::string>{"node:asked", "node:joined"}));
  EXPECT_EQ(told, (std::vector<std::string>{"asked", "joined"}));
}

TEST_F(WriterTest, NobodyIsAskedToJoinForWhatAnUndoneJobTouched) {
  int asked = 0;
  joining = [&](const std::vector<std::string>&) { ++asked; };
  start();
  submit([this](WriteStore& writes) { return !add_node(writes, "refused"); });
  EXPECT_TRUE(answer(0));
  EXPECT_EQ(asked, 0);
}

TEST_F(WriterTest, WhoJoinsACommitThatFailsIsToldSo) {
  joining = [&](const std::vector<std::string>&) {
    submit([this](WriteStore& writes) { return add_node(writes, "joined"); });
  };
  control.fail_commit = true;
  start();
  submit([this](WriteStore& writes) { return add_node(writes, "asked"); });
  EXPECT_FALSE(answer(0));
  EXPECT_FALSE(answer(1));
  EXPECT_TRUE(touched.empty());
  EXPECT_FALSE(exists("asked") || exists("joined"));
}

TEST_F(WriterTest, AJobIsUndoneAloneWithItsKeysAndActions) {
  start();
  hold();
  submit([this](WriteStore& writes) { return add_node(writes, "a"); });
  submit([this](WriteStore& writes) { return !add_node(writes, "refused"); });
  submit([this](WriteStore& writes) -> bool {
    add_node(writes, "thrown");
    throw std::runtime_error("a fault of ours");
  });
  submit([this](WriteStore& writes) { return add_node(writes, "a"); });  // the key exists
  submit([this](WriteStore& writes) { return add_node(writes, "b"); });
  release();
  EXPECT_TRUE(answers[1].get());
  EXPECT_TRUE(answers[2].get());
  EXPECT_EQ(answers[3].get().error().code, ErrorCode::internal);
  EXPECT_EQ(answers[4].get().error().code, ErrorCode::conflict);
  EXPECT_TRUE(answers[5].get());
  EXPECT_TRUE(exists("a") && exists("b"));
  EXPECT_FALSE(exists("refused") || exists("thrown"));
  EXPECT_EQ(touched, (std::vector<std::string>{"node:a", "node:b"}));
  EXPECT_EQ(told, (std::vector<std::string>{"a", "b"}));
}

TEST_F(WriterTest, AFailedCommitFailsAllAndTheNextGoesOn) {
  start();
  hold();
  control.fail_commit = true;
  submit([this](WriteStore& writes) { return add_node(writes, "a"); });
  submit([this](WriteStore& writes) { return add_node(writes, "b"); });
  release();
  for (auto& answer : answers) EXPECT_EQ(answer.get().error().code, ErrorCode::io);
  EXPECT_FALSE(writer->healthy());
  EXPECT_TRUE(touched.empty());
  EXPECT_TRUE(told.empty());
  {
    const std::scoped_lock lock(control.mutex);
    control.fail_commit = false;
  }
  EXPECT_FALSE(exists("a"));
  EXPECT_TRUE(writer->run([this](WriteStore& writes) -> Result<void> {
    add_node(writes, "a");
    return {};
  }));
  EXPECT_TRUE(writer->healthy());
  EXPECT_TRUE(exists("a"));
}

/// Files can't grow past a size, as on a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit before_{};
};

TEST_F(WriterTest, AFullDiskInTheMiddleOfAGroupFailsAllOfIt) {
  start();
  hold();
  const auto add_much = [](WriteStore& writes) {
    for (int i = 0; i < 8; ++i) {
      // More than the cache holds, so that the disk is asked before the commit.
      TaskRecord record;
      record.task.spec.id = make_uuid(i);
      record.task.spec.node_id = "a";
      record.task.spec.type = "echo";
      record.task.spec.data = "{\"x\":\"" + std::string(1'000'000, 'x') + "\"}";
      writes.insert_task(record);
    }
    return true;
  };
  submit([this](WriteStore& writes) { return add_node(writes, "a"); });
  submit(add_much);
  submit([this](WriteStore& writes) { return add_node(writes, "b"); });
  submit([this](WriteStore& writes) { return !add_node(writes, "c"); });
  submit([this](WriteStore& writes) { return add_node(writes, "d"); });
  {
    const FullDisk full(4'000'000);
    release();
    for (std::size_t i = 1; i < answers.size(); ++i) EXPECT_FALSE(answers[i].get()) << i;
  }
  EXPECT_FALSE(exists("a") || exists("b") || exists("c") || exists("d"));
  EXPECT_TRUE(touched.empty());
  EXPECT_TRUE(told.empty());
  EXPECT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    add_node(writes, "a");
    add_much(writes);
    return {};
  }));
  EXPECT_TRUE(exists("a"));
}

TEST_F(WriterTest, AFullQueueSaysSo) {
  Writer::Settings settings;
  settings.queue_limit = 3;
  start(settings);
  hold();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(submit([](WriteStore&) { return true; }));
  const auto refused =
      writer->submit({[](WriteStore&) { return true; }, [](const Result<void>&) { FAIL(); }});
  EXPECT_EQ(refused.error().code, ErrorCode::unavailable);
  release();
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
  EXPECT_TRUE(submit([](WriteStore&) { return true; }));
}

TEST_F(WriterTest, AGroupHasALimit) {
  Writer::Settings settings;
  settings.group_limit = 4;
  start(settings);
  hold();
  for (int i = 0; i < 8; ++i) submit([](WriteStore&) { return true; });
  release();
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
  EXPECT_EQ(control.commits, 3);
}

TEST_F(WriterTest, StoppingFinishesWhatWaits) {
  start();
  hold();
  for (int i = 0; i < 10; ++i)
    submit([this, i](WriteStore& writes) { return add_node(writes, "n" + std::to_string(i)); });
  release();
  writer->stop();
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
  EXPECT_TRUE(exists("n9"));
  EXPECT_EQ(writer->run([](WriteStore&) { return Result<void>{}; }).error().code, ErrorCode::unavailable);
}

TEST_F(WriterTest, ThousandsFromManyThreads) {
  start();
  std::vector<std::thread> threads;
  threads.reserve(4);
  std::atomic<int> done = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const auto id = std::to_string(t) + "-" + std::to_string(i);
        if (writer->run([&](WriteStore& writes) -> Result<void> {
              add_node(writes, id);
              return {};
            }))
          ++done;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(done, 400);
  EXPECT_EQ(store->read().value()->nodes("", 1000, "", {}).size(), 400U);
}

}  // namespace
}  // namespace agenttask::server::test
