#include "agent/runner/run_threads.hpp"

#include <atomic>
#include <condition_variable>
#include <latch>
#include <mutex>
#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace agenttask::agent {
namespace {

TEST(RunThreadsTest, EachWorkIsDoneOnceAndThoseThatWaitForEachOtherRunBesideEachOther) {
  constexpr int kMany = 200;
  constexpr int kTogether = 5;
  std::atomic<int> done = 0;
  {
    RunThreads threads;
    std::latch together(kTogether);
    for (int i = 0; i < kTogether; ++i) {
      threads.start([&] {
        together.arrive_and_wait();
        ++done;
      });
    }
    together.wait();
    for (int i = 0; i < kMany; ++i) threads.start([&] { ++done; });
  }
  EXPECT_EQ(done, kMany + kTogether) << "none is left undone at the end";
}

TEST(RunThreadsTest, AThreadThatHasNothingToDoTakesTheNext) {
  RunThreads threads;
  std::mutex mutex;
  std::condition_variable changed;
  std::set<std::thread::id> used;
  int done = 0;
  constexpr int kMany = 50;
  for (int i = 0; i < kMany; ++i) {
    threads.start([&] {
      const std::scoped_lock lock(mutex);
      used.insert(std::this_thread::get_id());
      ++done;
      changed.notify_all();
    });
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return done == i + 1; });
  }
  // One that has told of its end may not be back yet when the next comes.
  EXPECT_LT(used.size(), kMany / 2U);
}

}  // namespace
}  // namespace agenttask::agent
