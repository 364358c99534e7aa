#include "agent/workers/run_wishes.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_request.hpp"
#include "tests/support/manual_clock.hpp"

namespace agenttask::agent {
namespace {

/// A device in memory: tasks in the order of their arrival.
class Device final : public TaskReader {
 public:
  std::vector<Task> tasks;
  std::vector<RoomMessage> posted;
  std::optional<Error> broken;

  [[nodiscard]] Result<Task> get(std::string_view id) override {
    if (broken) return *broken;
    for (const Task& task : tasks) {
      if (task.spec.id == id) return task;
    }
    return Error{ErrorCode::not_found, "no such task", "id"};
  }
  [[nodiscard]] Result<TaskPage> list(const TaskFilter& filter, std::optional<std::int64_t> cursor,
                                      std::size_t most) override {
    if (broken) return *broken;
    TaskPage page;
    for (auto index = cursor.value_or(static_cast<std::int64_t>(tasks.size())) - 1; index >= 0; --index) {
      const Task& task = tasks[static_cast<std::size_t>(index)];
      const auto has = [&](const std::string& tag) {
        return std::find(task.spec.tags.begin(), task.spec.tags.end(), tag) != task.spec.tags.end();
      };
      if (task.state.deleted_at || (!filter.type.empty() && filter.type != task.spec.type) ||
          (filter.status && *filter.status != task.state.status) ||
          (!filter.room_id.empty() && filter.room_id != task.spec.room_id) ||
          (!filter.world_id.empty() && filter.world_id != task.spec.world_id) ||
          !std::all_of(filter.tags.begin(), filter.tags.end(), has)) {
        continue;
      }
      if (page.tasks.size() == most) {
        page.next_cursor = index + 1;
        return page;
      }
      page.tasks.push_back(task);
    }
    return page;
  }
  [[nodiscard]] Result<std::vector<RoomMessage>> messages(std::string_view room_id,
                                                          std::size_t most) override {
    std::vector<RoomMessage> found;
    for (const auto& message : posted) {
      if (room_id.empty() || room_id == message.room_id) found.push_back(message);
    }
    if (found.size() > most) found.erase(found.begin(), found.end() - static_cast<std::ptrdiff_t>(most));
    return found;
  }
};

TaskFilter of_type(std::string type, std::vector<std::string> tags = {}) {
  TaskFilter filter;
  filter.type = std::move(type);
  filter.tags = std::move(tags);
  return filter;
}
TaskFilter tagged(std::vector<std::string> tags, std::optional<TaskStatus> status = std::nullopt) {
  TaskFilter filter = of_type("", std::move(tags));
  filter.status = status;
  return filter;
}
TaskFilter in_room(std::string room) {
  TaskFilter filter;
  filter.room_id = std::move(room);
  return filter;
}
RoomMessage message_in(std::string id, std::string room) {
  RoomMessage message;
  message.id = std::move(id);
  message.room_id = std::move(room);
  return message;
}

class RunWishesTest : public testing::Test {
 protected:
  RunWishesTest() {
    own_ = add("OWN", TaskStatus::running);
    own_.spec.room_id = "lobby";
    own_.spec.world_id = "earth";
    own_.spec.node_id = "node";
  }
  Task add(const std::string& type, TaskStatus status = TaskStatus::sent,
           std::vector<std::string> tags = {}) {
    clock_.advance(std::chrono::milliseconds(1));
    Task task;
    task.spec.id = make_uuid(clock_.wall());
    task.spec.type = type;
    task.spec.tags = std::move(tags);
    task.spec.data = R"({"x":1})";
    task.state.status = status;
    task.state.add_time = task.state.updated_at = clock_.wall();
    task.state.sent_time = clock_.wall();
    device_.tasks.push_back(task);
    return task;
  }
  static TaskSpec request(const char* body) { return *parse_task_request(*parse_json(body)); }
  std::vector<std::string> ids(const TaskFilter& filter, std::size_t most = 100) {
    std::vector<std::string> list;
    for (const auto& task : *wishes_.list(filter, most)) list.push_back(task.spec.id);
    return list;
  }

  test::ManualClock clock_;
  Device device_;
  Task own_;
  RunWishes wishes_{device_, own_, 3, clock_};
};

TEST_F(RunWishesTest, WhatIsCreatedIsThereForTheRunAtOnceAndForNobodyElse) {
  const auto made = wishes_.create(request(R"({"type":"NEXT","data":{"n":1},"tags":["a"]})"));
  ASSERT_TRUE(made);
  EXPECT_TRUE(is_uuid(made->spec.id));
  EXPECT_EQ("node", made->spec.node_id);
  EXPECT_EQ(TaskStatus::sent, made->state.status);
  EXPECT_EQ(clock_.wall(), made->state.add_time);
  EXPECT_EQ(*made, *wishes_.get(made->spec.id));
  EXPECT_EQ(1u, device_.tasks.size());
  const auto taken = wishes_.take();
  ASSERT_EQ(1u, taken.size());
  EXPECT_EQ(made->spec, std::get<CreateWish>(taken[0]).spec);
}

TEST_F(RunWishesTest, AnIdOfOnesOwnIsTakenOnce) {
  const std::string id = "0190AAAA-0000-7000-8000-000000000001";
  TaskSpec spec = request(R"({"type":"NEXT"})");
  spec.id = id;
  const auto made = wishes_.create(spec);
  ASSERT_TRUE(made);
  EXPECT_EQ(normalize_uuid(id), made->spec.id);
  EXPECT_EQ(ErrorCode::conflict, wishes_.create(spec).error().code);
  spec.id = own_.spec.id;
  EXPECT_EQ(ErrorCode::conflict, wishes_.create(spec).error().code);
  spec.id = "no uuid";
  EXPECT_EQ(ErrorCode::invalid, wishes_.create(spec).error().code);
  EXPECT_EQ(1u, wishes_.take().size());
}

TEST_F(RunWishesTest, ALedgerThatCantBeReadRefusesRatherThanGuesses) {
  device_.broken = Error{ErrorCode::io, "the disk is gone"};
  EXPECT_EQ(ErrorCode::io, wishes_.create(request(R"({"type":"NEXT"})")).error().code);
  EXPECT_EQ(ErrorCode::io, wishes_.list({}, 10).error().code);
  EXPECT_TRUE(wishes_.take().empty());
}

TEST_F(RunWishesTest, ScheduleAndChoicesDecideWhereANewTaskStands) {
  const auto later = std::to_string(clock_.wall() + 1000);
  const auto deferred =
      wishes_.create(request((R"({"type":"T","schedule":{"scheduledFor":)" + later + "}}").c_str()));
  EXPECT_EQ(reason::kNotDue, deferred->state.reason);
  EXPECT_EQ(clock_.wall() + 1000, deferred->state.next_run_at);
  const auto asking = wishes_.create(request(R"({"type":"T","choices":[{"name":"yes"}]})"));
  EXPECT_EQ(TaskStatus::awaiting_choice, asking->state.status);
}

TEST_F(RunWishesTest, AnUpdateIsCheckedAsAPersonsAndSeenAtOnce) {
  const Task other = add("OTHER", TaskStatus::sent, {"old"});
  const auto updated = wishes_.update(other.spec.id, R"({"tags":["new"],"metadata":{"k":1}})");
  ASSERT_TRUE(updated);
  EXPECT_EQ(std::vector<std::string>{"new"}, updated->spec.tags);
  EXPECT_EQ(R"({"k":1})", updated->spec.metadata);
  EXPECT_GT(updated->state.updated_at, other.state.updated_at);
  const auto again = wishes_.update(other.spec.id, R"({"metadata":{"k":null,"l":2}})");
  EXPECT_EQ(R"({"l":2})", again->spec.metadata);
  EXPECT_EQ(std::vector<std::string>{"new"}, again->spec.tags);

  for (const char* changes : {"{}", "[]", "nonsense", R"({"type":"X"})", R"({"options":{"timeout":-1}})"}) {
    const auto refused = wishes_.update(other.spec.id, changes);
    ASSERT_FALSE(refused) << changes;
    EXPECT_EQ(ErrorCode::invalid, refused.error().code) << changes;
  }
  EXPECT_EQ("options.timeout", wishes_.update(other.spec.id, R"({"options":{"timeout":-1}})").error().field);
  EXPECT_EQ(ErrorCode::not_found, wishes_.update(make_uuid(1), R"({"tags":[]})").error().code);
  EXPECT_EQ(2u, wishes_.take().size());
}

TEST_F(RunWishesTest, WhatHasEndedIsNotUpdated) {
  const Task done = add("OTHER", TaskStatus::complete);
  EXPECT_EQ(ErrorCode::conflict, wishes_.update(done.spec.id, R"({"tags":[]})").error().code);
  const Task gone = add("OTHER");
  ASSERT_TRUE(wishes_.remove(gone.spec.id));
  EXPECT_EQ(ErrorCode::conflict, wishes_.update(gone.spec.id, R"({"tags":[]})").error().code);
}

TEST_F(RunWishesTest, WhatTheRunCreatedCanBeChangedAndDeletedByIt) {
  const auto made = wishes_.create(request(R"({"type":"NEXT","description":"one"})"));
  ASSERT_TRUE(wishes_.update(made->spec.id, R"({"description":"two"})"));
  EXPECT_EQ("two", wishes_.get(made->spec.id)->spec.description);
  const auto removed = wishes_.remove(made->spec.id);
  EXPECT_EQ(TaskStatus::cancelled, removed->state.status);
  EXPECT_TRUE(ids(of_type("NEXT")).empty());
  const auto taken = wishes_.take();
  ASSERT_EQ(3u, taken.size());
  EXPECT_EQ("one", std::get<CreateWish>(taken[0]).spec.description);
  EXPECT_EQ(made->spec.id, std::get<UpdateWish>(taken[1]).task_id);
  EXPECT_EQ(made->spec.id, std::get<DeleteWish>(taken[2]).task_id);
}

TEST_F(RunWishesTest, DeletingItsOwnTaskLetsItRunToItsEnd) {
  const auto removed = wishes_.remove(own_.spec.id);
  ASSERT_TRUE(removed);
  EXPECT_EQ(TaskStatus::running, removed->state.status);
  EXPECT_TRUE(removed->state.deleted_at);
  EXPECT_FALSE(removed->state.cancel_requested_at);
  ASSERT_TRUE(wishes_.remove(own_.spec.id));
  const auto taken = wishes_.take();
  ASSERT_EQ(1u, taken.size()) << "once is enough";
  EXPECT_EQ(own_.spec.id, std::get<DeleteWish>(taken[0]).task_id);
}

TEST_F(RunWishesTest, DeletingAnotherThatRunsAsksItToStop) {
  const Task other = add("OTHER", TaskStatus::running);
  const auto removed = wishes_.remove(other.spec.id);
  EXPECT_EQ(TaskStatus::running, removed->state.status);
  EXPECT_TRUE(removed->state.cancel_requested_at);
  const Task done = add("OTHER", TaskStatus::complete);
  EXPECT_EQ(TaskStatus::complete, wishes_.remove(done.spec.id)->state.status);
  EXPECT_EQ(ErrorCode::not_found, wishes_.remove(make_uuid(1)).error().code);
}

TEST_F(RunWishesTest, AListHasWhatIsNewFirstAndFiltersByWhatTheRunSees) {
  const Task a = add("T", TaskStatus::sent, {"x", "y"});
  const Task b = add("T", TaskStatus::sent, {"x"});
  const Task c = add("T", TaskStatus::sent);
  const Task d = add("T", TaskStatus::complete, {"x", "y"});
  const auto e = *wishes_.create(request(R"({"type":"T","tags":["y","x"]})"));
  const auto f = *wishes_.create(request(R"({"type":"T","tags":["y"]})"));
  ASSERT_TRUE(wishes_.update(c.spec.id, R"({"tags":["x","y"]})"));  // matches now
  ASSERT_TRUE(wishes_.update(a.spec.id, R"({"tags":[]})"));         // no longer
  using Ids = std::vector<std::string>;
  EXPECT_EQ((Ids{e.spec.id, d.spec.id, c.spec.id}), ids(of_type("T", {"x", "y"})));
  EXPECT_EQ((Ids{e.spec.id, d.spec.id, c.spec.id, b.spec.id}), ids(tagged({"x"})));
  EXPECT_EQ((Ids{e.spec.id, c.spec.id}), ids(tagged({"x", "y"}, TaskStatus::sent)));
  EXPECT_EQ((Ids{f.spec.id, e.spec.id, d.spec.id, c.spec.id, b.spec.id, a.spec.id, own_.spec.id}), ids({}));
  ASSERT_TRUE(wishes_.remove(d.spec.id));
  ASSERT_TRUE(wishes_.remove(e.spec.id));
  EXPECT_EQ((Ids{c.spec.id}), ids(tagged({"y", "x"})));
  EXPECT_TRUE(ids(tagged({"X"})).empty()) << "tags are case-sensitive";
  EXPECT_TRUE(ids(in_room("nowhere")).empty());
  EXPECT_EQ("{}", wishes_.list(of_type("T"), 1)->front().spec.data) << "lists give no data";
}

TEST_F(RunWishesTest, AListEndsWhereItIsToldAndGoesOverPages) {
  std::vector<std::string> expected;
  for (int i = 0; i < 25; ++i) expected.insert(expected.begin(), add("T").spec.id);
  for (std::size_t skip : {0, 4, 13}) ASSERT_TRUE(wishes_.remove(expected[skip]));
  for (std::size_t skip : {13, 4, 0}) expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(skip));
  EXPECT_EQ(expected, ids(of_type("T")));
  for (std::size_t most : {1, 5, 21, 22}) {
    const auto some = ids(of_type("T"), most);
    EXPECT_EQ(
        std::vector<std::string>(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(most)),
        some);
  }
}

TEST_F(RunWishesTest, AChangedTaskStandsWhereItArrivedAlsoBetweenPages) {
  const Task old = add("T");
  const Task middle = add("T");
  const Task recent = add("T");
  ASSERT_TRUE(wishes_.update(middle.spec.id, R"({"description":"changed"})"));
  const std::vector<std::string> all{recent.spec.id, middle.spec.id, old.spec.id};
  EXPECT_EQ(all, ids(of_type("T")));
  EXPECT_EQ((std::vector<std::string>{all[0], all[1]}), ids(of_type("T"), 2));
}

TEST_F(RunWishesTest, AMessageGoesToTheTasksRoomUnlessAnotherIsNamed) {
  device_.posted = {message_in("1", "lobby"), message_in("2", "hall")};
  const auto message = wishes_.post("", "", R"({"text":"hi"})");
  ASSERT_TRUE(message);
  EXPECT_EQ("lobby", message->room_id);
  EXPECT_EQ("earth", message->world_id);
  EXPECT_EQ(own_.spec.id, message->task_id);
  EXPECT_EQ(3, message->run);
  EXPECT_TRUE(is_uuid(message->id));
  ASSERT_TRUE(wishes_.post("hall", "", "{}"));
  const auto lobby = *wishes_.messages("lobby", 10);
  ASSERT_EQ(2u, lobby.size());
  EXPECT_EQ("1", lobby[0].id);
  EXPECT_EQ(*message, lobby[1]);
  EXPECT_EQ(4u, wishes_.messages("", 10)->size());
  EXPECT_EQ(*message, wishes_.messages("lobby", 1)->front());
  EXPECT_EQ(2u, wishes_.take().size());
}

TEST_F(RunWishesTest, AMessageIsChecked) {
  EXPECT_EQ("content", wishes_.post("", "", "[]").error().field);
  EXPECT_FALSE(wishes_.post("", "", "nonsense"));
  EXPECT_EQ("roomId", wishes_.post(std::string("a\n"), "", "{}").error().field);
  EXPECT_EQ("roomId", wishes_.post(std::string(limits::kRoomBytes + 1, 'r'), "", "{}").error().field);
  EXPECT_TRUE(wishes_.post(std::string(limits::kRoomBytes, 'r'), "", "{}"));
  const std::string frame = R"({"t":""})";
  const auto filled = [&](std::size_t size) {
    return R"({"t":")" + std::string(size - frame.size(), 'x') + R"("})";
  };
  EXPECT_TRUE(wishes_.post("", "", filled(limits::kMessageBytes)));
  EXPECT_EQ(ErrorCode::limit, wishes_.post("", "", filled(limits::kMessageBytes + 1)).error().code);
}

TEST_F(RunWishesTest, ThereIsRoomForAThousandWishes) {
  for (std::size_t i = 0; i < RunWishes::kMost; ++i) ASSERT_TRUE(wishes_.post("", "", "{}"));
  EXPECT_EQ(ErrorCode::limit, wishes_.post("", "", "{}").error().code);
  EXPECT_EQ(ErrorCode::limit, wishes_.create(request(R"({"type":"T"})")).error().code);
  EXPECT_EQ(ErrorCode::limit, wishes_.remove(own_.spec.id).error().code);
  EXPECT_FALSE(wishes_.get(own_.spec.id)->state.deleted_at) << "what was refused changed nothing";
  EXPECT_EQ(RunWishes::kMost, wishes_.take().size());
}

/// A task that takes `bytes` of the room.
TaskSpec sized(std::size_t bytes) {
  TaskSpec spec;
  spec.type = "T";
  const std::string frame = R"({"x":""})";
  const std::size_t rest = RunWishes::kOverhead + frame.size() + spec.metadata.size();
  spec.data = R"({"x":")" + std::string(bytes - rest, 'x') + R"("})";
  return spec;
}

TEST_F(RunWishesTest, ThereIsRoomForEightMebibytes) {
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(wishes_.create(sized(RunWishes::kMostBytes / 8))) << i;
  EXPECT_EQ(ErrorCode::limit, wishes_.create(sized(2 * RunWishes::kOverhead)).error().code);
  EXPECT_EQ(ErrorCode::limit, wishes_.post("", "", "{}").error().code);
}

TEST_F(RunWishesTest, UpdatesFillTheRoomToItsLastByte) {
  constexpr std::size_t kLast = 32 * 1024;
  const Task other = add("OTHER");
  const auto update = [&](std::size_t bytes) {
    const std::string frame = R"({"metadata":{"k":""}})";
    const std::string text(bytes - RunWishes::kOverhead - frame.size(), 'x');
    return wishes_.update(other.spec.id, R"({"metadata":{"k":")" + text + R"("}})");
  };
  ASSERT_TRUE(wishes_.create(sized(RunWishes::kMostBytes - 2 * kLast)));
  ASSERT_TRUE(update(kLast));
  EXPECT_EQ(ErrorCode::limit, update(kLast + 1).error().code);
  EXPECT_TRUE(update(kLast));
  EXPECT_EQ(ErrorCode::limit, wishes_.remove(other.spec.id).error().code);
}

/// Not the task is kept, which can be large, but what changes: the rest is the device's whenever it is read.
TEST_F(RunWishesTest, OfTheDevicesTasksOnlyTheChangesAreKept) {
  const Task other = add("OTHER");
  ASSERT_TRUE(
      wishes_.update(other.spec.id, R"({"metadata":{"mine":1,"gone":null},"description":"changed"})"));
  Task& there = device_.tasks.back();
  there.spec.data = R"({"x":2})";
  there.spec.metadata = R"({"gone":1,"theirs":2})";
  there.state.result = R"({"success":true})";
  const auto seen = *wishes_.get(other.spec.id);
  EXPECT_EQ(R"({"x":2})", seen.spec.data);
  EXPECT_EQ(R"({"success":true})", seen.state.result);
  EXPECT_EQ(R"({"mine":1,"theirs":2})", seen.spec.metadata);
  EXPECT_EQ("changed", seen.spec.description);
  EXPECT_EQ("changed", wishes_.list(of_type("OTHER"), 1)->front().spec.description);
}

TEST_F(RunWishesTest, WhatEndedMeanwhileStaysAsItEnded) {
  const Task other = add("OTHER");
  const auto later = std::to_string(clock_.wall() + 60'000);
  ASSERT_TRUE(
      wishes_.update(other.spec.id, R"({"description":"x","schedule":{"scheduledFor":)" + later + "}}"));
  EXPECT_EQ(reason::kNotDue, wishes_.get(other.spec.id)->state.reason);
  device_.tasks.back().state.status = TaskStatus::complete;
  const auto seen = *wishes_.get(other.spec.id);
  EXPECT_EQ(TaskStatus::complete, seen.state.status);
  EXPECT_EQ("", seen.spec.description);
  EXPECT_EQ("", seen.state.reason);
  EXPECT_EQ(TaskStatus::complete, wishes_.remove(other.spec.id)->state.status);
  EXPECT_TRUE(wishes_.get(other.spec.id)->state.deleted_at);
  device_.tasks.pop_back();
  EXPECT_EQ(ErrorCode::not_found, wishes_.get(other.spec.id).error().code);
  EXPECT_TRUE(ids(of_type("OTHER")).empty());
}

TEST_F(RunWishesTest, AListOfLargeTasksEndsEarly) {
  const auto described = [&](std::size_t bytes) {
    Task task = add("T");
    device_.tasks.back().spec.metadata = R"({"k":")" + std::string(bytes - 8, 'x') + R"("})";
    return task.spec.id;
  };
  constexpr std::size_t kEach = 64 * 1024;
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(described(kEach).empty());
  const auto found = wishes_.list(of_type("T"), 1000)->size();
  EXPECT_EQ(RunWishes::kListBytes / (kEach + RunWishes::kOverhead + 2) + 1, found);
}

}  // namespace
}  // namespace agenttask::agent
