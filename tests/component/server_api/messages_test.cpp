#include "platform/base/ids.hpp"
#include "server/store/housekeeping.hpp"
#include "tests/component/server_api/task_model_fixture.hpp"

namespace agenttask::server::test {
namespace {

class MessagesApi : public TaskModelApi {
 protected:
  RoomMessage message(const std::string& room, const std::string& text) const {
    RoomMessage made;
    made.id = make_uuid(clock.wall());
    made.node_id = "whatever the device says";
    made.room_id = room;
    made.content = json{{"text", text}}.dump();
    made.time = clock.wall();
    return made;
  }
  std::vector<std::string> texts(const std::string& query) {
    std::vector<std::string> found;
    const auto page = ok("GET", "/v1/messages" + query);
    for (const auto& one : page["messages"]) found.push_back(text_of(one["content"]["text"]));
    return found;
  }
  using Texts = std::vector<std::string>;
};

TEST_F(MessagesApi, WhatWorkersPostIsListedNewestFirstAndOnce) {
  const auto id = sent_task();
  auto first = message("r1", "one");
  first.task_id = id;
  first.run = 1;
  first.world_id = "w";
  const auto other = message("r2", "two");
  report(device, {StartedReport{id, 1, 5}, MessageReport{first}, MessageReport{other},
                  ended(id, TaskStatus::complete), MessageReport{first}});
  EXPECT_EQ(texts(""), (Texts{"two", "one"}));
  EXPECT_EQ(texts("?roomId=r1"), Texts{"one"});
  EXPECT_EQ(texts("?worldId=w"), Texts{"one"});
  EXPECT_EQ(texts("?taskId=" + id), Texts{"one"});
  EXPECT_EQ(texts("?node=alpha&roomId=r2"), Texts{"two"});
  for (const auto* nothing :
       {"?roomId=r3", "?node=nobody", "?taskId=x", "?roomId=r", "?worldId=W", "?worldId=w&roomId=r2"}) {
    EXPECT_EQ(texts(nothing), Texts{}) << nothing;
  }
  const auto shown = ok("GET", "/v1/messages?roomId=r1")["messages"][0];
  EXPECT_EQ(shown["nodeId"], device.id) << "the certificate says which device it is";
  EXPECT_EQ(shown["taskId"], id);
  EXPECT_EQ(shown["run"], 1);
  EXPECT_EQ(shown["worldId"], "w");
  EXPECT_FALSE(shown.contains("by"));
  problem("GET", "/v1/messages?room=r1", nullptr, 400, "invalid");
  problem("GET", "/v1/messages?limit=0", nullptr, 400, "invalid");
  EXPECT_EQ(problem("GET", "/v1/messages?worldId=", nullptr, 400, "invalid")["field"], "worldId");
  EXPECT_EQ(problem("GET", "/v1/messages?worldId=w&worldId=w", nullptr, 400, "invalid")["field"], "worldId");
}

TEST_F(MessagesApi, AWorldHasSeveralRoomsAndPagesOfItsOwn) {
  Texts made;
  for (int i = 0; i < 9; ++i) {
    auto one = message(i % 2 == 0 ? "r1" : "r2", std::to_string(i));
    one.world_id = i < 7 ? "w" : "other";
    if (i < 7) made.insert(made.begin(), std::to_string(i));
    report(device, {MessageReport{one}, MessageReport{message("r1", "of no world")}});
  }
  Texts seen;
  std::string next;
  do {
    const auto page = ok("GET", "/v1/messages?worldId=w&limit=3" + (next.empty() ? "" : "&cursor=" + next));
    for (const auto& one : page["messages"]) seen.push_back(text_of(one["content"]["text"]));
    next = page["nextCursor"].is_null() ? "" : page["nextCursor"].get<std::string>();
  } while (!next.empty());
  EXPECT_EQ(seen, made);
  EXPECT_EQ(texts("?worldId=w&roomId=r2"), (Texts{"5", "3", "1"}));
  EXPECT_EQ(texts("?worldId=other&node=alpha"), (Texts{"8", "7"}));
}

TEST_F(MessagesApi, PagesAreStable) {
  Texts made;
  for (int i = 0; i < 7; ++i) {
    made.insert(made.begin(), std::to_string(i));
    report(device, {MessageReport{message("r", made.front())}});
  }
  Texts seen;
  std::string next;
  do {
    const auto page = ok("GET", "/v1/messages?roomId=r&limit=3" + (next.empty() ? "" : "&cursor=" + next));
    for (const auto& one : page["messages"]) seen.push_back(text_of(one["content"]["text"]));
    next = page["nextCursor"].is_null() ? "" : page["nextCursor"].get<std::string>();
    report(device, {MessageReport{message("r", "later")}});
  } while (!next.empty());
  EXPECT_EQ(seen, made);
}

TEST_F(MessagesApi, LongMessagesMakeShortPages) {
  const std::string text(60'000, 'x');
  for (int i = 0; i < 100; ++i) report(device, {MessageReport{message("r", text)}});
  std::size_t seen = 0;
  int pages = 0;
  std::string next;
  do {
    const auto page = ok("GET", "/v1/messages?limit=1000" + (next.empty() ? "" : "&cursor=" + next));
    seen += page["messages"].size();
    next = page["nextCursor"].is_null() ? "" : page["nextCursor"].get<std::string>();
    ++pages;
  } while (!next.empty());
  EXPECT_EQ(seen, 100U);
  EXPECT_EQ(pages, 2);
}

TEST_F(MessagesApi, ASnapshotRepeatsThemWithoutEffect) {
  const auto known = message("r", "known");
  const auto lost = message("r", "lost");
  report(device, {MessageReport{known}});
  const auto answer = polled(device, poll_of(device, {}, 5));
  ASSERT_TRUE(answer.resync);
  ReportBatch batch{protocol_version(), answer.epoch, "incarnation-" + device.id, {}, {}};
  batch.lines = {encode(Report{1, MessageReport{known}}), encode(Report{2, MessageReport{lost}}),
                 encode(Report{3, SnapshotEndReport{0}})};
  EXPECT_EQ(call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate}).status,
            200);
  EXPECT_EQ(texts("?roomId=r"), (Texts{"lost", "known"}));
}

TEST_F(MessagesApi, AnOperatorPosts) {
  const auto posted =
      ok("POST", "/v1/messages", {{"roomId", "r"}, {"worldId", "w"}, {"content", {{"text", "hello"}}}}, 201);
  EXPECT_EQ(posted["by"], "operator:test");
  EXPECT_EQ(posted["time"], clock.wall());
  EXPECT_FALSE(posted.contains("nodeId"));
  EXPECT_TRUE(is_uuid(posted["id"].get<std::string>()));
  EXPECT_EQ(ok("GET", "/v1/messages?roomId=r")["messages"], json::array({posted}));
  for (const json& bad :
       {json::object(), json{{"roomId", "r"}}, json{{"content", json::object()}},
        json{{"roomId", ""}, {"content", json::object()}}, json{{"roomId", "r"}, {"content", "text"}},
        json{{"roomId", std::string(limits::kRoomBytes + 1, 'x')}, {"content", json::object()}},
        json{{"roomId", "r"}, {"content", json::object()}, {"nodeId", device.id}}}) {
    const auto response = call("POST", "/v1/messages", bad.dump(), as(admin));
    EXPECT_EQ(response.status, 400) << bad;
  }
  const auto room_for = limits::kMessageBytes - json{{"text", ""}}.dump().size();
  const auto sized = [&](std::size_t bytes) {
    return json{{"roomId", "big"}, {"content", {{"text", std::string(bytes, 'x')}}}};
  };
  ok("POST", "/v1/messages", sized(room_for), 201);
  EXPECT_EQ(problem("POST", "/v1/messages", sized(room_for + 1), 400, "limit")["field"], "content");
  EXPECT_EQ(call("POST", "/v1/messages", sized(1).dump(), as(make_operator(Role::viewer))).status, 403);
  EXPECT_EQ(call("GET", "/v1/messages", "", as(make_operator(Role::viewer))).status, 200);
  EXPECT_EQ(ok("GET", "/v1/messages")["messages"].size(), 2U);
}

TEST_F(MessagesApi, AnIdempotencyKeyPostsOnce) {
  Options options{.token = admin, .headers = {{"idempotency-key", "k-1"}}};
  const std::string body = R"({"roomId":"r","content":{"text":"hello"}})";
  const auto first = call("POST", "/v1/messages", body, options);
  EXPECT_EQ(first.status, 201);
  const auto again = call("POST", "/v1/messages", body, options);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(call("POST", "/v1/messages", R"({"roomId":"r","content":{"text":"x"}})", options).status, 409);
  // Nor is a task made with it, or a message with that of a task.
  EXPECT_EQ(call("POST", "/v1/nodes/alpha/tasks", R"({"type":"echo"})", options).status, 409);
  EXPECT_EQ(texts(""), Texts{"hello"});
}

TEST_F(MessagesApi, OneDevicePostsForItselfAndWithinItsBudget) {
  const auto mine = sent_task();
  const auto other = enroll("beta");
  auto stolen = message("r", "stolen");
  stolen.task_id = mine;
  report(other, {MessageReport{stolen}});
  EXPECT_EQ(texts(""), Texts{});
  // The same id from two devices are two messages.
  const auto one = message("r", "one");
  auto two = one;
  two.content = R"({"text":"two"})";
  report(device, {MessageReport{one}});
  report(other, {MessageReport{two}});
  EXPECT_EQ(texts(""), (Texts{"two", "one"}));
  ASSERT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
    const auto post = [&](const std::string& poster, const std::string& text) {
      MessageRecord record{0, message("x", text), poster, ""};
      record.message.node_id = poster;
      EXPECT_TRUE(writes.insert_message(record));
    };
    for (int i = 0; i < 5; ++i) post(other.id, std::to_string(i));
    writes.trim_messages(other.id, {3, 1 << 20});
    EXPECT_EQ(writes.messages({"", other.id, ""}, 0, 10).size(), 3U);
    EXPECT_EQ(writes.messages({"", other.id, ""}, 0, 10).front().message.content, R"({"text":"4"})");
    post(other.id, std::string(5000, 'x'));
    writes.trim_messages(other.id, {100, 6000});
    EXPECT_EQ(writes.messages({"", other.id, ""}, 0, 10).size(), 3U);
    writes.trim_messages(other.id, {100, 5600});
    EXPECT_EQ(writes.messages({"", other.id, ""}, 0, 10).size(), 2U);
    writes.trim_messages(device.id, {1, 1 << 20});
    EXPECT_EQ(writes.messages({"", device.id, ""}, 0, 10).size(), 1U) << "others' are not its concern";
    return {};
  }));
}

TEST_F(MessagesApi, OldOnesGoWhateverThePostersClockSaid) {
  auto ahead = message("r", "from a clock that is ahead");
  ahead.time = clock.wall() + 1000 * limits::kDay;
  auto back = message("r", "from a clock that is back");
  back.time = 1;
  report(device, {MessageReport{message("r", "old")}, MessageReport{ahead}, MessageReport{back}});
  const auto keep_house = [&](DurationMilliseconds lived) {
    EXPECT_TRUE(writer->run([&](WriteStore& writes) -> Result<void> {
      while (purge(writes, {clock.wall(), lived}, {}, 2)) {
      }
      return {};
    }));
  };
  keep_house(0);
  report(device, {MessageReport{message("r", "new")}});
  keep_house(30 * limits::kDay);
  EXPECT_EQ(texts("").size(), 4U);
  keep_house(30 * limits::kDay + 1);
  EXPECT_EQ(texts(""), Texts{"new"});
}

}  // namespace
}  // namespace agenttask::server::test
