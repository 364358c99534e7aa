#include <fstream>

#include "platform/protocol/json.hpp"
#include "server/store/housekeeping.hpp"
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
    request.hold = device.hold;
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
  /// By hand, so nothing tells the server what may have been offered since.
  void put_back() {
    close();
    for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file().string() + part);
    std::filesystem::copy_file(backup(), file());
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
  device.restart();
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
  EXPECT_EQ(PollNeed::write, examine_ledger_problem(node_row(), *asked, false));
  write([&](WriteStore& writes) {
    apply_ledger_problem(writes, node_row(), *asked, logger);
    return 0;
  });
  EXPECT_EQ(PollNeed::nothing, examine_ledger_problem(node_row(), *asked, true))
      << "it is known, and can wait";
  PollRequest other = *asked;
  other.ledger->detail = "page 8";
  EXPECT_EQ(PollNeed::nothing, examine_ledger_problem(node_row(), other, false))
      << "only its words are others";
  EXPECT_EQ(PollNeed::write, examine_ledger_problem(node_row(), other, true));
  other.ledger->code = "io";
  EXPECT_EQ(PollNeed::write, examine_ledger_problem(node_row(), other, false));
  other = *asked;
  other.version = "another";
  EXPECT_EQ(PollNeed::write, examine_ledger_problem(node_row(), other, false));
  const auto said = parse_json(node_row().ledger_problem);
  ASSERT_TRUE(said);
  EXPECT_EQ(row.incarnation, node_row().incarnation);
  EXPECT_EQ(row.offered, node_row().offered);
  EXPECT_EQ(TaskStatus::pending, state(waiting).status);
  settle();
  EXPECT_TRUE(node_row().ledger_problem.empty());
  EXPECT_EQ(TaskStatus::sent, state(waiting).status);
}

TEST_F(RestoresTest, WhatTheDeviceWasAskedSinceIsNotUndone) {
  TaskSpec recurring = spec();
  recurring.schedule.update_interval = 60'000;
  const auto paused = add(recurring);
  recurring.id = make_uuid(clock.wall());
  const auto asked = add(recurring);
  const auto ended = add();
  settle();
  const auto steer = [&](const std::string& id, DirectiveKind kind) {
    const auto record = task(id);
    write([&](WriteStore& writes) {
      (void)steer_task(writes, record, kind, clock.wall());
      return 0;
    });
  };
  const auto hold = [&](bool on) {
    write([&](WriteStore& writes) {
      auto row = writes.node(node).value();
      return set_hold(writes, row, on);
    });
  };
  // These wait in the backup, and reach the device after it was taken; later it is asked otherwise.
  steer(paused, DirectiveKind::pause);
  steer(asked, DirectiveKind::run);
  hold(true);
  write([&](WriteStore& writes) {
    (void)cancel_task(writes, writes.task(ended, WithData::yes).value(), clock.wall());
    return 0;
  });
  back_up();
  settle();
  ASSERT_TRUE(device.hold && device.inbox.at(paused).state.paused);
  steer(paused, DirectiveKind::resume);
  hold(false);
  settle();
  ASSERT_FALSE(device.hold || device.inbox.at(paused).state.paused);
  device.inbox.at(ended).state.status = TaskStatus::sent;  // as if the cancel had not come
  restore();
  EXPECT_TRUE(node_row().hold_wanted);
  Logger telling(LogLevel::warning, LogFormat::text);
  auto first = decode_poll_request(encode(device.poll())).value();
  ::testing::internal::CaptureStderr();
  device.take(write(
      [&](WriteStore& writes) { return apply_poll(writes, node_row(), first, clock.wall(), telling); }));
  const auto told = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(std::string::npos, told.find("dropped=2")) << told;
  EXPECT_FALSE(node_row().hold_wanted);
  settle();
  EXPECT_FALSE(device.hold);
  EXPECT_FALSE(device.inbox.at(paused).state.paused);
  EXPECT_FALSE(state(paused).paused);
  EXPECT_EQ(TaskStatus::cancelled, device.inbox.at(ended).state.status) << "a cancel stays";
  EXPECT_EQ(1, device.extra_runs[asked]) << "a run is asked for again, and answered once";
  EXPECT_TRUE(read([&](const ReadStore& reads) { return reads.queued_directives(node, 10); }).empty());
}

TEST_F(RestoresTest, AServerWithoutARestoreStillAsksForAllOfIt) {
  TaskSpec recurring = spec();
  recurring.schedule.update_interval = 60'000;
  const auto paused = add(recurring);
  settle();
  const auto record = task(paused);
  write([&](WriteStore& writes) {
    (void)steer_task(writes, record, DirectiveKind::pause, clock.wall());
    auto row = writes.node(node).value();
    open_epoch(writes, row, row.epoch, clock.wall());
    return 0;
  });
  settle();
  EXPECT_TRUE(device.inbox.at(paused).state.paused);
}

TEST_F(RestoresTest, ADeletionThatWasAcceptedIsOneInANewEpochToo) {
  const auto id = add();
  settle();
  device.start(id);
  device.finish(TaskStatus::complete);
  write([&](WriteStore& writes) { return delete_task(writes, task(id), clock.wall()).answer; });
  post();  // it ended before its device was told
  ASSERT_EQ(TaskStatus::complete, state(id).status);
  write([&](WriteStore& writes) {
    auto row = writes.node(node).value();
    open_epoch(writes, row, row.epoch, clock.wall());
    return 0;
  });
  EXPECT_TRUE(state(id).deleted_at);
}

TEST_F(RestoresTest, ADeletionThatALedgerForgotBeforeItToldOfItHoldsAllTheSame) {
  const auto ended = add();
  const auto waiting = add();
  settle();
  device.start(ended);
  device.finish(TaskStatus::complete);
  settle();
  const ReferenceDevice old = device;
  for (const auto& id : {ended, waiting})
    write([&](WriteStore& writes) { return delete_task(writes, task(id), clock.wall()).answer; });
  poll();
  poll();  // it has them, and says so; what they did to its tasks it has not told yet
  EXPECT_TRUE(state(waiting).deleted_at);
  device = old;
  device.restart();
  settle();
  EXPECT_TRUE(state(ended).deleted_at);
  EXPECT_TRUE(state(waiting).deleted_at);
  EXPECT_EQ(TaskStatus::cancelled, state(waiting).status);
  EXPECT_EQ(TaskStatus::cancelled, device.inbox.at(waiting).state.status) << "it is asked again";
}

TEST_F(RestoresTest, WhatTheServerSaidOfAnEndAloneDoesNotStandBesideTheDevicesEnd) {
  settle();
  TaskSpec wanted = spec();
  wanted.options.expires_at = clock.wall() + 1000;
  const auto id = add(wanted);
  back_up();
  settle();
  clock.advance(std::chrono::seconds(2));
  device.end(id, TaskStatus::failed, std::string(reason::kExpired));
  put_back();
  write([&](WriteStore& writes) { return expire_tasks(writes, clock.wall(), 10); });
  ASSERT_NE("", state(id).result);
  settle();
  EXPECT_EQ(TaskStatus::failed, state(id).status);
  EXPECT_FALSE(task(id).decided_alone);
  EXPECT_EQ("", state(id).result) << "it said that the device never had it";
}

TEST_F(RestoresTest, ACancelOfTheServerAloneGivesWayToTheDevicesOwn) {
  settle();
  const auto held = add();
  back_up();
  settle();
  ASSERT_TRUE(device.inbox.contains(held));
  put_back();
  const auto waiting = add();
  for (const auto& id : {held, waiting}) {
    write([&](WriteStore& writes) { return cancel_task(writes, task(id), clock.wall()).answer; });
    ASSERT_EQ("cancelled before it was sent to the device", state(id).detail);
  }
  const auto decided = state(waiting).end_time;
  settle();
  EXPECT_EQ(TaskStatus::cancelled, device.inbox.at(held).state.status);
  EXPECT_EQ(TaskStatus::cancelled, state(held).status);
  EXPECT_EQ(device.inbox.at(held).state.end_time, state(held).end_time);
  EXPECT_EQ("", state(held).detail) << "it had been sent";
  EXPECT_EQ(decided, state(waiting).end_time);
  EXPECT_EQ("cancelled before it was sent to the device", state(waiting).detail);
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
