#include "platform/os/folder_watch.hpp"

#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "tests/support/temporary_folder.hpp"
#include "tests/support/windows/wine.hpp"

namespace agenttask::os {
namespace {

using namespace std::chrono_literals;
using Event = FolderWatch::Event;
namespace fs = std::filesystem;

struct FolderWatchTest : ::testing::Test {
  test::TemporaryFolder holder;
  const fs::path folder = holder.path();
  std::unique_ptr<FolderWatch> watch = FolderWatch::create().value();

  static void touch(const fs::path& file) { std::ofstream(file) << "x"; }
  Event next() { return watch->wait(5s, {}); }
  void settle() {
    while (watch->wait(200ms, {}) == Event::changed) {
    }
  }
};

TEST_F(FolderWatchTest, SeesWhatComesAndGoes) {
  ASSERT_TRUE(watch->watch({folder}));
  EXPECT_EQ(watch->wait(50ms, {}), Event::quiet);
  touch(folder / "a");
  EXPECT_EQ(next(), Event::changed);
  settle();
  fs::rename(folder / "a", folder / "b");
  EXPECT_EQ(next(), Event::changed);
  settle();
  fs::remove(folder / "b");
  EXPECT_EQ(next(), Event::changed);
}

TEST_F(FolderWatchTest, OfSomeFilesOnlyWhatConcernsThem) {
  ASSERT_TRUE(watch->watch({}, {folder / "Policy.json"}));
  touch(folder / "other");
  EXPECT_EQ(watch->wait(200ms, {}), Event::quiet);
  touch(folder / "policy.JSON");
  EXPECT_EQ(next(), Event::changed);
}

TEST_F(FolderWatchTest, WaitsForWhatIsNotThere) {
  ASSERT_TRUE(watch->watch({folder / "later" / "deep"}));
  fs::create_directory(folder / "later");
  EXPECT_EQ(next(), Event::changed);
  settle();
  ASSERT_TRUE(watch->watch({folder / "later" / "deep"}));
  fs::create_directory(folder / "later" / "deep");
  EXPECT_EQ(next(), Event::changed);
  settle();
  ASSERT_TRUE(watch->watch({folder / "later" / "deep"}));
  touch(folder / "later" / "deep" / "x");
  EXPECT_EQ(next(), Event::changed);
}

TEST_F(FolderWatchTest, SeesThatTheFolderItselfIsGone) {
  if (test::is_wine()) GTEST_SKIP() << "Wine removes a folder once nobody watches it any more";
  fs::create_directory(folder / "sub");
  ASSERT_TRUE(watch->watch({folder / "sub"}));
  fs::remove(folder / "sub");
  EXPECT_EQ(next(), Event::changed);
  settle();
  fs::create_directory(folder / "sub");
  ASSERT_TRUE(watch->watch({folder / "sub"}));
  settle();
  touch(folder / "sub" / "x");
  EXPECT_EQ(next(), Event::changed);
}

TEST_F(FolderWatchTest, StopEndsTheWait) {
  ASSERT_TRUE(watch->watch({folder}));
  std::stop_source stop;
  std::jthread waiting([&] { EXPECT_EQ(watch->wait(0ms, stop.get_token()), Event::stopped); });
  stop.request_stop();
  waiting.join();
  touch(folder / "a");
  EXPECT_EQ(next(), Event::changed) << "what comes after a stop is not lost";
}

}  // namespace
}  // namespace agenttask::os
