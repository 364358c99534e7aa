#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "agent/ledger/write_queue.hpp"
#include "tests/unit/agent_ledger/ledger_fixture.hpp"

namespace agenttask::agent {
namespace {

constexpr int kThreads = 6;

QueuedWrite a_write() {
  return {.point = CommitPoint{"test"}, .apply = [](LedgerWrite&) { return true; }};
}

TEST(WriteQueueTest, WhatComesWhileOthersAreStoredIsStoredTogether) {
  WriteQueue queue;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::size_t> sizes;
  int asked = 0;
  const auto carry_out = [&](std::span<QueuedWrite* const> writes) {
    std::unique_lock lock(mutex);
    sizes.push_back(writes.size());
    changed.notify_all();
    // The first takes as long as it takes the others to come.
    if (sizes.size() == 1) changed.wait(lock, [&] { return asked == kThreads; });
    for (QueuedWrite* write : writes) write->stored = {};
  };
  std::vector<std::jthread> threads;
  std::atomic<int> stored = 0;
  const auto pass = [&] {
    auto write = a_write();
    queue.pass(write, carry_out);
    if (write.stored) ++stored;
  };
  threads.emplace_back(pass);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return sizes.size() == 1; });
  }
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      {
        const std::scoped_lock lock(mutex);
        ++asked;
        changed.notify_all();
      }
      pass();
    });
  }
  threads.clear();
  EXPECT_EQ(stored, kThreads + 1);
  std::size_t all = 0;
  for (const std::size_t size : sizes) all += size;
  EXPECT_EQ(all, kThreads + 1U) << "each once";
  EXPECT_EQ(sizes.front(), 1U);
}

TEST(WriteQueueTest, WhoeverCarriesOutAndThrowsLeavesTheOthersTheirTurn) {
  WriteQueue queue;
  auto first = a_write();
  EXPECT_THROW(queue.pass(first, [](auto) { throw std::runtime_error("no memory"); }), std::runtime_error);
  EXPECT_FALSE(first.stored);
  auto second = a_write();
  queue.pass(second, [](std::span<QueuedWrite* const> writes) { writes.front()->stored = {}; });
  EXPECT_TRUE(second.stored);
}

class WritingTogether : public LedgerFixture {
 protected:
  static TaskSpec echo(std::size_t bytes) {
    TaskSpec spec;
    spec.type = "echo";
    spec.data = R"({"message":")" + std::string(bytes, 'x') + "\"}";
    return spec;
  }
  template <class Work>
  static void at_once(Work work) {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < kThreads; ++thread) threads.emplace_back([&work, thread] { work(thread); });
  }
};

TEST_F(WritingTogether, EachGetsItsOwnAnswer) {
  // Listeners are told on the thread of whoever wrote.
  subscription_.reset();
  constexpr int kEach = 40;
  std::atomic<int> refused = 0;
  std::array<std::vector<std::string>, kThreads> made;
  at_once([&](int thread) {
    for (int i = 0; i < kEach; ++i) {
      const auto created = ledger_->create(echo(10));
      ASSERT_TRUE(created) << created.error().message;
      made[static_cast<std::size_t>(thread)].push_back(created->task.spec.id);
      const auto started = ledger_->start(created->task.spec.id);
      ASSERT_TRUE(started && started->run);
      const auto again = ledger_->end(created->task.spec.id, 7, {});
      if (!again && again.error().code == ErrorCode::conflict) ++refused;
    }
  });
  EXPECT_EQ(refused, kThreads * kEach);
  for (const auto& ids : made) {
    for (const auto& id : ids) EXPECT_EQ(ledger_->get(id)->state.status, TaskStatus::running);
  }
  EXPECT_EQ(ledger_->status()->tasks.at(TaskStatus::running), kThreads * kEach);
}

TEST_F(WritingTogether, WhatAFullDiskRefusedIsNotThereAndWhatItTookIs) {
  subscription_.reset();
  options_.max_page_count = ledger_->status()->file_bytes / 4096 + 200;
  reopen();
  subscription_.reset();
  std::atomic<int> stored = 0;
  std::atomic<int> refused = 0;
  std::mutex mutex;
  std::vector<std::string> there;
  at_once([&](int thread) {
    for (int i = 0; i < 30; ++i) {
      // Some fit to the end, others only at the beginning.
      const auto created = ledger_->create(echo(thread % 2 == 0 ? 10 : 100'000));
      if (created) {
        ++stored;
        const std::scoped_lock lock(mutex);
        there.push_back(created->task.spec.id);
      } else {
        ++refused;
        EXPECT_EQ(created.error().code, ErrorCode::limit) << created.error().message;
      }
    }
  });
  EXPECT_GT(stored, 0);
  EXPECT_GT(refused, 0);
  options_.max_page_count = 100'000;
  reopen();
  std::size_t found = 0;
  std::optional<std::int64_t> cursor;
  do {
    const auto page = ledger_->list({}, cursor, 100);
    ASSERT_TRUE(page);
    found += page->tasks.size();
    cursor = page->next_cursor;
  } while (cursor);
  for (const auto& id : there) EXPECT_TRUE(ledger_->get(id)) << id;
  EXPECT_EQ(found, there.size()) << "nothing is there that was refused";
}

}  // namespace
}  // namespace agenttask::agent
