#include "server/store/lineage.hpp"

#include "server/store/enrollment.hpp"
#include "tests/component/server_store/reference_device.hpp"
#include "tests/component/server_store/store_fixture.hpp"

// Copied disks, ledgers from a backup, lost ledgers, and servers that were put back.
namespace agenttask::server::test {
namespace {

constexpr std::chrono::minutes kLongAfter{6};

class LineageTest : public StoreTest {
 protected:
  PollAnswer polled(const ReferenceDevice& from) {
    const auto row = node_row();
    const auto asked = decode_poll_request(encode(from.poll())).value();
    const auto need = read([&](const ReadStore& reads) { return examine_poll(reads, row, asked); });
    if (need != PollNeed::write)
      return read([&](const ReadStore& reads) { return answer_poll(reads, row, asked); });
    return write([&](WriteStore& writes) { return apply_poll(writes, row, asked, clock.wall(), logger); });
  }
  PollAnswer poll(ReferenceDevice& from) {
    auto answer = polled(from);
    from.take(answer);
    return answer;
  }
  ReportAnswer post(ReferenceDevice& from) {
    const auto row = node_row();
    const auto answer = write([&](WriteStore& writes) {
      return apply_reports(writes, row, from.post(), clock.wall(), logger).value();
    });
    from.take(answer);
    return answer;
  }
  /// The device has its first epoch and is up to date.
  void meet(ReferenceDevice& from) {
    poll(from);
    post(from);
    poll(from);
    poll(from);
  }
  void release() {
    write([&](WriteStore& writes) {
      auto row = writes.node(node).value();
      return server::release(writes, row);
    });
  }
  bool quarantined() { return node_row().quarantined_at.has_value(); }
  TaskState state(const std::string& id) { return task(id).task.state; }
  agenttask::Run only_run(const std::string& id) {
    const auto runs = read([&](const ReadStore& reads) { return reads.runs(id); });
    EXPECT_EQ(runs.size(), 1U);
    return runs.empty() ? agenttask::Run{} : runs.front();
  }

  ReferenceDevice device{node};
};

TEST_F(LineageTest, TheLogTellsOfAQuarantineOnceItIsKept) {
  meet(device);
  ReferenceDevice stranger(node);
  stranger.incarnation = "never heard of";
  Logger telling(LogLevel::warning, LogFormat::text);
  const auto attempt = [&](bool commits) {
    const auto row = node_row();
    ::testing::internal::CaptureStderr();
    expect(session->begin());
    expect(session->begin_job());
    (void)apply_poll(session->store(), row, stranger.poll(), clock.wall(), telling);
    expect(session->end_job(true));
    if (commits) {
      expect(session->commit());
    } else {
      session->rollback();
    }
    EXPECT_EQ(::testing::internal::GetCapturedStderr(), "") << "not before";
    ::testing::internal::CaptureStderr();
    for (const auto& action : session->take_actions()) action();
    (void)session->take_touched();
    return ::testing::internal::GetCapturedStderr();
  };
  EXPECT_EQ(attempt(false), "");
  EXPECT_FALSE(quarantined());
  const auto told = attempt(true);
  EXPECT_TRUE(quarantined());
  EXPECT_NE(told.find("a device is in quarantine"), std::string::npos) << told;
  EXPECT_NE(told.find("node=" + node), std::string::npos) << told;
}

TEST_F(LineageTest, RestartsFollowEachOther) {
  meet(device);
  for (const int restarts : {1, 3}) {
    for (int i = 0; i < restarts; ++i) device.restart();
    EXPECT_TRUE(polled(device).quarantined.empty());
    EXPECT_EQ(node_row().incarnation, device.incarnation);
    device.acknowledged_incarnation();
  }
  // The answer was lost: the next start names the one that the server knows, too.
  device.restart();
  polled(device);
  device.restart();
  EXPECT_TRUE(poll(device).quarantined.empty());
  EXPECT_FALSE(quarantined());
  EXPECT_EQ(node_row().epoch, 1);
}

TEST_F(LineageTest, APollOfAnEarlierStartIsLateAndTheOneThatGoesOnIsACopy) {
  meet(device);
  ReferenceDevice before = device;
  ReferenceDevice between = device;
  between.restart();  // its first poll reaches the server last of all
  device = between;
  device.restart();
  const auto id = add();
  poll(device);
  for (const auto* late : {&before, &between}) {
    const auto answer = polled(*late);
    EXPECT_FALSE(answer.resync);
    EXPECT_FALSE(answer.after);
    EXPECT_TRUE(answer.lines.empty());
    EXPECT_TRUE(answer.quarantined.empty());
  }
  EXPECT_EQ(node_row().incarnation, device.incarnation);
  poll(device);
  EXPECT_EQ(state(id).status, TaskStatus::sent);
  // Of a dead process nothing is under way for minutes: the disk was copied, and this is the other one.
  clock.advance(kLongAfter);
  EXPECT_FALSE(polled(before).quarantined.empty());
  EXPECT_TRUE(quarantined());
}

TEST_F(LineageTest, AClockThatWasAheadMakesACopyNoLateMessage) {
  meet(device);
  ReferenceDevice copy = device;
  clock.advance(std::chrono::hours(48));
  device.restart();
  poll(device);
  clock.set_wall(clock.wall() - 48 * 3'600'000LL);
  EXPECT_FALSE(polled(copy).quarantined.empty());
  EXPECT_TRUE(quarantined());
}

TEST_F(LineageTest, AClockThatWasAheadMakesAMachinePutBackNoLateMessage) {
  meet(device);
  ReferenceDevice back = device;
  add();
  clock.advance(std::chrono::hours(48));
  poll(device);
  poll(device);
  clock.set_wall(clock.wall() - 48 * 3'600'000LL);
  EXPECT_TRUE(polled(back).resync);
}

TEST_F(LineageTest, LateReportsOfAnEarlierStartAreNotTaken) {
  const auto id = add();
  meet(device);
  device.start(id);
  ReferenceDevice before = device;
  device.restart();
  // Its poll says first whether it follows.
  EXPECT_EQ(post(device).reports.sequence, device.post().after.sequence);
  EXPECT_EQ(state(id).status, TaskStatus::sent);
  poll(device);
  EXPECT_EQ(post(before).reports.sequence, device.acknowledged.sequence);
  EXPECT_EQ(state(id).status, TaskStatus::sent);
  post(device);
  EXPECT_EQ(state(id).reason, "interrupted");
}

TEST_F(LineageTest, ACopiedDiskIsQuarantinedAtItsFirstContact) {
  const auto id = add();
  meet(device);
  ReferenceDevice copy = device;
  device.restart();
  poll(device);
  device.acknowledged_incarnation();
  const auto later = add();
  copy.restart();
  copy.start(id);
  const auto reports = post(copy);
  EXPECT_FALSE(reports.resync);
  EXPECT_EQ(reports.reports, copy.post().after);
  const auto answer = poll(copy);
  EXPECT_FALSE(answer.quarantined.empty());
  EXPECT_FALSE(answer.resync);
  EXPECT_TRUE(answer.lines.empty());
  ASSERT_TRUE(quarantined());
  EXPECT_EQ(node_row().incarnation, device.incarnation);
  // From now on nothing is offered to either, and nothing is applied.
  EXPECT_FALSE(poll(device).quarantined.empty());
  device.start(id);
  EXPECT_EQ(post(device).reports, device.post().after);
  EXPECT_EQ(state(id).status, TaskStatus::sent);
  EXPECT_EQ(state(later).status, TaskStatus::pending);
  EXPECT_FALSE(task(later).offered);
  // Released, with the copy gone: the device goes on where it was, and nothing was lost.
  release();
  EXPECT_FALSE(quarantined());
  EXPECT_TRUE(poll(device).quarantined.empty());
  post(device);
  poll(device);
  EXPECT_EQ(state(id).status, TaskStatus::running);
  EXPECT_EQ(state(later).status, TaskStatus::sent);
  EXPECT_EQ(node_row().epoch, 1);
  // The copy comes again: not released with it.
  EXPECT_FALSE(polled(copy).quarantined.empty());
}

TEST_F(LineageTest, ALostLedgerStartsNothingTwiceAndNothingIsCalledWhatItIsNot) {
  const auto waiting = add();
  const auto running = add();
  const auto done = add();
  meet(device);
  device.start(done);
  device.finish(TaskStatus::complete);
  device.start(running);
  post(device);
  const auto offered = add();
  polled(device);  // the answer may have arrived before the ledger was lost
  const auto queued = add();
  ReferenceDevice fresh(node);
  fresh.incarnation = "another";
  EXPECT_FALSE(poll(fresh).quarantined.empty());
  ASSERT_TRUE(quarantined());
  EXPECT_EQ(state(running).status, TaskStatus::running);
  release();
  const auto resync = poll(fresh);
  EXPECT_TRUE(resync.resync);
  EXPECT_EQ(resync.epoch, 2);
  EXPECT_FALSE(resync.quarantined.empty()) << "nothing may start before the snapshot is there";
  EXPECT_TRUE(poll(fresh).lines.empty());
  post(fresh);
  const auto answer = poll(fresh);
  EXPECT_TRUE(answer.quarantined.empty());
  EXPECT_EQ(answer.lines.size(), 1U);
  poll(fresh);
  for (const auto& id : {waiting, running, offered}) {
    EXPECT_FALSE(fresh.inbox.contains(id));
    EXPECT_EQ(state(id).status, TaskStatus::failed);
    EXPECT_EQ(state(id).reason, "interrupted");
    EXPECT_NE(state(id).detail.find("ledger"), std::string::npos);
    EXPECT_TRUE(task(id).decided_alone);
  }
  const auto runs = read([&](const ReadStore& reads) { return reads.runs(running); });
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].status, RunStatus::failed);
  EXPECT_EQ(state(done).status, TaskStatus::complete);
  EXPECT_EQ(state(queued).status, TaskStatus::sent) << "it was never offered: it runs here";
  // The right ledger comes back: its truth stands.
  device.finish(TaskStatus::complete);
  device.restart();
  EXPECT_FALSE(poll(device).quarantined.empty());
  release();
  poll(device);
  post(device);
  poll(device);
  EXPECT_EQ(state(running).status, TaskStatus::complete);
  EXPECT_EQ(state(waiting).status, TaskStatus::sent);
  device.start(waiting);
  device.finish(TaskStatus::complete);
  post(device);
  EXPECT_EQ(state(waiting).status, TaskStatus::complete);
}

TEST_F(LineageTest, AnOldLedgerRunsNothingAgain) {
  const auto done = add();
  const auto running = add();
  const auto waiting = add();
  meet(device);
  ReferenceDevice old = device;
  device.restart();
  poll(device);
  device.acknowledged_incarnation();
  const auto later = add();
  poll(device);
  poll(device);
  device.start(done);
  device.finish(TaskStatus::complete);
  device.start(running);
  post(device);
  old.restart();
  poll(old);
  ASSERT_TRUE(quarantined());
  release();
  poll(old);
  post(old);
  poll(old);
  post(old);
  EXPECT_EQ(old.inbox.at(done).state.status, TaskStatus::cancelled) << "it must not start again";
  EXPECT_EQ(old.inbox.at(running).state.status, TaskStatus::cancelled);
  EXPECT_EQ(state(done).status, TaskStatus::complete);
  EXPECT_EQ(state(running).status, TaskStatus::failed);
  EXPECT_EQ(state(running).reason, "interrupted");
  EXPECT_EQ(state(later).reason, "interrupted");
  EXPECT_EQ(state(waiting).status, TaskStatus::sent);
  EXPECT_EQ(old.inbox.at(waiting).state.status, TaskStatus::sent);
}

TEST_F(LineageTest, ALedgerThatLostItsLastWritesInAPowerCutGoesOnInANewEpoch) {
  const auto kept = add();
  meet(device);
  ReferenceDevice lost = device;
  const auto gone = add();
  poll(device);
  poll(device);
  EXPECT_EQ(state(gone).status, TaskStatus::sent);
  lost.restart();
  const auto resync = poll(lost);
  EXPECT_TRUE(resync.resync);
  EXPECT_EQ(resync.epoch, 2);
  EXPECT_FALSE(quarantined());
  post(lost);
  poll(lost);
  EXPECT_EQ(state(gone).status, TaskStatus::failed);
  EXPECT_EQ(state(gone).reason, "interrupted");
  EXPECT_EQ(state(kept).status, TaskStatus::sent);
}

TEST_F(LineageTest, AMachinePutBackWhileItRunsGetsOn) {
  meet(device);
  ReferenceDevice back = device;  // its memory too: the same start of the agent
  const auto id = add();
  poll(device);
  poll(device);
  EXPECT_FALSE(polled(back).resync) << "it may be late";
  clock.advance(kLongAfter);
  EXPECT_TRUE(poll(back).resync);
  post(back);
  EXPECT_TRUE(poll(back).quarantined.empty());
  EXPECT_EQ(state(id).reason, "interrupted");
  // The same after another epoch.
  ReferenceDevice older(node);
  older.incarnation = back.incarnation;
  EXPECT_FALSE(polled(older).resync);
  clock.advance(kLongAfter);
  const auto answer = poll(older);
  EXPECT_TRUE(answer.resync);
  EXPECT_EQ(answer.epoch, 3);
}

TEST_F(LineageTest, AServerThatWasPutBackQuarantinesNobody) {
  meet(device);
  close();
  std::filesystem::copy_file(file(), folder.path() / "copy.db");
  open();
  // Since then the device was only started anew, twice.
  for (int i = 0; i < 2; ++i) {
    device.restart();
    poll(device);
    device.acknowledged_incarnation();
  }
  for (const bool restarted : {false, true}) {
    close();
    std::filesystem::copy_file(folder.path() / "copy.db", file(),
                               std::filesystem::copy_options::overwrite_existing);
    open();
    if (restarted) device.restart();
    const auto epoch = node_row().epoch;
    EXPECT_TRUE(poll(device).resync);
    EXPECT_GT(node_row().epoch, epoch);
    EXPECT_FALSE(quarantined());
    post(device);
    EXPECT_TRUE(poll(device).quarantined.empty());
  }
}

TEST_F(LineageTest, EnrollingAgainEndsAQuarantine) {
  meet(device);
  ReferenceDevice fresh(node);
  fresh.incarnation = "another";
  poll(fresh);
  ASSERT_TRUE(quarantined());
  write([&](WriteStore& writes) {
    auto row = writes.node(node).value();
    replace_node(writes, row, clock.wall());
    return 0;
  });
  EXPECT_FALSE(quarantined());
  EXPECT_TRUE(poll(fresh).resync);
  EXPECT_TRUE(poll(fresh).quarantined.empty());
}

TEST_F(LineageTest, ADeviceThatEnrolsAgainInItsOwnPlaceGoesOnWithItsTasks) {
  const auto running = add();
  const auto waiting = add();
  meet(device);
  device.start(running);
  post(device);
  write([&](WriteStore& writes) {
    auto row = writes.node(node).value();
    replace_node(writes, row, clock.wall());
    return 0;
  });
  for (const auto& id : {running, waiting}) EXPECT_EQ(state(id).reason, "interrupted");
  EXPECT_EQ(only_run(running).status, RunStatus::failed);
  EXPECT_TRUE(poll(device).resync);
  post(device);
  EXPECT_EQ(only_run(running).status, RunStatus::running);
  EXPECT_FALSE(only_run(running).end_time);
  // Neither has ended on the device: what was given up for lost was not.
  EXPECT_EQ(state(running).status, TaskStatus::running);
  EXPECT_EQ(state(waiting).status, TaskStatus::sent);
  EXPECT_FALSE(state(waiting).end_time);
  EXPECT_EQ(state(waiting).result, "");
  device.finish(TaskStatus::complete);
  device.start(waiting);
  device.finish(TaskStatus::complete);
  post(device);
  for (const auto& id : {running, waiting}) {
    EXPECT_EQ(state(id).status, TaskStatus::complete);
    EXPECT_EQ(only_run(id).status, RunStatus::complete);
  }
}

TEST_F(LineageTest, ARevokedNodeLeavesNoRunBehind) {
  const auto running = add();
  meet(device);
  device.start(running);
  post(device);
  ASSERT_EQ(only_run(running).status, RunStatus::running);
  write([&](WriteStore& writes) {
    auto row = writes.node(node).value();
    retire_node(writes, row, clock.wall());
    return 0;
  });
  EXPECT_EQ(state(running).reason, "interrupted");
  EXPECT_EQ(only_run(running).status, RunStatus::failed);
  EXPECT_EQ(only_run(running).reason, "interrupted");
  EXPECT_EQ(only_run(running).end_time, clock.wall());
}

}  // namespace
}  // namespace agenttask::server::test
