#include <thread>

#include "tests/component/server_api/task_model_fixture.hpp"

namespace agenttask::server::test {
namespace {

class ChoicesApi : public TaskModelApi {
 protected:
  Response choose(const std::string& id, const std::string& option, const std::string& token) {
    return call("POST", path(id, "/choose"), json{{"option", option}}.dump(), as(token));
  }
  json chosen(const std::string& id, const std::string& option) {
    return ok("POST", path(id, "/choose"), {{"option", option}}, 202);
  }
};

TEST_F(ChoicesApi, WhatIsAskedIsKeptAndShown) {
  json body = question();
  body["defaultChoice"] = "revise";
  body["choiceExpiresAt"] = clock.wall() + 5000;
  body["chooser"] = "user";
  body["schedule"] = {{"updateInterval", 60'000}, {"jitter", 10}, {"overlap", "queue"}, {"catchUp", "all"}};
  const auto made = add_task(device.id, body);
  for (const auto& [name, value] : body.items()) EXPECT_EQ(made[name], value) << name;
  EXPECT_EQ(ok("GET", path(text_of(made["id"]))), made);
  EXPECT_EQ(ok("GET", "/v1/tasks")["tasks"][0]["choices"], body["choices"]);
  // The same request again is the same task; another question is another one.
  body["id"] = made["id"];
  EXPECT_EQ(ok("POST", "/v1/nodes/alpha/tasks", body)["id"], made["id"]);
  body["choices"][0]["name"] = "other";
  problem("POST", "/v1/nodes/alpha/tasks", body, 409, "conflict");
  const auto lines = directives();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["task"]["choices"], question()["choices"]);
  EXPECT_EQ(lines[0]["task"]["schedule"]["catchUp"], "all");
}

TEST_F(ChoicesApi, TheFirstOperatorIsAskedOfTheDeviceAndOthersHearOfIt) {
  const auto id = asking();
  EXPECT_EQ(ok("GET", "/v1/tasks?status=awaiting_choice")["tasks"].size(), 1U);
  const auto task = chosen(id, "confirm");
  EXPECT_EQ(task["status"], "awaiting_choice");
  EXPECT_EQ(task["choiceRequested"]["option"], "confirm");
  EXPECT_EQ(task["choiceRequested"]["by"], "operator:test");
  EXPECT_EQ(task["requested"], (json{"choose"}));
  const auto second = problem("POST", path(id, "/choose"), {{"option", "revise"}}, 409, "already-chosen");
  EXPECT_EQ(second["chosen"], task["choiceRequested"]);
  // Not even the same again: it was made once.
  problem("POST", path(id, "/choose"), {{"option", "confirm"}}, 409, "already-chosen");
  const auto lines = directives();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["kind"], "choose");
  EXPECT_EQ(lines[0]["choice"], task["choiceRequested"]);
  EXPECT_EQ(lines[0]["occurrence"], 0);
  EXPECT_EQ(lines[0]["runs"], 0);
  acknowledge();
  // Taken, and not yet told: it still is on its way.
  EXPECT_TRUE(this->task(id).contains("choiceRequested"));
  report_chosen(id, "confirm", "operator:test");
  const auto after_it = this->task(id);
  EXPECT_EQ(after_it["status"], "sent");
  EXPECT_EQ(after_it["chosen"]["by"], "operator:test");
  EXPECT_FALSE(after_it.contains("choiceRequested"));
  EXPECT_EQ(problem("POST", path(id, "/choose"), {{"option", "revise"}}, 409, "already-chosen")["chosen"],
            after_it["chosen"]);
  run_once(id, 1, 0, "confirm", TaskStatus::complete);
  EXPECT_EQ(ok("GET", path(id, "/runs"))["runs"][0]["option"], "confirm");
  EXPECT_EQ(this->task(id)["chosen"]["option"], "confirm");
  EXPECT_EQ(problem("POST", path(id, "/choose"), {{"option", "revise"}}, 409, "already-chosen")["chosen"],
            after_it["chosen"])
      << "also when it has ended: who won is what they want to know";
}

TEST_F(ChoicesApi, OfTwentyOperatorsAtOnceOneWins) {
  const auto id = asking();
  std::vector<std::string> tokens;
  for (int i = 0; i < 20; ++i) {
    tokens.push_back(text_of(ok("POST", "/v1/operators",
                                {{"role", "operator"}, {"label", "o" + std::to_string(i)}}, 201)["token"]));
  }
  std::vector<Response> answers(tokens.size());
  {
    std::vector<std::jthread> operators;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      operators.emplace_back(
          [&, i] { answers[i] = choose(id, i % 2 == 0 ? "confirm" : "revise", tokens[i]); });
    }
  }
  const auto won = task(id)["choiceRequested"];
  int winners = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto body = json::parse(answers[i].body);
    if (answers[i].status == 202) {
      ++winners;
      EXPECT_EQ(won["by"], "operator:o" + std::to_string(i));
    } else {
      EXPECT_EQ(answers[i].status, 409);
      EXPECT_EQ(body["chosen"], won);
    }
  }
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(directives().size(), 1U);
}

TEST_F(ChoicesApi, AnotherNameIsRefusedWithTheValidOnes) {
  const auto id = asking();
  for (const json& body : {json{{"option", "Confirm"}}, json{{"option", ""}}, json{{"option", "other"}},
                           json{{"option", std::string(200, 'x')}}, json{{"option", 5}}, json::object()}) {
    const auto refused = problem("POST", path(id, "/choose"), body, 400, "invalid");
    EXPECT_EQ(refused["choices"], (json{"confirm", "revise"})) << body;
    EXPECT_EQ(refused["field"], "option");
    EXPECT_NE(refused["detail"].get<std::string>().find("confirm, revise"), std::string::npos);
  }
  EXPECT_EQ(
      problem("POST", path(id, "/choose"), {{"option", "confirm"}, {"by", "me"}}, 400, "invalid")["field"],
      "by");
  EXPECT_FALSE(task(id).contains("choiceRequested"));
  EXPECT_TRUE(directives().empty());
  const auto viewer = make_operator(Role::viewer);
  EXPECT_EQ(choose(id, "confirm", viewer).status, 403);
  EXPECT_EQ(choose(id, "confirm", make_operator(Role::operator_)).status, 202);
  problem("POST", "/v1/tasks/" + std::string(36, '0') + "/choose", {{"option", "x"}}, 404, "unknown-task");
}

TEST_F(ChoicesApi, ATaskThatAsksNothingOrNotNowIsAConflict) {
  const auto plain = sent_task();
  problem("POST", path(plain, "/choose"), {{"option", "confirm"}}, 409, "conflict");
  auto later = question();
  later["schedule"] = {{"scheduledFor", clock.wall() + 60'000}};
  const auto id = added(later);
  problem("POST", path(id, "/choose"), {{"option", "confirm"}}, 409, "conflict");
  clock.advance(std::chrono::milliseconds(60'000));
  chosen(id, "confirm");
}

TEST_F(ChoicesApi, AnAnswerToATaskThatWasNeverSentGoesBehindIt) {
  const auto id = added(question());
  const auto task = chosen(id, "confirm");
  EXPECT_EQ(task["status"], "pending");
  EXPECT_EQ(task["requested"], (json{"choose"}));
  problem("POST", path(id, "/choose"), {{"option", "revise"}}, 409, "already-chosen");
  const auto lines = directives();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["kind"], "task");
  EXPECT_EQ(lines[1]["kind"], "choose");
  // Cancelled before it is sent, nothing of it goes out.
  const auto other = added(question());
  chosen(other, "confirm");
  EXPECT_FALSE(ok("POST", path(other, "/cancel")).contains("choiceRequested"));
  EXPECT_TRUE(directives().empty());
}

TEST_F(ChoicesApi, TheDevicesUserWasFirst) {
  const auto id = asking();
  chosen(id, "confirm");
  const auto lines = directives();
  ASSERT_EQ(lines.size(), 1U);
  // On the device somebody chose in the meantime: that is reported, and then the refusal.
  report_chosen(id, "revise", "user:ann");
  const auto told = task(id);
  EXPECT_EQ(told["chosen"]["by"], "user:ann");
  EXPECT_FALSE(told.contains("choiceRequested"));
  report(device, {RefusedReport{number_of(lines[0]), id, "already-chosen", "user:ann chose revise already"}});
  EXPECT_EQ(task(id)["status"], "sent");
  EXPECT_FALSE(task(id).contains("detail") &&
               task(id)["detail"].get<std::string>().find("refused") != std::string::npos);
  EXPECT_EQ(
      problem("POST", path(id, "/choose"), {{"option", "confirm"}}, 409, "already-chosen")["chosen"]["by"],
      "user:ann");
}

TEST_F(ChoicesApi, AnswersToRecurringQuestionsCarryTheOccurrence) {
  auto body = question();
  body["schedule"] = {{"updateInterval", 60'000}};
  const auto id = asking(7, body);
  chosen(id, "confirm");
  auto lines = directives();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["occurrence"], 7);
  // The occurrence went by meanwhile, and the next one asks: the answer was not for that one.
  auto task = held(id, TaskStatus::awaiting_choice);
  task.state.occurrence = 8;
  report_changed(task);
  EXPECT_FALSE(this->task(id).contains("choiceRequested"));
  chosen(id, "revise");
  report(device,
         {RefusedReport{number_of(lines[0]), id, "conflict", "the answer is for an earlier occurrence"}});
  EXPECT_EQ(this->task(id)["choiceRequested"]["option"], "revise") << "the refusal was of the one before";
  lines = directives();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["occurrence"], 8);
  report(device,
         {RefusedReport{number_of(lines[0]), id, "conflict", "the answer is for an earlier occurrence"}});
  EXPECT_FALSE(this->task(id).contains("choiceRequested"));
  // Between two questions there is nothing to answer.
  report_chosen(id, "confirm", "user:ann", 8);
  run_once(id, 1, 8, "confirm");
  EXPECT_EQ(
      problem("POST", path(id, "/choose"), {{"option", "confirm"}}, 409, "already-chosen")["chosen"]["by"],
      "user:ann");
  task = held(id, TaskStatus::awaiting_choice);
  task.state.occurrence = 9;
  task.state.chosen.reset();
  report_changed(task);
  chosen(id, "confirm");
}

TEST_F(ChoicesApi, AnAgentThatKnowsNoChoicesSettlesTheAnswer) {
  const auto id = asking();
  chosen(id, "confirm");
  const auto lines = directives();
  report(device, {RefusedReport{number_of(lines[0]), "", "unsupported", "this agent can't read it"}});
  EXPECT_FALSE(task(id).contains("choiceRequested"));
  EXPECT_EQ(task(id)["status"], "awaiting_choice");
}

TEST_F(ChoicesApi, AHostileDeviceInventsNoAnswers) {
  const auto id = asking();
  report_chosen(id, "unheard-of", "user:ann");
  EXPECT_EQ(task(id)["status"], "awaiting_choice");
  EXPECT_FALSE(task(id).contains("chosen"));
  auto state = held(id, TaskStatus::complete).state;
  state.chosen = ChoiceMade{"confirm", "user:ann", 5};
  report(device, {ChosenReport{id, state}});
  EXPECT_EQ(task(id)["status"], "awaiting_choice");
  const auto other = enroll("beta");
  report(other, {ChosenReport{id, held(id, TaskStatus::sent).state}});
  EXPECT_EQ(task(id)["status"], "awaiting_choice");
}

TEST_F(ChoicesApi, AnAnswerIsAskedAgainInANewEpochUnlessTheSnapshotHasOne) {
  const auto open = asking();
  const auto taken = asking();
  const auto refused = asking();
  chosen(refused, "confirm");
  const auto lines = directives();
  acknowledge();  // the device took it, and what it said about it never came
  chosen(open, "confirm");
  chosen(taken, "confirm");
  // The server was put back: the device asks with an epoch that is above.
  auto asked = poll_of(device, {}, 5);
  const auto answer = polled(device, asked);
  ASSERT_TRUE(answer.resync);
  std::vector<std::string> snapshot;
  Cursor at;
  const auto tell = [&](decltype(Report::body) body) {
    snapshot.push_back(encode(Report{at.sequence + 1, std::move(body)}));
    at = agenttask::advance(at, snapshot.back());
  };
  tell(CreatedReport{held(open, TaskStatus::awaiting_choice), {}, true});
  tell(CreatedReport{held(refused, TaskStatus::awaiting_choice), {}, true});
  auto mine = held(taken, TaskStatus::sent);
  mine.state.chosen = ChoiceMade{"revise", "user:ann", 5};
  tell(CreatedReport{mine, {}, true});
  tell(SnapshotEndReport{3});
  const ReportBatch batch{protocol_version(), answer.epoch, "incarnation-" + device.id, {}, snapshot};
  EXPECT_EQ(call("POST", "/v1/device/reports", encode(batch), {.certificate = device.certificate}).status,
            200);
  EXPECT_EQ(task(open)["choiceRequested"]["option"], "confirm");
  EXPECT_FALSE(task(refused).contains("choiceRequested")) << "nobody will answer that any more";
  EXPECT_FALSE(task(taken).contains("choiceRequested"));
  EXPECT_EQ(task(taken)["chosen"]["by"], "user:ann");
  const auto again = polled(device, poll_of(device, {}, answer.epoch));
  std::vector<std::string> kinds;
  for (const auto& line : again.lines) kinds.push_back(text_of(json::parse(line)["kind"]));
  EXPECT_EQ(kinds, (std::vector<std::string>{"task", "task", "task", "choose", "choose"}));
}

}  // namespace
}  // namespace agenttask::server::test
