#include "agent/workers/builtin_workers.hpp"
#include "agent/workers/task_concerns.hpp"
#include "tests/component/agent_workers/external_worker_fixture.hpp"

namespace agenttask::agent {
namespace {

/// Calls of services as tasks of their own.
class ServiceTaskTest : public ExternalWorkerTest {
 protected:
  ServiceTaskTest() {
    task_.spec.type = "service";
    task_.spec.data = R"({"service":"sum","method":"add","arguments":{"a":1}})";
    EXPECT_TRUE(registry_.add("service", make_service_worker(registry_, supervisor_)));
  }
  void offer(const std::string& script, const std::string& more = "") {
    make("neighbour", R"({"services":["sum"],"command":["./run"])" + more + "}", script);
    registry_.set_external({}, services());
  }
  [[nodiscard]] const TaskWorker& worker() const { return *registry_.find("service"); }
  WorkResult call() { return worker().execute(context_, task_); }

  WorkerRegistry registry_;
};

TEST_F(ServiceTaskTest, ItsAnswerIsTheResult) {
  offer(R"(echo "$request"; echo aside >&2; echo '{"result":[1,{"n":9007199254740993}]}')");
  ASSERT_TRUE(worker().validate(task_, {})->may_run);
  const auto result = call();
  EXPECT_EQ(RunStatus::complete, result.status) << result.detail;
  EXPECT_EQ(R"({"answer":[1,{"n":9007199254740993}]})", result.data);
  EXPECT_EQ(R"({"serve":{"arguments":{"a":1},"method":"add","service":"sum"}})"
            "\n",
            context_.out);
  EXPECT_EQ("aside\n", context_.err);
  EXPECT_EQ(6, (*parse_json(result.output))["stderrBytes"]);
}

TEST_F(ServiceTaskTest, AnyJsonIsAnAnswer) {
  for (const char* value : {"null", "5", R"("text")", "{}", "false"}) {
    offer(std::string(R"(echo '{"result":)") + value + "}'");
    EXPECT_EQ(std::string(R"({"answer":)") + value + "}", call().data);
  }
}

TEST_F(ServiceTaskTest, ArgumentsMayBeLeftOutAndAChoiceJoinsThem) {
  offer(R"(printf '%s' "$request" >&2; echo '{"result":1}')");
  task_.spec.data = R"({"service":"sum","method":"add"})";
  EXPECT_EQ(RunStatus::complete, call().status);
  EXPECT_EQ(R"({"serve":{"arguments":{},"method":"add","service":"sum"}})", context_.err);
  context_.err.clear();
  task_.state.chosen = ChoiceMade{"confirm", "operator:x", 1};
  EXPECT_EQ(RunStatus::complete, call().status);
  EXPECT_EQ(R"({"serve":{"arguments":{"option":"confirm"},"method":"add","service":"sum"}})", context_.err);
}

TEST_F(ServiceTaskTest, ItsFailureIsTheRuns) {
  offer(R"(echo '{"error":{"code":"overflow","message":"too much","data":{"most":9}}}')");
  const auto result = call();
  EXPECT_EQ(RunStatus::failed, result.status);
  EXPECT_EQ(reason::kWorkerError, result.reason);
  EXPECT_EQ("overflow", result.code);
  EXPECT_EQ("too much", result.detail);
  EXPECT_EQ(9, data(result)["details"]["most"]);
}

TEST_F(ServiceTaskTest, WithoutAnAnswerItFailed) {
  const auto failed = [&](const std::string& script) {
    offer(script);
    const auto result = call();
    EXPECT_EQ(RunStatus::failed, result.status) << script;
    EXPECT_EQ(reason::kWorkerError, result.reason) << script;
    return result.detail;
  };
  EXPECT_EQ("the service gave no result", failed("exit 0"));
  EXPECT_EQ("exit code 3", failed(R"(echo '{"result":1}'; exit 3)"));
  EXPECT_EQ("ended by SIGKILL", failed("kill -KILL $$"));
  EXPECT_NE(std::string::npos, failed(R"(echo '{"result":')").find("its result can't be read"));
  EXPECT_EQ("neither a check nor a service can make calls",
            failed(R"(echo '{"call":{"id":1,"name":"getTasks"}}'; read -r answer; echo "$answer" >&2
m=${answer#*message\":\"}; echo '{"error":{"message":"'"${m%%\"*}"'"}}')"));
}

TEST_F(ServiceTaskTest, ItStopsWithTheRun) {
  offer("echo begun; sleep 600");
  context_.on_output = [&] { context_.stop_for(StopCause::cancel); };
  const auto result = call();
  EXPECT_EQ(RunStatus::cancelled, result.status);
  EXPECT_TRUE(result.nothing_survives);
}

TEST_F(ServiceTaskTest, ItMayTakeAsLongAsTaskAndWorkerAllow) {
  times_.service = milliseconds(1);  // of a call within a run; here the task's own time counts
  offer(R"(sleep 0.1; echo '{"result":1}')", R"(,"timeout":5000)");
  EXPECT_EQ(RunStatus::complete, call().status);
  task_.spec.options.timeout = 60'000;
  EXPECT_EQ(5000, run_limit(task_.spec, worker()));
  task_.spec.options.timeout = 4000;
  EXPECT_EQ(4000, run_limit(task_.spec, worker()));
}

TEST_F(ServiceTaskTest, OneThatNobodyOffersIsWaitedFor) {
  EXPECT_EQ("no worker on this device offers the service sum", worker().lacks(task_.spec));
  EXPECT_FALSE(worker().validate(task_, {})->may_run);
  const auto gone = call();
  EXPECT_EQ(reason::kWorkerError, gone.reason);
  EXPECT_EQ("no worker on this device offers the service sum any more", gone.detail);
  offer("exit 0");
  EXPECT_EQ("", worker().lacks(task_.spec));
  fs::remove(folder_.path() / "neighbour" / "run");
  const auto valid = worker().validate(task_, {});
  EXPECT_FALSE(valid->may_run);
  EXPECT_EQ(0u, valid->detail.find("the worker can't be used: cannot run ./run: "));
}

TEST_F(ServiceTaskTest, WhatIsNoCallIsInvalid) {
  task_.spec.data = R"({"service":"sum"})";
  EXPECT_EQ(ErrorCode::invalid, worker().check_data(task_.spec).error().code);
  EXPECT_EQ("data.method", worker().validate(task_, {}).error().field);
  EXPECT_EQ("", worker().lacks(task_.spec)) << "nothing would help";
}

class ConcernsTest : public ServiceTaskTest {
 protected:
  std::vector<std::string> concerns(const std::string& type, const std::string& data) {
    WorkerRegistry::Workers external;
    std::vector<WorkerDescription> list;
    for (const FoundWorker& found : read_workers(folder_.path())) {
      const auto manifest = std::make_shared<const WorkerManifest>(found.manifest);
      list.push_back({manifest->name, "", manifest->types, manifest->services, false, 0,
                      found.problems.empty() ? "" : found.problems.front()});
      if (!found.problems.empty()) continue;
      for (const auto& one : manifest->types)
        external.emplace(one, make_external_worker(manifest, services(), supervisor_));
    }
    registry_.set_external(std::move(external));
    TaskSpec spec;
    spec.type = type;
    spec.data = data;
    return concerns_about(spec, registry_, list);
  }
};

TEST_F(ConcernsTest, WhatKeepsATaskFromRunningIsSaid) {
  make("strict",
       R"({"types":["STRICT"],"command":["./run"],"dataSchema":{"type":"object","required":["userId"]}})",
       "exit 0");
  using Lines = std::vector<std::string>;
  EXPECT_EQ(Lines{}, concerns("STRICT", R"({"userId":"ann"})"));
  const auto unfit = concerns("STRICT", R"({"user":"ann"})");
  ASSERT_EQ(1u, unfit.size());
  EXPECT_EQ(0u, unfit[0].find("the worker of STRICT does not take this data (data: ")) << unfit[0];
  EXPECT_NE(std::string::npos, unfit[0].find("userId")) << unfit[0];
  EXPECT_NE(std::string::npos, unfit[0].find("): unless that changes, the task fails as invalid"))
      << unfit[0];
  EXPECT_EQ(Lines{"no worker of this device runs STRCT: the task is kept and waits for one; agenttask "
                  "workers lists them"},
            concerns("STRCT", "{}"));
  EXPECT_EQ(Lines{"no worker on this device offers the service sum: the task is kept and waits for one; "
                  "agenttask workers lists them"},
            concerns("service", task_.spec.data));
}

TEST_F(ConcernsTest, AWorkerThatIsRefusedIsNamed) {
  make("broken", R"({"types":["B"],"services":["sum"],"command":["./gone"]})", "exit 0");
  for (const auto& [type, data] : {std::pair("B", "{}"), std::pair("service", task_.spec.data.c_str())}) {
    const auto lines = concerns(type, data);
    ASSERT_EQ(1u, lines.size());
    EXPECT_NE(std::string::npos,
              lines[0].find("; the worker broken, which would, is refused: cannot run ./gone: "))
        << lines[0];
  }
}

}  // namespace
}  // namespace agenttask::agent
