#include <fstream>

#include "platform/protocol/json.hpp"
#include "server/store/lineage.hpp"
#include "server/store/store_copy.hpp"
#include "tests/component/server_store/reference_device.hpp"
#include "tests/component/server_store/store_fixture.hpp"

// Servers that were put back from a backup, ledgers that were saved from damaged ones, and those that can't
// be used.
namespace agenttask::server::test {
namespace {

class RestoresTest : public StoreTest {
 protected:
  PollAnswer polled(const PollRequest& request) {
    const auto row = node_row();
    const auto asked = decode_poll_request(encode(request)).value();
    const auto need = read([&](const ReadStore& reads) { return examine_poll(reads, row, asked); });
    if (need != PollNeed::write)
      return read([&](const ReadStore& reads) { return answer_poll(reads, row, asked); });
    return write([&](WriteStore& writes) { return apply_poll(writes, row, asked, clock.wall(), logger); });
  }
  PollAnswer poll() {
    auto request = device.poll();
    request.incomplete = incomplete && device.epoch == 0;
    auto answer = polled(request);
    device.take(answer);
    return answer;
  }
  void post() {
    const auto row = node_row();
    const auto answer = write([&](WriteStore& writes) {
      return apply_reports(writes, row, device.post(), clock.wall(), logger).value();
    });
    device.take(answer);
  }
  /// Until both have nothing to tell each other.
  void settle() {
    for (int i = 0; i < 4; ++i) {
      poll();
      post();
    }
  }
  void back_up() {
    std::filesystem::remove(backup());
    const auto done = copy_sqlite_store(file(), backup());
    ASSERT_TRUE(done) << done.error().message;
    taken = clock.wall();
  }
  void restore() {
    close();
    for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file().string() + part);
    std::filesystem::copy_file(backup(), file());
    const auto prepared = prepare_restored_store(file(), taken, clock.wall());
    ASSERT_TRUE(prepared) << prepared.error().message;
    before = *prepared;
    open();
  }
  [[nodiscard]] std::filesystem::path backup() const { return folder.path() / "backup.db"; }
  TaskState state(const std::string& id) { return task(id).task.state; }

  ReferenceDevice device{node};
  bool incomplete = false;
  UnixMilliseconds taken = 0;
  StoreContents before;
};

TEST_F(RestoresTest, ADeviceThatDidNothingSinceBeginsANewEpochToo) {
  const auto waiting = add();
  settle();
  back_up();
  restore();
  EXPECT_EQ(1, before.nodes);
  EXPECT_TRUE(node_row().restored);
  const auto epoch = node_row().epoch;
  EXPECT_TRUE(poll().resync);
  EXPECT_EQ(epoch + 1, node_row().epoch);
  EXPECT_FALSE(node_row().restored);
  settle();
  EXPECT_EQ(epoch + 1, node_row().epoch) << "once";
  EXPECT_EQ(TaskStatus::sent, state(waiting).status);
  EXPECT_FALSE(node_row().quarantined_at);
}

TEST_F(RestoresTest, WhatMayHaveBeenOfferedSinceIsNotDecidedAlone) {
  settle();
  const auto waiting = add();
  back_up();
  settle();
  device.start(waiting);
  device.finish(TaskStatus::complete);
  settle();
  EXPECT_EQ(TaskStatus::complete, state(waiting).status);
  restore();
  EXPECT_EQ(TaskStatus::pending, state(waiting).status);
  EXPECT_TRUE(task(waiting).offered) << "a cancel now asks the device";
  settle();
  EXPECT_EQ(TaskStatus::complete, state(waiting).status);
}

TEST_F(RestoresTest, ADeviceThatWasStartedAgainAndAgainSinceIsNoStranger) {
  settle();
  back_up();
  for (int i = 0; i < 3; ++i) {
    device.restart();
    poll();
    device.acknowledged_incarnation();
  }
  restore();
  settle();
  EXPECT_FALSE(node_row().quarantined_at);
  EXPECT_EQ(device.epoch, node_row().epoch);
}

TEST_F(RestoresTest, AnOldLedgerIsStillNoticed) {
  settle();
  const ReferenceDevice old = device;
  add();
  settle();
  back_up();
  restore();
  device = old;
  device.incarnation = "of a disk that was put back";
  device.predecessors = {"long ago"};
  EXPECT_FALSE(poll().quarantined.empty());
  EXPECT_TRUE(node_row().quarantined_at);
}

TEST_F(RestoresTest, TokensAreVoidAndTheLostTimeIsKnown) {
  write([&](WriteStore& writes) {
    writes.insert_enrollment_token({.id = "one",
                                    .label = "",
                                    .secret_hash = "hash",
                                    .uses = 3,
                                    .used = 1,
                                    .labels = {},
                                    .replace_node = "",
                                    .created_at = clock.wall(),
                                    .created_by = "tester",
                                    .expires_at = clock.wall() + 36'000'000});
    return 0;
  });
  back_up();
  clock.advance(std::chrono::hours(2));
  restore();
  EXPECT_EQ(1, before.enrollment_tokens);
  const auto is_lost = [&](UnixMilliseconds issued) {
    return read([&](const ReadStore& reads) { return reads.is_lost_time(issued); });
  };
  EXPECT_TRUE(read([](const ReadStore& reads) { return reads.enrollment_tokens(); }).empty());
  EXPECT_FALSE(is_lost(taken - 60'000));
  EXPECT_TRUE(is_lost(taken));
  EXPECT_TRUE(is_lost(clock.wall()));
  EXPECT_FALSE(is_lost(clock.wall() + 1));
}

TEST_F(RestoresTest, ASavedLedgerPutsAllThatWasOfferedInDoubtOnce) {
  const auto kept = add();
  const auto lost = add();
  settle();
  const auto offered = add();
  poll();  // it is on its way, and the ledger that got it is gone
  const auto later = add();
  // What a salvage leaves: the chain of starts, some tasks, and no cursors.
  device.restart();
  device.inbox.erase(lost);
  device.inbox.erase(offered);
  device.epoch = 0;
  device.directives = device.acknowledged = Cursor{};
  device.out.clear();
  incomplete = true;
  const auto before_it = node_row().epoch;
  auto request = device.poll();
  request.incomplete = true;
  EXPECT_TRUE(polled(request).resync);
  EXPECT_TRUE(polled(request).resync) << "the answer was lost, and is given again";
  EXPECT_EQ(before_it + 1, node_row().epoch) << "one epoch for both";
  EXPECT_FALSE(node_row().quarantined_at);
  settle();
  EXPECT_EQ(before_it + 1, node_row().epoch);
  EXPECT_EQ(TaskStatus::sent, state(kept).status);
  for (const auto& id : {lost, offered}) {
    EXPECT_EQ(TaskStatus::failed, state(id).status);
    EXPECT_EQ(reason::kInterrupted, state(id).reason);
  }
  EXPECT_EQ(TaskStatus::sent, state(later).status) << "it was never offered, and comes now";
  // Late, the first poll changes nothing.
  EXPECT_FALSE(polled(request).resync);
  EXPECT_EQ(before_it + 1, node_row().epoch);
}

TEST_F(RestoresTest, ADeviceThatCanNotUseItsLedgerIsGivenNothing) {
  settle();
  const auto waiting = add();
  const auto row = node_row();
  PollRequest request;
  request.protocol = protocol_version();
  request.name = "alpha";
  request.version = row.version;
  request.platform = row.platform;
  request.ledger = LedgerProblem{"corrupt", "page 7"};
  const auto asked = decode_poll_request(encode(request));
  ASSERT_TRUE(asked) << asked.error().message;
  EXPECT_EQ(request.ledger, asked->ledger);
  EXPECT_EQ(PollNeed::write, examine_ledger_problem(node_row(), *asked));
  write([&](WriteStore& writes) {
    apply_ledger_problem(writes, node_row(), *asked, logger);
    return 0;
  });
  EXPECT_EQ(PollNeed::nothing, examine_ledger_problem(node_row(), *asked)) << "it is known, and can wait";
  const auto said = parse_json(node_row().ledger_problem);
  ASSERT_TRUE(said);
  EXPECT_EQ(row.incarnation, node_row().incarnation);
  EXPECT_EQ(row.offered, node_row().offered);
  EXPECT_EQ(TaskStatus::pending, state(waiting).status);
  settle();
  EXPECT_TRUE(node_row().ledger_problem.empty());
  EXPECT_EQ(TaskStatus::sent, state(waiting).status);
}

TEST_F(RestoresTest, ADatabaseThatIsPutInIsWholeWithoutItsLog) {
  settle();
  back_up();
  ASSERT_TRUE(prepare_restored_store(backup(), taken, clock.wall()));
  EXPECT_FALSE(std::filesystem::exists(backup().string() + "-wal"));
  std::ifstream stream(backup(), std::ios::binary);
  std::string header(20, ' ');
  stream.read(header.data(), 20);
  EXPECT_EQ(1, header[18]) << "its pages are in it, and not in a log";
  EXPECT_EQ(1, header[19]);
}

TEST_F(RestoresTest, AProblemOfTheLedgerIsToldOnceAndEndsInQuarantineToo) {
  settle();
  Logger telling(LogLevel::warning, LogFormat::text);
  const auto say = [&](const std::string& code, const std::string& words) {
    PollRequest request = device.poll();
    request.ledger = LedgerProblem{code, words};
    ::testing::internal::CaptureStderr();
    write([&](WriteStore& writes) {
      apply_ledger_problem(writes, node_row(), request, telling);
      return 0;
    });
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_FALSE(say("corrupt", "page 7").empty());
  EXPECT_TRUE(say("corrupt", "page 8").empty()) << "only the words differ";
  EXPECT_NE(std::string::npos, node_row().ledger_problem.find("page 8"));
  EXPECT_FALSE(say("io", "page 8").empty());
  // It was reset: another ledger, that follows nothing, and that it can use.
  device = ReferenceDevice(node);
  device.incarnation = "of the new ledger";
  EXPECT_FALSE(poll().quarantined.empty());
  ASSERT_TRUE(node_row().quarantined_at);
  EXPECT_EQ("", node_row().ledger_problem);
  // The same where it could not use its ledger for a while in quarantine.
  EXPECT_FALSE(say("corrupt", "page 9").empty());
  EXPECT_FALSE(node_row().ledger_problem.empty());
  EXPECT_FALSE(poll().quarantined.empty());
  EXPECT_EQ("", node_row().ledger_problem);
  const auto row = node_row();
  const auto again = device.poll();
  EXPECT_EQ(PollNeed::nothing, read([&](const ReadStore& reads) { return examine_poll(reads, row, again); }));
}

}  // namespace
}  // namespace agenttask::server::test
