#include "platform/protocol/task_request.hpp"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "platform/base/encoding.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask {
namespace {

Result<TaskSpec> parse(const std::string& text) {
  const auto body = parse_json(text);
  if (!body) return body.error();
  return parse_task_request(*body);
}

std::string field_at_fault(const std::string& text) {
  const auto spec = parse(text);
  return spec ? "accepted" : spec.error().field;
}

TEST(TaskRequest, NeedsOnlyAType) {
  const auto spec = parse(R"({"type":"echo"})");
  ASSERT_TRUE(spec.has_value()) << spec.error().message;
  EXPECT_EQ(spec->metadata, "{}");
  EXPECT_EQ(spec->data, "{}");
  EXPECT_EQ(spec->options.timeout, 60000);
  EXPECT_FALSE(spec->options.expires_at.has_value());
}

TEST(TaskRequest, KeepsEverythingItIsGiven) {
  const auto spec = parse(
      R"({"id":"6BA7B810-9DAD-11D1-80B4-00C04FD430C8","nodeId":"n1","type":"report","description":"d","tags":["a","b","a"],
    "roomId":"r","worldId":"w","data":{"n":9007199254740993},"metadata":{"k":null},
    "options":{"timeout":0,"expiresAt":5,"retry":{"maxAttempts":3},"onInterrupt":"rerun","maxOutputBytes":16777216,"priority":-1000,
    "concurrencyKey":"db"},"schedule":{"scheduledFor":253402300799999}})");
  ASSERT_TRUE(spec.has_value()) << spec.error().message;
  EXPECT_EQ(spec->id, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
  EXPECT_EQ(spec->tags, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(spec->data, R"({"n":9007199254740993})");
  EXPECT_EQ(spec->metadata, R"({"k":null})");
  EXPECT_EQ(spec->options.retry->max_attempts, 3);
  EXPECT_EQ(spec->options.on_interrupt, OnInterrupt::rerun);
  const auto again = spec_from_json(spec_to_json(*spec));
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(*again, *spec);
}

// The name of an unknown field is quoted, but never in half characters: the refusal could not be sent on.
TEST(TaskRequest, QuotesWholeCharacters) {
  const std::string name = std::string(99, 'x') + "\u00e4";
  for (const auto& body : {R"({"type":"x",")" + name + R"(":1})",
                           R"({"type":"command","data":{"cmd":"x","env":{")" + name + R"(=":"x"}}})"}) {
    const auto spec = parse_task_request(*parse_json(body));
    ASSERT_TRUE(spec.has_error()) << body;
    EXPECT_TRUE(is_utf8(spec.error().message + spec.error().field)) << spec.error().message;
  }
}

// A4: refused with the field's name.
TEST(TaskRequest, NamesTheFieldAtFault) {
  const auto with = [](const std::string& member) { return R"({"type":"echo",)" + member + "}"; };
  for (const char* value : {"\"NaN\"", "-1", "\"5\"", "1e18", "1.5", "null", "[]", "1000000000000000000"}) {
    EXPECT_EQ(field_at_fault(with(std::string(R"("options":{"timeout":)") + value + "}")), "options.timeout")
        << value;
    EXPECT_EQ(field_at_fault(with(std::string(R"("schedule":{"scheduledFor":)") + value + "}")),
              "schedule.scheduledFor")
        << value;
    EXPECT_EQ(field_at_fault(with(std::string(R"("schedule":{"updateInterval":)") + value + "}")),
              "schedule.updateInterval")
        << value;
  }
  EXPECT_EQ(field_at_fault(R"({})"), "type");
  EXPECT_EQ(field_at_fault(R"({"type":""})"), "type");
  EXPECT_EQ(field_at_fault(R"({"type":"a b"})"), "type");
  EXPECT_EQ(field_at_fault(with(R"("typo":1)")), "typo");
  EXPECT_EQ(field_at_fault(with(R"("":1)")), R"("")");
  EXPECT_EQ(field_at_fault(with(R"("options":{"timeuot":1})")), "options.timeuot");
  EXPECT_EQ(field_at_fault(with(R"("tags":"a")")), "tags");
  EXPECT_EQ(field_at_fault(with(R"("tags":["a",1])")), "tags[1]");
  EXPECT_EQ(field_at_fault(with(R"("tags":[""])")), "tags[0]");
  EXPECT_EQ(field_at_fault(with(R"("id":"7")")), "id");
  EXPECT_EQ(field_at_fault(with(R"("data":[])")), "data");
  EXPECT_EQ(field_at_fault(with(R"("options":{"retry":{"maxAttempts":0}})")), "options.retry.maxAttempts");
  EXPECT_EQ(field_at_fault(with(R"("options":{"retry":{"maxAttempts":2,"backoff":10,"maxBackoff":5}})")),
            "options.retry.maxBackoff");
  EXPECT_EQ(field_at_fault(with(R"("description":"a\u0000b")")), "description");
}

TEST(TaskRequest, HoldsTheLimits) {
  const auto data_of = [](std::size_t bytes) {
    return R"({"type":"x","data":{"m":")" + std::string(bytes - 8, 'x') + R"("}})";
  };
  EXPECT_EQ(field_at_fault(data_of(limits::kDataBytes)), "accepted");
  EXPECT_EQ(field_at_fault(data_of(limits::kDataBytes + 1)), "data");
  EXPECT_EQ(field_at_fault(R"({"type":")" + std::string(limits::kTypeBytes, 'x') + R"("})"), "accepted");
  EXPECT_EQ(field_at_fault(R"({"type":")" + std::string(limits::kTypeBytes + 1, 'x') + R"("})"), "type");
  EXPECT_EQ(field_at_fault(R"({"type":"x","options":{"maxOutputBytes":16777217}})"),
            "options.maxOutputBytes");
  EXPECT_EQ(field_at_fault(R"({"type":"x","schedule":{"updateInterval":999}})"), "schedule.updateInterval");
}

TEST(TaskRequest, OnlyACommandOutlivesTheAgent) {
  const auto spec = parse(
      R"({"id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","type":"command","data":{"cmd":"reboot"},"options":{"outlivesAgent":true}})");
  ASSERT_TRUE(spec.has_value()) << spec.error().message;
  EXPECT_TRUE(spec->options.outlives_agent);
  EXPECT_EQ(*spec_from_json(spec_to_json(*spec)), *spec);
  EXPECT_FALSE(parse(R"({"type":"command","data":{"cmd":"x"}})")->options.outlives_agent);
  EXPECT_EQ(field_at_fault(R"({"type":"echo","options":{"outlivesAgent":true}})"), "options.outlivesAgent");
  EXPECT_EQ(field_at_fault(R"({"type":"echo","options":{"outlivesAgent":false}})"), "accepted");
  EXPECT_EQ(field_at_fault(R"({"type":"command","data":{"cmd":"x"},"options":{"outlivesAgent":1}})"),
            "options.outlivesAgent");
  const auto changed = [](const TaskSpec& current, const char* text) {
    return parse_task_changes(*parse_json(text), current, 0, 0);
  };
  TaskSpec echo;
  echo.type = "echo";
  EXPECT_EQ(changed(echo, R"({"options":{"outlivesAgent":true}})").error().field, "options.outlivesAgent");
  EXPECT_FALSE(changed(*spec, R"({"options":{"outlivesAgent":null}})")->options->outlives_agent);
  EXPECT_TRUE(changed(*spec, R"({"options":{"priority":1}})")->options->outlives_agent);
}

TEST(TaskRequest, TakesASchedule) {
  const auto spec = parse(
      R"({"id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8","nodeId":"n","type":"x","schedule":{"scheduledFor":5,"updateInterval":1000,"jitter":250,"overlap":"cancelPrevious","catchUp":"all"}})");
  ASSERT_TRUE(spec.has_value()) << spec.error().message;
  EXPECT_EQ(spec->schedule, (TaskSchedule{5, 1000, 250, Overlap::cancel_previous, CatchUp::all}));
  EXPECT_EQ(*spec_from_json(spec_to_json(*spec)), *spec);
  const auto with = [](const std::string& members) { return R"({"type":"x","schedule":{)" + members + "}}"; };
  EXPECT_EQ(field_at_fault(with(R"("overlap":"queue")")), "schedule.overlap");
  EXPECT_EQ(field_at_fault(with(R"("catchUp":"once")")), "schedule.catchUp");
  EXPECT_EQ(field_at_fault(with(R"("updateInterval":1000,"overlap":"Skip")")), "schedule.overlap");
  EXPECT_EQ(field_at_fault(with(R"("updateInterval":1000,"catchUp":1)")), "schedule.catchUp");
  EXPECT_EQ(field_at_fault(with(R"("jitter":2592000000)")), "accepted");
  EXPECT_EQ(field_at_fault(with(R"("jitter":2592000001)")), "schedule.jitter");
  EXPECT_EQ(field_at_fault(with(R"("cron":"* * * * *")")), "schedule.cron");
}

TEST(TaskRequest, TakesAQuestion) {
  const auto with = [](const std::string& members) { return R"({"type":"x",)" + members + "}"; };
  const auto spec = parse(with(
      R"("choices":[{"name":"confirm","description":"Proceed"},{"name":"cancel"}],"defaultChoice":"cancel","choiceExpiresAt":7,"chooser":"user")"));
  ASSERT_TRUE(spec.has_value()) << spec.error().message;
  EXPECT_EQ(spec->choices, (std::vector<Choice>{{"confirm", "Proceed"}, {"cancel", ""}}));
  EXPECT_EQ(spec->default_choice, "cancel");
  EXPECT_EQ(spec->choice_expires_at, 7);
  EXPECT_EQ(spec->chooser, Chooser::user);
  EXPECT_NE(spec->find_choice("confirm"), nullptr);
  EXPECT_EQ(spec->find_choice("Confirm"), nullptr);
  EXPECT_EQ(field_at_fault(with(R"("choices":[])")), "accepted");
  EXPECT_EQ(field_at_fault(with(R"("choices":["yes"])")), "choices[0]");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"name":""}])")), "choices[0].name");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"description":"a"}])")), "choices[0].name");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"name":"a"},{"name":"a"}])")), "choices[1].name");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"name":"a\nb"}])")), "choices[0].name");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"name":"a","key":1}])")), "choices[0].key");
  EXPECT_EQ(field_at_fault(with(R"("chooser":"user")")), "chooser");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"name":"a"}],"chooser":"everyone")")), "chooser");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"name":"a"}],"defaultChoice":"b","choiceExpiresAt":1)")),
            "defaultChoice");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"name":"a"}],"defaultChoice":"a")")), "defaultChoice");
  std::string most;
  for (std::size_t i = 0; i < limits::kChoices; ++i) most += R"({"name":"c)" + std::to_string(i) + R"("},)";
  most.pop_back();
  EXPECT_EQ(field_at_fault(with(R"("choices":[)" + most + "]")), "accepted");
  EXPECT_EQ(field_at_fault(with(R"("choices":[{"name":"one more"},)" + most + "]")), "choices");
}

TEST(TaskChanges, TurnARecurringTaskIntoOneThatRunsOnce) {
  TaskSpec current;
  current.schedule = {5, 1000, 0, Overlap::queue, CatchUp::all};
  const auto changes =
      parse_task_changes(*parse_json(R"({"schedule":{"updateInterval":null}})"), current, 0, 0);
  ASSERT_TRUE(changes.has_value()) << changes.error().message;
  EXPECT_EQ(*changes->schedule, (TaskSchedule{5, std::nullopt, 0, Overlap::skip, CatchUp::once}));
  const auto longer =
      parse_task_changes(*parse_json(R"({"schedule":{"updateInterval":2000}})"), current, 0, 0);
  EXPECT_EQ(*longer->schedule, (TaskSchedule{5, 2000, 0, Overlap::queue, CatchUp::all}));
}

TEST(CommandData, IsCheckedAtTheDoor) {
  const auto with = [](const std::string& data) { return R"({"type":"command","data":)" + data + "}"; };
  EXPECT_EQ(field_at_fault(with(R"({"cmd":"dir"})")), "accepted");
  EXPECT_EQ(field_at_fault(
                with(R"({"argv":["ls","-l",""],"cwd":"/","env":{"A":"b"},"stdin":"x","runAs":"nobody"})")),
            "accepted");
  EXPECT_EQ(field_at_fault(with(R"({})")), "data.cmd");
  EXPECT_EQ(field_at_fault(R"({"type":"command"})"), "data.cmd");
  EXPECT_EQ(field_at_fault(with(R"({"cmd":"x","argv":["y"]})")), "data.argv");
  EXPECT_EQ(field_at_fault(with(R"({"argv":[]})")), "data.argv");
  EXPECT_EQ(field_at_fault(with(R"({"cmd":""})")), "data.cmd");
  EXPECT_EQ(field_at_fault(with(R"({"cmd":"a\u0000b"})")), "data.cmd");
  EXPECT_EQ(field_at_fault(with(R"({"cmd":"x","shell":"fish"})")), "data.shell");
  EXPECT_EQ(field_at_fault(with(R"({"cmd":"x","env":{"A=B":"c"}})")), "data.env.A=B");
  EXPECT_EQ(field_at_fault(with(R"({"cmd":"x","env":{"A":1}})")), "data.env.A");
  EXPECT_EQ(field_at_fault(with(R"({"cmd":"x","timeout":1})")), "data.timeout");
}

TEST(ServiceData, IsCheckedAtTheDoor) {
  const auto field = [](const std::string& data) {
    const auto spec = parse_task_request(*parse_json(R"({"type":"service","data":)" + data + "}"));
    return spec ? "" : spec.error().field;
  };
  EXPECT_EQ("", field(R"({"service":"solana","method":"getBalance"})"));
  EXPECT_EQ("",
            field(R"({"service":"s","method":")" + std::string(128, 'm') + R"(","arguments":{"a":[1]}})"));
  EXPECT_EQ("data.method", field(R"({"service":"s","method":")" + std::string(129, 'm') + R"("})"));
  EXPECT_EQ("data.service", field("{}"));
  EXPECT_EQ("data.service", field(R"({"service":"","method":"m"})"));
  EXPECT_EQ("data.service", field(R"({"service":")" + std::string(65, 's') + R"(","method":"m"})"));
  EXPECT_EQ("data.method", field(R"({"service":"s"})"));
  EXPECT_EQ("data.arguments", field(R"({"service":"s","method":"m","arguments":[]})"));
  EXPECT_EQ("data.call", field(R"({"service":"s","method":"m","call":"m"})"));
  EXPECT_EQ("data.service", parse_task_request(*parse_json(R"({"type":"service"})")).error().field);
  const auto call = parse_service_data(R"({"service":"s","method":"m","arguments":{"n":9007199254740993}})");
  ASSERT_TRUE(call);
  EXPECT_EQ("s", call->service);
  EXPECT_EQ("m", call->method);
  EXPECT_EQ(R"({"n":9007199254740993})", call->arguments);
  EXPECT_EQ("{}", parse_service_data(R"({"service":"s","method":"m"})")->arguments);
}

TEST(TaskChanges, LayOptionsOverTheOldOnes) {
  TaskSpec current;
  current.metadata = R"({"a":1,"b":2})";
  current.options.priority = 5;
  current.options.expires_at = 9;
  const auto changes = parse_task_changes(
      *parse_json(
          R"({"description":"new","metadata":{"a":null,"c":3},"options":{"timeout":7,"expiresAt":null}})"),
      current, 0, 0);
  ASSERT_TRUE(changes.has_value()) << changes.error().message;
  const auto changed = apply_changes(current, *changes);
  ASSERT_TRUE(changed.has_value());
  EXPECT_EQ(changed->description, "new");
  EXPECT_EQ(changed->metadata, R"({"b":2,"c":3})");
  EXPECT_EQ(changed->options.timeout, 7);
  EXPECT_EQ(changed->options.priority, 5);
  EXPECT_FALSE(changed->options.expires_at.has_value());
}

TEST(TaskChanges, MoveTheDefaultExpiryWithTheSchedule) {
  constexpr UnixMilliseconds kAdded = 1'800'000'000'000;
  constexpr UnixMilliseconds kDue = kAdded + 60 * limits::kDay;
  TaskSpec current;
  current.options.priority = 5;
  const auto expiry = [&](const std::string& body, UnixMilliseconds now = 1) {
    const auto changes = parse_task_changes(*parse_json(body), current, kAdded, now);
    EXPECT_TRUE(changes) << changes.error().message;
    const auto changed = apply_changes(current, *changes);
    EXPECT_EQ(changed->options.priority, 5);
    return changed->options.expires_at;
  };
  const std::string later = R"({"schedule":{"scheduledFor":)" + std::to_string(kDue) + "}}";
  const std::string recurring = R"({"schedule":{"updateInterval":86400000}})";
  current.options.expires_at = default_expiry(current.schedule, kAdded);
  EXPECT_EQ(current.options.expires_at, kAdded + limits::kDefaultExpiry);
  EXPECT_EQ(expiry(later), kDue + limits::kDefaultExpiry);
  EXPECT_EQ(expiry(recurring), std::nullopt);
  EXPECT_EQ(expiry(R"({"description":"x"})"), current.options.expires_at);
  EXPECT_EQ(expiry(R"({"schedule":{"updateInterval":86400000},"options":{"expiresAt":7}})"), 7);
  current.schedule.scheduled_for = kDue;
  current.options.expires_at = default_expiry(current.schedule, kAdded);
  const UnixMilliseconds late = kAdded + 40 * limits::kDay;
  EXPECT_EQ(expiry(R"({"schedule":{"scheduledFor":null}})", late), late + limits::kDefaultExpiry)
      << "it runs at once, and has not expired before it could";
  EXPECT_EQ(expiry(R"({"schedule":{"scheduledFor":null}})"), kAdded + limits::kDefaultExpiry);
  EXPECT_EQ(expiry(R"({"schedule":{"jitter":5}})"), kDue + limits::kDefaultExpiry);
  // What somebody wished stays.
  for (const auto wished : {kAdded + 3, kDue + limits::kDefaultExpiry - 1}) {
    current.options.expires_at = wished;
    EXPECT_EQ(expiry(later), wished);
    EXPECT_EQ(expiry(recurring), wished);
  }
  current.options.expires_at.reset();
  EXPECT_EQ(expiry(later), std::nullopt);
}

TEST(TaskChanges, RefuseWhatAnUpdateCannotTouch) {
  for (const char* text : {"{}", R"({"type":"x"})", R"({"data":{}})", R"({"status":"complete"})",
                           R"({"metadata":null})", "[]"}) {
    EXPECT_TRUE(parse_task_changes(*parse_json(text), {}, 0, 0).has_error()) << text;
  }
}

TEST(TaskChanges, HoldTheMetadataLimitAfterTheMerge) {
  TaskSpec current;
  current.metadata = R"({"a":")" + std::string(40000, 'x') + R"("})";
  TaskChanges changes;
  changes.metadata = R"({"b":")" + std::string(40000, 'x') + R"("})";
  const auto changed = apply_changes(current, changes);
  ASSERT_TRUE(changed.has_error());
  EXPECT_EQ(changed.error().field, "metadata");
}

TEST(RequestDigest, IsTheRequestWithoutItsId) {
  const auto one = parse(R"({"type":"echo","data":{"b":1,"a":2},"tags":["x"]})");
  const auto same = parse(
      R"({"tags":["x"],"data":{"a":2,"b":1},"type":"echo","id":"6ba7b810-9dad-11d1-80b4-00c04fd430c8"})");
  const auto other = parse(R"({"type":"echo","data":{"b":1,"a":3},"tags":["x"]})");
  EXPECT_EQ(request_digest(*one), request_digest(*same));
  EXPECT_NE(request_digest(*one), request_digest(*other));
}

}  // namespace
}  // namespace agenttask
