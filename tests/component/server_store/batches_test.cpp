#include "server/store/batches.hpp"

#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "server/store/batch_carrier.hpp"
#include "server/store/enrollment.hpp"
#include "server/store/housekeeping.hpp"
#include "server/store/store_copy.hpp"
#include "tests/component/server_store/reference_device.hpp"
#include "tests/component/server_store/store_fixture.hpp"

// One task for many devices: what a commit of it promises, and what a start and a restore in the middle make
// of it.
namespace agenttask::server::test {
namespace {

class Batches : public StoreTest {
 protected:
  /// So many nodes more than the one that is there; all ids, in order.
  std::vector<std::string> fleet(std::size_t more) {
    write([&](WriteStore& writes) {
      for (std::size_t i = 0; i < more; ++i) {
        NodeRecord record;
        record.id = make_uuid(clock.wall());
        record.name = "n" + std::to_string(i);
        writes.insert_node(record);
      }
      return 0;
    });
    return read([](const ReadStore& reads) { return reads.nodes_with({}); });
  }
  TaskSpec common() const {
    TaskSpec wanted = spec(R"({"message":"all"})");
    wanted.id.clear();
    wanted.node_id.clear();
    wanted.tags = {"red"};
    return wanted;
  }
  BatchRecord accept(const std::vector<std::string>& nodes) {
    BatchRecord record;
    record.id = make_uuid(clock.wall());
    record.spec = common();
    record.target = R"({"all":true})";
    record.digest = "d";
    record.created_by = "tester";
    return write([&](WriteStore& writes) { return create_batch(writes, record, nodes, clock.wall()); });
  }
  bool carry_on(const BatchRecord& batch) {
    return write([&](WriteStore& writes) { return carry_on_batch(writes, batch.sequence, clock.wall()); });
  }
  void carry_on_to_the_end(const BatchRecord& batch) {
    while (carry_on(batch)) {
    }
  }
  BatchRecord now_of(const BatchRecord& batch) {
    return read([&](const ReadStore& reads) { return reads.batch(batch.id, WithData::yes).value(); });
  }
  std::vector<TaskRecord> tasks_of(const BatchRecord& batch) {
    TaskFilter filter;
    filter.batch = now_of(batch);
    return read([&](const ReadStore& reads) { return reads.tasks(filter, 0, 1'000'000, WithData::yes); });
  }
  /// Each node has one task of the batch; their ids by node.
  std::map<std::string, std::string> one_each(const BatchRecord& batch,
                                              const std::vector<std::string>& nodes) {
    std::map<std::string, std::string> ids;
    std::set<std::string> all;
    for (const auto& record : tasks_of(batch)) {
      EXPECT_TRUE(ids.emplace(record.task.spec.node_id, record.task.spec.id).second) << "two for one node";
      EXPECT_TRUE(all.insert(record.task.spec.id).second);
      EXPECT_TRUE(is_uuid(record.task.spec.id));
    }
    EXPECT_EQ(ids.size(), nodes.size());
    for (const auto& id : nodes) EXPECT_TRUE(ids.contains(id));
    return ids;
  }
  std::size_t directives_of(const std::string& id) {
    return read([&](const ReadStore& reads) { return reads.queued_directives(id, 10).size(); });
  }
  static std::int64_t sum(const BatchRecord& batch) {
    std::int64_t all = 0;
    for (const auto count : batch.counts) all += count;
    return all;
  }
};

TEST_F(Batches, ATaskOfABatchIsAsAnyOther) {
  const auto nodes = fleet(2);
  const auto batch = accept(nodes);
  EXPECT_FALSE(is_carried_on(batch));
  const auto ids = one_each(batch, nodes);
  const auto record = task(ids.at(node));
  TaskSpec wanted = common();
  wanted.id = ids.at(node);
  wanted.node_id = node;
  wanted.options.expires_at = clock.wall() + limits::kDefaultExpiry;
  EXPECT_EQ(record.task.spec, wanted);
  EXPECT_EQ(record.task.state.status, TaskStatus::pending);
  EXPECT_EQ(record.task.state.add_time, clock.wall());
  EXPECT_EQ(record.batch_id, batch.id);
  EXPECT_FALSE(record.choice_occurrence);
  EXPECT_EQ(directives_of(node), 1U);
  EXPECT_EQ(touched, (std::vector<std::string>{"node:" + nodes[0], "node:" + nodes[1], "node:" + nodes[2],
                                               "batch:" + batch.id}));
  TaskFilter filter;
  filter.tags = {"red"};
  filter.node_id = node;
  EXPECT_EQ(read([&](const ReadStore& reads) { return reads.tasks(filter, 0, 10, WithData::no).size(); }),
            1U);
}

TEST_F(Batches, ItsTasksAreDeliveredAndCountedAsTheyGo) {
  const auto batch = accept(fleet(1));
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
  const auto count = [&](TaskStatus status) { return count_of(now_of(batch), status); };
  poll();
  ASSERT_EQ(device.inbox.size(), 1U);
  const auto id = device.inbox.begin()->first;
  EXPECT_EQ(device.inbox.at(id).spec.data, R"({"message":"all"})");
  EXPECT_EQ(count(TaskStatus::pending), 2);
  poll();
  EXPECT_EQ(count(TaskStatus::pending), 1);
  EXPECT_EQ(count(TaskStatus::sent), 1);
  device.start(id);
  post();
  EXPECT_EQ(count(TaskStatus::running), 1);
  device.finish(TaskStatus::complete);
  post();
  EXPECT_EQ(count(TaskStatus::complete), 1);
  EXPECT_EQ(count(TaskStatus::running), 0);
  const auto record = task(id);
  EXPECT_EQ(record.task.state.result, R"({"data":{},"success":true})");
  EXPECT_EQ(record.task.spec.data, R"({"message":"all"})");
  EXPECT_FALSE(is_over(now_of(batch))) << "the other device has not come";
}

TEST_F(Batches, AreMadeInPartsOfWhichNoneIsLost) {
  const auto nodes = fleet(2 * kBatchPart);  // and one
  auto batch = accept(nodes);
  EXPECT_EQ(batch.made, static_cast<std::int64_t>(kBatchPart));
  EXPECT_EQ(batch.targets, static_cast<std::int64_t>(nodes.size()));
  EXPECT_EQ(count_of(batch, TaskStatus::pending), batch.targets) << "what is promised counts";
  EXPECT_TRUE(is_carried_on(batch));
  EXPECT_EQ(std::count(touched.begin(), touched.end(), "batch:" + batch.id), 0)
      << "nobody is woken before its end";
  // Others add tasks in between, and the server is ended after each part.
  const auto between = add();
  reopen();
  EXPECT_EQ(read([](const ReadStore& reads) { return reads.open_batches(); }),
            std::vector<std::int64_t>{batch.sequence});
  EXPECT_TRUE(carry_on(batch));
  reopen();
  EXPECT_FALSE(carry_on(batch));
  EXPECT_EQ(std::count(touched.begin(), touched.end(), "batch:" + batch.id), 1);
  reopen();
  EXPECT_FALSE(carry_on(batch));
  EXPECT_TRUE(read([](const ReadStore& reads) { return reads.open_batches(); }).empty());
  const auto ids = one_each(batch, nodes);
  EXPECT_FALSE(ids.contains(between));
  for (const auto& record : tasks_of(batch)) EXPECT_NE(record.task.spec.id, between);
  EXPECT_EQ(sum(now_of(batch)), batch.targets);
  EXPECT_EQ(now_of(batch).made, batch.targets);
}

TEST_F(Batches, IdsGoInTheOrderOfTheNodes) {
  std::vector<std::string> nodes;
  for (int i = 0; i < 5; ++i) {
    clock.advance(std::chrono::milliseconds(1));
    nodes.push_back(add_node("n" + std::to_string(i)));
  }
  const auto batch = accept(nodes);
  std::string before = "z";
  for (const auto& record : tasks_of(batch)) {  // newest first
    EXPECT_LT(record.task.spec.id, before);
    before = record.task.spec.id;
  }
}

TEST_F(Batches, ANodeOfAnotherMakeGetsItsTaskToo) {
  write([&](WriteStore& writes) {
    NodeRecord record;
    record.id = "no uuid";
    writes.insert_node(record);
    return 0;
  });
  one_each(accept({node, "no uuid"}), {node, "no uuid"});
}

TEST_F(Batches, ANodeThatIsRevokedMeanwhileGetsACancelledOne) {
  const auto nodes = fleet(kBatchPart);
  const auto batch = accept(nodes);
  for (const auto& gone : {nodes.front(), nodes.back()}) {
    write([&](WriteStore& writes) {
      auto row = writes.node(gone).value();
      retire_node(writes, row, clock.wall());
      return 0;
    });
  }
  carry_on_to_the_end(batch);
  const auto ids = one_each(batch, nodes);
  for (const auto& gone : {nodes.front(), nodes.back()}) {
    EXPECT_EQ(task(ids.at(gone)).task.state.status, TaskStatus::cancelled);
    EXPECT_EQ(directives_of(gone), 0U);
  }
  EXPECT_EQ(count_of(now_of(batch), TaskStatus::cancelled), 2);
}

TEST_F(Batches, ACancelIsCarriedOutToTheLastWhateverHappens) {
  const auto nodes = fleet(2 * kBatchPart);
  auto batch = accept(nodes);
  batch = now_of(batch);
  write([&](WriteStore& writes) {
    cancel_batch(writes, batch, clock.wall());
    return 0;
  });
  EXPECT_EQ(count_of(now_of(batch), TaskStatus::cancelled), static_cast<std::int64_t>(kBatchCancelPart));
  while (carry_on(batch)) reopen();
  const auto after = now_of(batch);
  EXPECT_EQ(count_of(after, TaskStatus::cancelled), after.targets);
  EXPECT_TRUE(is_over(after));
  EXPECT_EQ(after.cancel_requested_at, clock.wall());
  for (const auto& one : nodes) EXPECT_EQ(directives_of(one), 0U);
  one_each(batch, nodes);
}

TEST_F(Batches, ACancelAsksDevicesThatWereOfferedIt) {
  const auto batch = accept({node});
  write([&](WriteStore& writes) {
    ReferenceDevice device(node);
    device.epoch = 1;
    return apply_poll(writes, node_row(), device.poll(), clock.wall(), logger).lines.size();
  });
  auto record = now_of(batch);
  write([&](WriteStore& writes) {
    cancel_batch(writes, record, clock.wall());
    return 0;
  });
  EXPECT_FALSE(is_carried_on(now_of(batch)));
  EXPECT_FALSE(is_over(now_of(batch)));
  EXPECT_EQ(directives_of(node), 1U);
}

TEST_F(Batches, WhoWaitsIsWokenByTheLastEnd) {
  const auto nodes = fleet(1);
  const auto batch = accept(nodes);
  const auto ids = one_each(batch, nodes);
  const auto cancel = [&](const std::string& id) {
    write([&](WriteStore& writes) {
      (void)cancel_task(writes, writes.task(id, WithData::no).value(), clock.wall());
      return 0;
    });
    return std::count(touched.begin(), touched.end(), "batch:" + batch.id);
  };
  EXPECT_EQ(cancel(ids.at(nodes[0])), 0);
  EXPECT_EQ(cancel(ids.at(nodes[1])), 1);
}

TEST_F(Batches, AChangeOfOneTaskChangesNoOther) {
  const auto nodes = fleet(1);
  const auto batch = accept(nodes);
  const auto ids = one_each(batch, nodes);
  auto changed = task(ids.at(nodes[0])).task.spec;
  changed.description = "another";
  changed.tags = {"blue"};
  write([&](WriteStore& writes) {
    writes.update_task_spec(changed);
    return 0;
  });
  EXPECT_EQ(task(ids.at(nodes[0])).task.spec, changed) << "its data stays, too";
  EXPECT_EQ(task(ids.at(nodes[1])).task.spec.description, "");
  EXPECT_EQ(now_of(batch).spec.tags, std::vector<std::string>{"red"});
}

TEST_F(Batches, OneGoesWithItsLastTaskAndLeavesATombstone) {
  const auto nodes = fleet(1);
  const auto batch = accept(nodes);
  const auto ids = one_each(batch, nodes);
  RetentionSettings settings;
  DurationMilliseconds lived = 0;
  const auto end_and_purge = [&](const std::string& id) {
    write([&](WriteStore& writes) {
      (void)cancel_task(writes, writes.task(id, WithData::no).value(), clock.wall());
      (void)purge(writes, {clock.wall(), lived}, settings, 10);
      lived += settings.ended_tasks + 1;
      (void)purge(writes, {clock.wall(), lived}, settings, 10);
      return 0;
    });
  };
  end_and_purge(ids.at(nodes[0]));
  auto left = now_of(batch);
  EXPECT_EQ(left.purged, 1);
  EXPECT_EQ(count_of(left, TaskStatus::cancelled), 1) << "it was one all the same";
  EXPECT_EQ(count_of(left, TaskStatus::pending), 1);
  EXPECT_EQ(tasks_of(batch).size(), 1U);
  end_and_purge(ids.at(nodes[1]));
  read([&](const ReadStore& reads) {
    EXPECT_FALSE(reads.batch(batch.id, WithData::no));
    const auto tombstone = reads.tombstone(batch.id).value();
    EXPECT_EQ(tombstone.digest, "d");
    EXPECT_EQ(parse_json(tombstone.summary).value()["counts"]["cancelled"], 2);
    return 0;
  });
}

TEST_F(Batches, ABackupFromTheMiddleMakesNoSecondTaskForAnybody) {
  const auto nodes = fleet(kBatchPart);
  const auto batch = accept(nodes);
  const auto backup = folder.path() / "backup.db";
  ASSERT_TRUE(copy_sqlite_store(file(), backup));
  carry_on_to_the_end(batch);
  const auto ids = one_each(batch, nodes);
  close();
  for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file().string() + part);
  std::filesystem::copy_file(backup, file());
  const auto prepared = prepare_restored_store(file(), clock.wall(), clock.wall());
  ASSERT_TRUE(prepared) << prepared.error().message;
  open();
  EXPECT_EQ(one_each(batch, nodes), ids) << "the same tasks: a device that has its own knows it";
  for (const auto& record : tasks_of(batch))
    EXPECT_TRUE(record.offered) << "in the lost time it may have been";
  EXPECT_TRUE(read([](const ReadStore& reads) { return reads.open_batches(); }).empty());
}

TEST_F(Batches, ABatchThatARestoreLostIsMadeAgainOfWhatItsDevicesTell) {
  const auto backup = folder.path() / "backup.db";
  ASSERT_TRUE(copy_sqlite_store(file(), backup));
  const auto nodes = fleet(0);
  const auto batch = accept(nodes);
  const auto ids = one_each(batch, nodes);
  auto done = task(ids.at(node));
  close();
  for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(file().string() + part);
  std::filesystem::copy_file(backup, file());
  ASSERT_TRUE(prepare_restored_store(file(), clock.wall(), clock.wall()));
  open();
  // Its device tells of it in a snapshot, before the operator asks again.
  done.batch = 0;
  done.created_by = "device";
  done.offered = true;
  done.task.state.status = TaskStatus::complete;
  done.task.spec.data = R"({"message":"its own"})";
  write([&](WriteStore& writes) { return writes.insert_task(done); });
  add();
  const auto other = add_node("other");
  BatchRecord again;
  again.id = batch.id;
  again.spec = common();
  again.target = "{}";
  again = write([&](WriteStore& writes) { return create_batch(writes, again, {node, other}, clock.wall()); });
  EXPECT_EQ(one_each(again, {node, other}).at(node), ids.at(node));
  EXPECT_EQ(count_of(again, TaskStatus::complete), 1);
  EXPECT_EQ(count_of(again, TaskStatus::pending), 1);
  EXPECT_EQ(task(ids.at(node)).task.spec.data, R"({"message":"its own"})");
  EXPECT_EQ(directives_of(other), 1U);
}

TEST_F(Batches, TheCarrierGoesOnWithWhatAnEarlierServerLeft) {
  const auto nodes = fleet(2 * kBatchPart);
  const auto first = accept(nodes);
  const auto second = accept(nodes);
  Writer writer(
      std::move(session), [](const auto&) {}, logger);
  BatchCarrier carrier(*store, writer, clock, logger);
  EXPECT_TRUE(carrier.carry_on());
  EXPECT_TRUE(carrier.carry_on()) << "nothing is left";
  one_each(first, nodes);
  one_each(second, nodes);
}

TEST_F(Batches, TheCarrierSaysThatItCouldNot) {
  const auto batch = accept(fleet(kBatchPart));
  Writer writer(
      std::move(session), [](const auto&) {}, logger);
  BatchCarrier carrier(*store, writer, clock, logger);
  writer.stop();
  EXPECT_FALSE(carrier.carry_on());
  EXPECT_TRUE(is_carried_on(now_of(batch)));
}

}  // namespace
}  // namespace agenttask::server::test
