#include <fstream>

#include "server/store/enrollment.hpp"
#include "server/store/housekeeping.hpp"
#include "server/store/presence.hpp"
#include "server/store/writer.hpp"
#include "tests/component/server_store/reference_device.hpp"
#include "tests/component/server_store/store_fixture.hpp"

namespace agenttask::server::test {
namespace {

TEST_F(StoreTest, EverythingSurvivesReopening) {
  auto wanted = spec(R"({"a":0.1,"b":9007199254740993,"c":"\u0000é"})");
  wanted.tags = {"z", "a"};
  wanted.metadata = R"({"k":[1,2]})";
  wanted.options.retry = RetryPolicy{3, 10, 20};
  wanted.options.expires_at = 99;
  const auto id = add(wanted);
  const auto before = task(id);
  reopen();
  EXPECT_EQ(task(id).task, before.task);
  EXPECT_EQ(task(id).task.spec.tags, wanted.tags);
  EXPECT_EQ(task(id).task.spec.data, wanted.data);
  EXPECT_EQ(task(id).digest, request_digest(wanted));
}

TEST_F(StoreTest, AReaderSeesOneSnapshot) {
  const auto lease = store->read().value();
  EXPECT_TRUE(lease->tasks({}, 0, 10, WithData::no).empty());
  add();
  EXPECT_TRUE(lease->tasks({}, 0, 10, WithData::no).empty());
  EXPECT_EQ(store->read().value()->tasks({}, 0, 10, WithData::no).size(), 1U);
}

TEST_F(StoreTest, OtherFilesAreRefusedAndLeftAlone) {
  const auto other = folder.path() / "other.db";
  std::ofstream(other)
      << "this is no database, but somebody's notes, long enough to be taken for a header of a file.....";
  const auto size = std::filesystem::file_size(other);
  EXPECT_FALSE(open_sqlite_store(other));
  EXPECT_EQ(std::filesystem::file_size(other), size);
}

TEST_F(StoreTest, AClosedDatabaseIsOneFile) {
  add();
  (void)store->read().value()->operators();
  close();
  EXPECT_FALSE(std::filesystem::exists(file().string() + "-wal"));
  open();
}

TEST_F(StoreTest, ListsUseTheServersOwnSequence) {
  std::vector<std::string> ids;
  ids.reserve(5);
  for (int i = 0; i < 5; ++i) ids.push_back(add());
  const auto page = read([&](const ReadStore& reads) { return reads.tasks({}, 0, 2, WithData::no); });
  EXPECT_EQ(page[0].task.spec.id, ids[4]);
  const auto rest =
      read([&](const ReadStore& reads) { return reads.tasks({}, page[1].sequence, 10, WithData::no); });
  ASSERT_EQ(rest.size(), 3U);
  EXPECT_EQ(rest[2].task.spec.id, ids[0]);
}

TEST_F(StoreTest, OnlyWhatWasNeverOfferedExpiresHere) {
  auto brief = spec();
  brief.options.expires_at = clock.wall() + 1000;
  const auto waiting = add(brief);
  auto other = spec();
  other.options.expires_at = clock.wall() + 1000;
  const auto offered = add(other);
  write([&](WriteStore& writes) {
    writes.mark_offered(offered, 1);
    return 0;
  });
  EXPECT_EQ(read([&](const ReadStore& reads) { return reads.next_expiry(); }), clock.wall() + 1000);
  clock.advance(std::chrono::milliseconds(999));
  EXPECT_EQ(write([&](WriteStore& writes) { return expire_tasks(writes, clock.wall(), 10); }), 0U);
  clock.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(write([&](WriteStore& writes) { return expire_tasks(writes, clock.wall(), 10); }), 1U);
  EXPECT_EQ(task(waiting).task.state.status, TaskStatus::failed);
  EXPECT_EQ(task(waiting).task.state.reason, "expired");
  EXPECT_NE(task(waiting).task.state.result.find("\"code\":\"expired\""), std::string::npos);
  EXPECT_EQ(task(offered).task.state.status, TaskStatus::pending);
  EXPECT_EQ(read([&](const ReadStore& reads) { return reads.queued_directives(node, 10).size(); }), 1U);
}

TEST_F(StoreTest, PurgingLeavesATombstoneAndSparesWhatIsNotAcknowledged) {
  const auto old = add();
  const auto waiting = add();
  write([&](WriteStore& writes) {
    return cancel_task(writes, writes.task(old, WithData::yes).value(), clock.wall()).answer;
  });
  // Ended on the server, while a directive about it is on its way.
  write([&](WriteStore& writes) {
    auto record = writes.task(waiting, WithData::yes).value();
    record.offered = true;
    record.task.state.status = TaskStatus::complete;
    writes.update_task_state(record);
    return 0;
  });
  const RetentionSettings settings;
  clock.set_wall(task(old).task.state.updated_at + settings.ended_tasks);
  EXPECT_EQ(write([&](WriteStore& writes) { return purge(writes, clock.wall(), settings, 10); }), 0U);
  clock.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(write([&](WriteStore& writes) { return purge(writes, clock.wall(), settings, 10); }), 1U);
  EXPECT_FALSE(read([&](const ReadStore& reads) { return reads.task(old, WithData::no); }));
  const auto tombstone = read([&](const ReadStore& reads) { return reads.tombstone(old).value(); });
  EXPECT_NE(tombstone.summary.find("cancelled"), std::string::npos);
  EXPECT_TRUE(read([&](const ReadStore& reads) { return reads.task(waiting, WithData::no).has_value(); }));
  // A report about it is no orphan, and it does not come back.
  ReferenceDevice device(node);
  device.epoch = 1;
  Task held;
  held.spec.id = old;
  held.spec.node_id = node;
  held.spec.type = "echo";
  device.report(CreatedReport{held, {}, true});
  device.report(StartedReport{old, 1, 5});
  write([&](WriteStore& writes) {
    return apply_reports(writes, writes.node(node).value(), device.post(), 1, logger).value();
  });
  EXPECT_FALSE(read([&](const ReadStore& reads) { return reads.task(old, WithData::no); }));
  EXPECT_TRUE(read([&](const ReadStore& reads) { return reads.orphans(node); }).empty());
  clock.advance(std::chrono::milliseconds(30 * limits::kDay + 1));
  write([&](WriteStore& writes) { return purge(writes, clock.wall(), settings, 10); });
  EXPECT_FALSE(read([&](const ReadStore& reads) { return reads.tombstone(old); }));
}

TEST_F(StoreTest, TheHousekeeperDoesWhatIsDueAndNothingElse) {
  auto brief = spec();
  brief.options.expires_at = clock.wall() + 1000;
  const auto id = add(brief);
  int commits = 0;
  Presence presence(clock, logger);
  Writer writer(
      std::move(session), [&](const auto&) { ++commits; }, logger);
  Bell bell;
  Housekeeper housekeeper(*store, writer, presence, clock, logger, {}, bell);
  housekeeper.tick();
  EXPECT_EQ(commits, 0);
  EXPECT_EQ(housekeeper.next_wait(), std::chrono::seconds(1));  // the task's expiry
  presence.seen(node, clock.monotonic(), clock.wall() + 500);
  clock.advance(std::chrono::milliseconds(1000));
  housekeeper.tick();
  EXPECT_EQ(commits, 1);
  EXPECT_EQ(task(id).task.state.status, TaskStatus::failed);
  EXPECT_FALSE(node_row().last_seen);
  housekeeper.tick();
  EXPECT_EQ(housekeeper.next_wait(), std::chrono::seconds(29));  // the device was seen
  clock.advance(std::chrono::seconds(30));
  housekeeper.tick();
  EXPECT_EQ(housekeeper.next_wait(), std::chrono::minutes(10) - std::chrono::seconds(31));  // nothing else
  EXPECT_EQ(node_row().last_seen, clock.wall() - 31'000);
  EXPECT_EQ(node_row().clock_offset, 500);
}

/// A task that ended, and what the housekeeper makes of it.
class Retention : public StoreTest {
 protected:
  Retention() {
    id = add();
    write([&](WriteStore& writes) {
      return cancel_task(writes, writes.task(id, WithData::yes).value(), clock.wall()).answer;
    });
    writer = std::make_unique<Writer>(
        std::move(session), [](const auto&) {}, quiet);
    start();
  }
  void start() {
    housekeeper.reset();
    housekeeper =
        std::make_unique<Housekeeper>(*store, *writer, presence, clock, quiet, RetentionSettings{}, bell);
    housekeeper->tick();
  }
  /// So many days pass, and the housekeeper looks four times a day.
  void pass(int days) {
    for (int i = 0; i < days * 4; ++i) {
      clock.advance(std::chrono::hours(6));
      housekeeper->tick();
    }
  }
  bool is_there() {
    return read([&](const ReadStore& reads) { return reads.task(id, WithData::no).has_value(); });
  }
  bool is_remembered() {
    return read([&](const ReadStore& reads) { return reads.tombstone(id).has_value(); });
  }

  std::string id;
  Logger quiet{LogLevel::error, LogFormat::text};
  Presence presence{clock, quiet};
  Bell bell;
  std::unique_ptr<Writer> writer;
  std::unique_ptr<Housekeeper> housekeeper;
};

TEST_F(Retention, FollowsTheTimeThatPasses) {
  pass(29);
  EXPECT_TRUE(is_there());
  pass(2);
  EXPECT_FALSE(is_there());
  pass(29);
  EXPECT_TRUE(is_remembered());
  pass(2);
  EXPECT_FALSE(is_remembered());
}

TEST_F(Retention, KeepsTheNewestRunsWhateverTheClockSays) {
  const auto running = writer->run([&](WriteStore& writes) -> Result<void> {
    TaskSpec wanted = spec();
    wanted.schedule.update_interval = 1000;
    const auto recurring = create_task(writes, wanted, "d", "tester", clock.wall());
    id = recurring.task.spec.id;
    EXPECT_FALSE(recurring.task.spec.options.expires_at);
    auto record = writes.task(id, WithData::no).value();
    record.task.state.run_count = 700;
    writes.update_task_state(record);
    for (std::int64_t run = 1; run <= 700; ++run)
      writes.put_run({id, run, RunStatus::complete, "", run, {}, "", run, ""});
    return {};
  });
  ASSERT_TRUE(running);
  clock.set_wall(clock.wall() + 4000 * limits::kDay);
  clock.advance(std::chrono::minutes(10));
  housekeeper->tick();
  const auto runs = read([&](const ReadStore& reads) { return reads.runs(id); });
  ASSERT_EQ(runs.size(), 200U);
  EXPECT_EQ(runs.front().number, 501);
  EXPECT_TRUE(is_there());
}

TEST_F(Retention, RemovesMessagesForTheirAge) {
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    for (int i = 0; i < 700; ++i)
      EXPECT_TRUE(writes.insert_message(
          {0, {make_uuid(clock.wall()), node, "r", "", "", 0, "{}", clock.wall()}, node, ""}, clock.wall()));
    return {};
  }));
  const auto count = [&] {
    return read([&](const ReadStore& reads) { return reads.messages({"r", "", ""}, 0, 1000).size(); });
  };
  pass(29);
  EXPECT_EQ(count(), 700U);
  clock.set_wall(clock.wall() + 4000 * limits::kDay);
  clock.advance(std::chrono::minutes(10));
  housekeeper->tick();
  EXPECT_EQ(count(), 700U) << "a clock that is set removes nothing";
  pass(31);
  EXPECT_EQ(count(), 0U);
}

TEST_F(Retention, IsNotCutShortByAClockThatIsSetAhead) {
  constexpr auto kTenYears = 3650 * limits::kDay;
  clock.set_wall(clock.wall() + kTenYears);
  pass(29);
  EXPECT_TRUE(is_there());
  // Set back, and ahead again: it begins anew.
  clock.set_wall(clock.wall() - kTenYears);
  pass(1);
  clock.set_wall(clock.wall() + kTenYears);
  pass(29);
  EXPECT_TRUE(is_there());
  start();  // a restart does not end it
  EXPECT_TRUE(is_there());
  pass(2);
  EXPECT_FALSE(is_there());
  clock.set_wall(clock.wall() + kTenYears);
  pass(29);
  EXPECT_TRUE(is_remembered());
}

TEST_F(Retention, TakesALongAbsenceForAClockThatIsSetAhead) {
  pass(25);
  clock.advance(std::chrono::milliseconds(ClockWatch::kLongestAbsence + 1));
  start();
  EXPECT_TRUE(is_there());
  pass(29);
  EXPECT_TRUE(is_there());
  pass(2);
  EXPECT_FALSE(is_there());
}

TEST_F(Retention, AShortAbsenceIsTimeThatPassed) {
  pass(25);
  clock.advance(std::chrono::milliseconds(6 * limits::kDay));
  start();
  EXPECT_FALSE(is_there());
}

TEST_F(StoreTest, CertificatesGoWhenTheirDeviceHasAnother) {
  const auto ended = clock.wall() - 31 * limits::kDay;
  const auto silent = add_node("beta");
  write([&](WriteStore& writes) {
    writes.insert_certificate({"old", node, 1, ended, {}});
    writes.insert_certificate({"recent", node, 2, clock.wall() - limits::kDay, {}});
    writes.set_last_seen(node, clock.wall(), {});
    // Its last renewal may never have reached it: it still renews with the first.
    writes.insert_certificate({"held", silent, 1, ended, {}});
    writes.insert_certificate({"lost", silent, 2, ended + 1, {}});
    writes.insert_certificate({"revoked", silent, 1, ended, ended});
    writes.set_last_seen(silent, ended, {});
    return purge(writes, clock.wall(), {}, 10);
  });
  const auto is_known = [&](std::string_view fingerprint) {
    return read([&](const ReadStore& reads) { return reads.certificate(fingerprint).has_value(); });
  };
  EXPECT_FALSE(is_known("old"));
  EXPECT_FALSE(is_known("revoked"));
  for (const auto* kept : {"recent", "held", "lost"}) EXPECT_TRUE(is_known(kept)) << kept;
}

TEST_F(StoreTest, AnEpochKeepsWhatTheDeviceHasNotAnswered) {
  const auto running = add();
  const auto alone = add();
  ReferenceDevice device(node);
  device.epoch = 1;
  const auto poll = [&] {
    const auto row = node_row();
    device.take(write(
        [&](WriteStore& writes) { return apply_poll(writes, row, device.poll(), clock.wall(), logger); }));
  };
  write([&](WriteStore& writes) {
    return cancel_task(writes, writes.task(alone, WithData::no).value(), 1).answer;
  });
  poll();
  poll();
  write([&](WriteStore& writes) {
    return cancel_task(writes, writes.task(running, WithData::no).value(), 1).answer;
  });
  write([&](WriteStore& writes) {
    auto row = writes.node(node).value();
    (void)set_hold(writes, row, true);
    open_epoch(writes, row, row.epoch);
    return 0;
  });
  const auto queue = read([&](const ReadStore& reads) { return reads.queued_directives(node, 10); });
  ASSERT_EQ(queue.size(), 4U);
  EXPECT_EQ(queue[0].kind, DirectiveKind::task);
  EXPECT_EQ(queue[0].task_id, running);
  EXPECT_EQ(queue[1].kind, DirectiveKind::cancel);
  EXPECT_EQ(queue[1].task_id, alone);
  EXPECT_EQ(queue[2].kind, DirectiveKind::cancel);
  EXPECT_EQ(queue[2].task_id, running);
  EXPECT_EQ(queue[3].kind, DirectiveKind::settings);
}

TEST_F(StoreTest, ADevicesTruthStandsInASnapshotOfANewEpoch) {
  const auto id = add();
  ReferenceDevice device(node);
  device.epoch = 1;
  const auto poll = [&] {
    const auto row = node_row();
    device.take(write(
        [&](WriteStore& writes) { return apply_poll(writes, row, device.poll(), clock.wall(), logger); }));
  };
  const auto post = [&] {
    const auto row = node_row();
    device.take(write([&](WriteStore& writes) {
      return apply_reports(writes, row, device.post(), clock.wall(), logger).value();
    }));
  };
  close();
  std::filesystem::copy_file(file(), folder.path() / "copy.db");
  open();
  poll();
  poll();
  device.start(id);
  device.finish(TaskStatus::complete, "", "output");
  post();
  EXPECT_EQ(task(id).task.state.status, TaskStatus::complete);
  close();
  std::filesystem::copy_file(folder.path() / "copy.db", file(),
                             std::filesystem::copy_options::overwrite_existing);
  open();
  // The restored server cancels alone what the device has done long ago.
  write([&](WriteStore& writes) {
    return cancel_task(writes, writes.task(id, WithData::no).value(), 1).answer;
  });
  EXPECT_EQ(task(id).task.state.status, TaskStatus::cancelled);
  poll();
  EXPECT_EQ(device.epoch, 2);
  post();
  EXPECT_EQ(task(id).task.state.status, TaskStatus::complete);
  EXPECT_EQ(task(id).task.state.run_count, 1);
  EXPECT_FALSE(node_row().snapshot);
  EXPECT_EQ(device.starts[id], 1);
}

}  // namespace
}  // namespace agenttask::server::test
