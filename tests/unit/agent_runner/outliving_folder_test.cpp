#include "agent/runner/outliving_folder.hpp"

#include <atomic>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "agent/runner/spool.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::agent {
namespace {

const std::string kTask = "0192a5b0-0000-7000-8000-000000000001";
const std::string kRun = "0192a5b0-0000-7000-8000-000000000002";

class OutlivingFolderTest : public testing::Test {
 protected:
  OutlivingFolderTest() {
    auto prepared = OutlivingFolder::prepare(spool_, kTask, 100);
    EXPECT_TRUE(prepared) << prepared.error().message;
    EXPECT_TRUE(prepared->move_to(folder_));
  }
  static void write(const std::filesystem::path& file, const std::string& text) {
    std::ofstream(file) << text;
    std::filesystem::permissions(file,
                                 std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  [[nodiscard]] OutlivingStage stage(bool withdraw = false) const { return folder_.stage(withdraw).value(); }

  test::TemporaryFolder place_;
  const std::filesystem::path spool_ = place_.path();
  const OutlivingFolder folder_ = OutlivingFolder::of(spool_, kTask, kRun);
};

TEST_F(OutlivingFolderTest, ARequestComesBackAsItWent) {
  const OutlivingRequest request{kTask, kRun, 3, R"({"cmd":"echo \"\u0000\""})", "a b", 5000, 100};
  ASSERT_TRUE(folder_.write(request));
  const auto back = folder_.request();
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(request.task_id, back->task_id);
  EXPECT_EQ(request.run_id, back->run_id);
  EXPECT_EQ(request.run, back->run);
  EXPECT_EQ(request.data, back->data);
  EXPECT_EQ(request.option, back->option);
  EXPECT_EQ(request.timeout, back->timeout);
  EXPECT_EQ(request.keep, back->keep);
}

TEST_F(OutlivingFolderTest, WhatCouldNotBeRemovedGoesBeforeTheNext) {
  const auto left = spool_ / "one.outliving-gone";
  std::filesystem::create_directory(left);
  write(left / "agenttaskd.exe", "x");
  ASSERT_TRUE(OutlivingFolder::prepare(spool_, kTask, 100));
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_TRUE(std::filesystem::exists(folder_.path())) << "one that is under way stays";
}

TEST_F(OutlivingFolderTest, AnEndComesBackAsItWent) {
  OutlivingEnd end;
  end.result = {RunStatus::failed, "exit-status", "", "exit code 3", R"({"exitCode":3})", false};
  end.ended_at = 77;
  EXPECT_FALSE(folder_.has_end());
  ASSERT_TRUE(folder_.write(end));
  EXPECT_EQ(OutlivingStage::ended, stage());
  const auto back = folder_.end();
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(RunStatus::failed, back->result.status);
  EXPECT_EQ("exit-status", back->result.reason);
  EXPECT_EQ("exit code 3", back->result.detail);
  EXPECT_EQ(R"({"exitCode":3})", back->result.data);
  EXPECT_FALSE(back->result.nothing_survives);
  EXPECT_EQ(77, back->ended_at);
}

TEST_F(OutlivingFolderTest, AnEndThatIsNoneIsSaidToBeSo) {
  for (const char* text : {"", "{}", "[]", R"({"status":"running","data":"{}","endedAt":1})",
                           R"({"status":"complete","data":{},"endedAt":1})",
                           R"({"status":"complete","data":"{}","endedAt":-1})"}) {
    write(folder_.path() / "end.json", text);
    const auto end = folder_.end();
    ASSERT_FALSE(end) << text;
    EXPECT_EQ(ErrorCode::corrupt, end.error().code) << text;
  }
}

TEST_F(OutlivingFolderTest, IsClaimedOnceAndSeenToLive) {
  EXPECT_EQ(OutlivingStage::waiting, stage());
  {
    const auto claimed = folder_.claim();
    ASSERT_TRUE(claimed && *claimed);
    EXPECT_EQ(OutlivingStage::live, stage(true)) << "what has begun can't be withdrawn";
    const auto again = folder_.claim();
    ASSERT_TRUE(again);
    EXPECT_FALSE(*again);
  }
  EXPECT_EQ(OutlivingStage::lost, stage(true));
  EXPECT_FALSE(*folder_.claim()) << "nor does it begin again when its recorder is gone";
}

TEST_F(OutlivingFolderTest, WhatWasWithdrawnNeverBegins) {
  EXPECT_EQ(OutlivingStage::withdrawn, stage(true));
  EXPECT_EQ(OutlivingStage::withdrawn, stage());
  EXPECT_FALSE(*folder_.claim());
  folder_.remove();
  EXPECT_EQ(OutlivingStage::missing, stage(true));
}

TEST_F(OutlivingFolderTest, OfManyThatComeAtOnceOneBegins) {
  for (int round = 0; round < 20; ++round) {
    folder_.remove();
    ASSERT_TRUE(OutlivingFolder::prepare(spool_, kTask, 100)->move_to(folder_));
    std::atomic<int> begun = 0;
    std::atomic<int> withdrawn = 0;
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        if (i % 2 == 0) {
          auto claimed = folder_.claim();
          if (claimed && *claimed) ++begun;
        } else if (const auto stage = folder_.stage(true); stage && *stage == OutlivingStage::withdrawn) {
          withdrawn = 1;
        }
      });
    }
    threads.clear();
    EXPECT_EQ(1, begun + withdrawn);
  }
}

TEST_F(OutlivingFolderTest, TheFirstCauseOfAStopCounts) {
  EXPECT_FALSE(folder_.asked_to_stop());
  ASSERT_TRUE(folder_.ask_to_stop(StopCause::replaced));
  ASSERT_TRUE(folder_.ask_to_stop(StopCause::cancel));
  EXPECT_EQ(StopCause::replaced, folder_.asked_to_stop());
  write(folder_.stop_file(), "whatever");
  EXPECT_FALSE(folder_.asked_to_stop());
}

/// What can't be read at this moment: opening it fails, whoever we are.
void make_unreadable(const std::filesystem::path& file) {
  std::filesystem::remove(file);
  std::filesystem::create_symlink(file.filename(), file);
}

TEST_F(OutlivingFolderTest, AClaimThatCannotBeReadIsNotNobodys) {
  {
    const auto claimed = folder_.claim();
    ASSERT_TRUE(claimed && *claimed);
  }
  const auto claim = folder_.path() / "claim";
  make_unreadable(claim);
  EXPECT_FALSE(folder_.stage(true)) << "it is not withdrawn, as it has begun";
  EXPECT_FALSE(folder_.claim()) << "nor does it begin again";
  std::filesystem::remove(claim);
  write(claim, "begun\n");
  EXPECT_EQ(OutlivingStage::lost, stage(true));
}

TEST_F(OutlivingFolderTest, AnEndThatCannotBeReadNowIsNotCorrupt) {
  make_unreadable(folder_.path() / "end.json");
  EXPECT_EQ(OutlivingStage::ended, stage());
  EXPECT_EQ(ErrorCode::io, folder_.end().error().code);
}

TEST_F(OutlivingFolderTest, HasRoomForWhatHasToBeWrittenWhateverTheDisk) {
  for (const char* file : {"claim", "stop", "end.json"}) {
    std::error_code none;
    const auto room = folder_.path() / (std::string(file) + ".room");
    EXPECT_GE(std::filesystem::file_size(room, none), 4096U) << file;
  }
}

TEST_F(OutlivingFolderTest, WhatIsBeingRemovedDoesNotBegin) {
  for (int round = 0; round < 20; ++round) {
    folder_.remove();
    ASSERT_TRUE(OutlivingFolder::prepare(spool_, kTask, 100)->move_to(folder_));
    ASSERT_TRUE(folder_.write(OutlivingRequest{kTask, kRun, 1, "{}", "", 0, 100}));
    // So that a removal takes a while, and removes the claim somewhere on its way.
    for (int i = 0; i < 300; ++i) std::ofstream(folder_.path() / std::to_string(i)) << i;
    ASSERT_EQ(OutlivingStage::withdrawn, stage(true));
    std::atomic<bool> removed = false;
    std::atomic<int> begun = 0;
    std::jthread late([&] {
      while (!removed) {
        const auto claimed = folder_.claim();
        if (claimed && *claimed && folder_.request()) ++begun;
      }
    });
    folder_.remove();
    removed = true;
    late.join();
    ASSERT_EQ(0, begun) << round;
  }
}

TEST_F(OutlivingFolderTest, ARemovalThatWasCutOffIsMadeGood) {
  const OutlivingFolder left(folder_.path().string() + ".outliving-gone");
  std::filesystem::create_directory(left.path());
  write(left.path() / "stdout", "");
  EXPECT_TRUE(left.is_removed());
  EXPECT_FALSE(folder_.is_removed());
  folder_.remove();
  EXPECT_TRUE(std::filesystem::is_empty(spool_));
  std::filesystem::create_directory(left.path());
  left.remove();
  EXPECT_TRUE(std::filesystem::is_empty(spool_));
}

}  // namespace
}  // namespace agenttask::agent
