#include <fstream>

#include "server/store/enrollment.hpp"
#include "server/store/housekeeping.hpp"
#include "server/store/presence.hpp"
#include "server/store/writer.hpp"
#include "tests/component/server_store/device_fixture.hpp"

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
  const auto keep_house = [&](DurationMilliseconds lived) {
    while (write([&](WriteStore& writes) { return purge(writes, {clock.wall(), lived}, settings, 1); })) {
    }
  };
  keep_house(0);
  keep_house(settings.ended_tasks);
  EXPECT_TRUE(read([&](const ReadStore& reads) { return reads.task(old, WithData::no).has_value(); }));
  keep_house(settings.ended_tasks + 1);
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
  keep_house(settings.ended_tasks + 1 + 30 * limits::kDay);
  EXPECT_TRUE(read([&](const ReadStore& reads) { return reads.tombstone(old).has_value(); }));
  keep_house(settings.ended_tasks + 2 + 30 * limits::kDay);
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
  Housekeeper housekeeper(*store, writer, presence, clock, logger, {}, bell, "boot");
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

TEST_F(DeviceTest, AnEpochKeepsWhatTheDeviceHasNotAnswered) {
  const auto running = add();
  const auto alone = add();
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
    open_epoch(writes, row, row.epoch, clock.wall());
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

TEST_F(DeviceTest, ADevicesTruthStandsInASnapshotOfANewEpoch) {
  const auto id = add();
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
