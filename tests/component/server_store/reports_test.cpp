#include "server/store/enrollment.hpp"
#include "server/store/housekeeping.hpp"
#include "server/store/presence.hpp"
#include "server/store/writer.hpp"
#include "tests/component/server_store/device_fixture.hpp"

namespace agenttask::server::test {
namespace {

/// A device whose reports are posted as they come, with limits that a test can reach.
class SmallLimits : public DeviceTest {
 protected:
  SmallLimits() {
    limits.runs = 3;
    limits.device = {2, 20'000};
  }
  std::string make(bool recurs = false) {
    Task made;
    made.spec = spec();
    if (recurs) made.spec.schedule.update_interval = 1000;
    made.state.status = TaskStatus::sent;
    device.report(CreatedReport{made, {}});
    post();
    return made.spec.id;
  }
  void end(const std::string& id, std::int64_t run, TaskStatus to, std::size_t bytes) {
    TaskState state;
    state.status = to;
    state.run_count = run;
    device.report(
        EndedReport{id,
                    agenttask::Run{id, run, RunStatus::complete, "", 5, 6,
                                   R"({"data":")" + std::string(bytes, 'x') + R"(","success":true})"},
                    state});
    post();
  }
  std::int64_t bytes() {
    return read([&](const ReadStore& reads) { return reads.device_totals(node).task_bytes; });
  }
  std::vector<agenttask::Run> runs(const std::string& id) {
    return read([&](const ReadStore& reads) { return reads.runs(id); });
  }
};

TEST_F(SmallLimits, ResultsCountAndAnEndIsTakenWithoutThem) {
  const auto id = make();
  const auto before = bytes();
  end(id, 1, TaskStatus::sent, 4000);
  EXPECT_NEAR(static_cast<double>(bytes() - before), 256 + 2 * 4027, 10) << "of the run, and of the task";
  end(id, 2, TaskStatus::sent, 4000);
  end(id, 3, TaskStatus::complete, 15'000);
  EXPECT_LE(bytes(), limits.device.bytes);
  EXPECT_EQ(task(id).task.state.status, TaskStatus::complete);
  EXPECT_NE(task(id).task.state.result.find("left out"), std::string::npos);
  EXPECT_EQ(runs(id).size(), 2U);
  write([&](WriteStore& writes) {
    writes.remove_task(id);
    return 0;
  });
  EXPECT_EQ(bytes(), 0);
}

TEST_F(SmallLimits, TasksAreBoundedByTheirNumber) {
  make();
  make();
  const auto third = make();
  EXPECT_FALSE(read([&](const ReadStore& reads) { return reads.task(third, WithData::no).has_value(); }));
}

TEST_F(SmallLimits, RunsAreBoundedHoweverTheyAreTold) {
  const auto id = make(true);
  for (std::int64_t run = 1; run <= 30; ++run) {
    end(id, run, TaskStatus::sent, 10);
    EXPECT_LE(runs(id).size(), 2U * 3 + 1);
  }
  EXPECT_EQ(runs(id).back().number, 30);
  // Those that were removed do not come back.
  for (std::int64_t run = 1; run <= 20; ++run) end(id, run, TaskStatus::sent, 10);
  EXPECT_GT(runs(id).front().number, 20);
  // Started, and set aside without an end.
  for (std::int64_t run = 31; run <= 60; ++run) {
    device.report(StartedReport{id, run, 5});
    TaskState state;
    state.status = TaskStatus::sent;
    state.run_count = run;
    device.report(EndedReport{id, {}, state});
    post();
    EXPECT_LE(runs(id).size(), 2U * 3 + 1);
  }
  EXPECT_EQ(runs(id).back().status, RunStatus::failed);
}

TEST_F(SmallLimits, ASnapshotEndsOnce) {
  device.report(SnapshotEndReport{0});
  post();
  EXPECT_FALSE(node_row().snapshot);
  touched.clear();
  device.report(SnapshotEndReport{0});
  post();
  EXPECT_EQ(std::count(touched.begin(), touched.end(), "node:" + node), 0);
}

TEST_F(StoreTest, AnAnswerNamesItsQuestionAndARunTheRunsThatWereKnown) {
  auto wanted = spec();
  wanted.choices = {{"confirm", ""}};
  wanted.schedule.update_interval = 1000;
  const auto id = add(wanted);
  const auto answer = [&](TaskStatus status, std::int64_t occurrence, std::int64_t runs) {
    return write([&](WriteStore& writes) {
      for (const auto& one : writes.queued_directives(node, 10)) writes.remove_directive(one.position);
      auto record = writes.task(id, WithData::no).value();
      record.task.state.status = status;
      record.task.state.occurrence = occurrence;
      record.task.state.run_count = runs;
      auto asked = choose_task(writes, record, "confirm", "operator:x", 5);
      (void)steer_task(writes, std::move(asked.record), DirectiveKind::run, 5);
      const auto queue = writes.queued_directives(node, 10);
      return std::pair(
          std::get<ChooseDirective>(
              decode_directive(
                  directive_line(
                      writes,
                      DirectiveRecord{queue[0].position, node, queue[0].kind, id, queue[0].body, 1, {}}))
                  ->body),
          std::get<RunDirective>(
              decode_directive(
                  directive_line(
                      writes,
                      DirectiveRecord{queue[1].position, node, queue[1].kind, id, queue[1].body, 2, {}}))
                  ->body));
    });
  };
  const auto [extra, run] = answer(TaskStatus::awaiting_choice, 0, 4);
  EXPECT_EQ(extra.occurrence, 0);
  EXPECT_EQ(extra.runs, 4);
  EXPECT_EQ(run.runs, 4);
  EXPECT_EQ(task(id).choice_occurrence, 0);
  EXPECT_EQ(task(id).choice_runs, 4);
  const auto [early, first] = answer(TaskStatus::pending, 0, 0);
  EXPECT_FALSE(early.occurrence) << "the device was not heard to ask";
  EXPECT_EQ(early.runs, 0);
  EXPECT_EQ(first.runs, 0);
  EXPECT_FALSE(task(id).choice_occurrence);
}

TEST_F(StoreTest, AChoiceThatWasRefusedIsFoundByItsNumber) {
  auto wanted = spec();
  wanted.choices = {{"confirm", ""}};
  const auto id = add(wanted);
  write([&](WriteStore& writes) {
    auto record = writes.task(id, WithData::no).value();
    writes.mark_choice_offered(id, 6);  // nothing was asked
    EXPECT_FALSE(writes.task_of_choice(node, 6));
    (void)choose_task(writes, record, "confirm", "operator:x", 5);
    writes.mark_choice_offered(id, 7);
    EXPECT_EQ(writes.task_of_choice(node, 7), id);
    EXPECT_FALSE(writes.task_of_choice(node, 0));
    EXPECT_FALSE(writes.task_of_choice("other", 7));
    return 0;
  });
}

TEST_F(SmallLimits, ManyRefusalsLookAtNoAnswerButTheirOwn) {
  std::vector<std::string> ids;
  write([&](WriteStore& writes) {
    for (std::int64_t number = 1; number <= 500; ++number) {
      auto wanted = spec();
      wanted.choices = {{"confirm", ""}};
      auto record = create_task(writes, wanted, "d", "tester", clock.wall());
      (void)choose_task(writes, std::move(record), "confirm", "operator:x", 5);
      writes.mark_choice_offered(wanted.id, number);
      ids.push_back(wanted.id);
    }
    return 0;
  });
  for (std::int64_t number = 1; number <= 1000; ++number)
    device.report(RefusedReport{number > 500 ? number : 501 - number, "", "unsupported", "no"});
  const auto began = std::chrono::steady_clock::now();
  post();
  RecordProperty("milliseconds", std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(
                                                    std::chrono::steady_clock::now() - began)
                                                    .count()));
  for (const auto& id : ids) EXPECT_FALSE(task(id).task.state.choice_requested);
}

TEST_F(DeviceTest, ADeletionThatOnlyASnapshotTellsOfIsKept) {
  const auto id = add();
  poll();
  poll();
  device.start(id);
  device.finish(TaskStatus::complete);
  post();
  EXPECT_EQ(task(id).task.state.status, TaskStatus::complete);
  close();
  std::filesystem::copy_file(file(), folder.path() / "copy.db");
  open();
  // The device deletes it, and what it says of that is lost with what else the server hears before it is
  // put back.
  device.inbox.at(id).state.deleted_at = 7;
  add();
  poll();
  poll();
  close();
  std::filesystem::copy_file(folder.path() / "copy.db", file(),
                             std::filesystem::copy_options::overwrite_existing);
  open();
  poll();
  EXPECT_EQ(device.epoch, 2);
  post();
  EXPECT_FALSE(node_row().snapshot);
  EXPECT_EQ(task(id).task.state.status, TaskStatus::complete);
  EXPECT_EQ(task(id).task.state.deleted_at, 7);
}

TEST_F(DeviceTest, ARunThatTheRestoredServerKnewNothingOfIsKept) {
  auto brief = spec();
  brief.options.expires_at = clock.wall() + 10;
  const auto id = add(brief);
  close();
  std::filesystem::copy_file(file(), folder.path() / "copy.db");
  open();
  poll();
  close();
  std::filesystem::copy_file(folder.path() / "copy.db", file(),
                             std::filesystem::copy_options::overwrite_existing);
  open();
  // The restored server believes that it was never offered; on the device it begins to run.
  clock.advance(std::chrono::milliseconds(10));
  EXPECT_EQ(write([&](WriteStore& writes) { return expire_tasks(writes, clock.wall(), 10); }), 1U);
  device.start(id);
  poll();
  post();
  EXPECT_EQ(task(id).task.state.status, TaskStatus::running);
  EXPECT_EQ(task(id).task.state.reason, "");
  device.finish(TaskStatus::failed, "exit-status", "output");
  post();
  EXPECT_EQ(task(id).task.state.status, TaskStatus::failed);
  EXPECT_EQ(task(id).task.state.reason, "exit-status");
  EXPECT_EQ(task(id).task.state.run_count, 1);
  EXPECT_FALSE(task(id).decided_alone);
}

}  // namespace
}  // namespace agenttask::server::test
