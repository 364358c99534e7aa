// A worker that does what workers should and should not do, for test_worker_library.py; awkward_worker.py is
// its twin.
#include <agenttask/worker.hpp>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using agenttask::worker::Context;
using agenttask::worker::Failure;
using agenttask::worker::Json;
using agenttask::worker::Problem;
using agenttask::worker::Validity;

using Execute = Json (*)(Context& context, const Json& options, const Json& task);

class Awkward : public agenttask::worker::TaskWorker {
 public:
  Awkward(std::string type, Execute body) : type_(std::move(type)), execute_(body) {}
  std::string type() const override { return type_; }
  Validity validate(const Json& task) override {
    const std::string what = task.at("data").value("validate", "true");
    if (what == "throw") throw std::runtime_error("can't say");
    if (what == "later") return Validity::not_now("not on Sundays");
    return what == "true";
  }
  Json execute(Context& context, const Json& options, const Json& task) override {
    return execute_(context, options, task);
  }

 private:
  std::string type_;
  Execute execute_;
};

class AwkwardService : public agenttask::worker::Service {
 public:
  std::string name() const override { return "awkward"; }
  Json serve(const agenttask::worker::StopSignal&, const std::string& method,
             const Json& arguments) override {
    if (method == "throw") throw std::runtime_error("it broke");
    return arguments.at("value");
  }
};

Json call_all(Context& context, const Json&, const Json& task) {
  Json answers = Json::array();
  answers.push_back(context.create_task({{"type", "echo"}, {"data", {{"message", "hi"}}}}));
  answers.push_back(context.get_tasks());
  answers.push_back(context.get_tasks({{"tags", {"a", "b"}}, {"limit", 5}}));
  answers.push_back(context.get_tasks_by_type("echo"));
  answers.push_back(context.get_task("unknown").has_value());
  answers.push_back(context.get_task("known").value());
  answers.push_back(context.update_task("known", {{"description", "new"}}));
  context.delete_task(task.at("id").get<std::string>());
  answers.push_back(context.create_message({{"text", "hello"}}));
  answers.push_back(context.create_message({{"text", "there"}}, "other", "world"));
  answers.push_back(context.get_messages("lobby"));
  answers.push_back(context.get_messages("lobby", 3));
  answers.push_back(context.get_service("unknown").has_value());
  const auto service = context.get_service("adder");
  answers.push_back(service->worker());
  answers.push_back(service->call("add", {{"numbers", {1, 2}}}));
  return {{"answers", answers}};
}

Json refused(Context& context, const Json&, const Json&) {
  try {
    context.create_task({{"type", ""}});
  } catch (const Problem& problem) {
    return {{"code", problem.code()}, {"message", problem.what()}, {"field", problem.field()}};
  }
  return nullptr;
}

Json print(Context& context, const Json&, const Json&) {
  std::cout << "a line\nbegun" << std::flush;
  context.progress("half", 50);
  std::printf("printed\n");
  std::cout << "ended\n"
            << "never ended";
  context.log("to standard error");
  return nullptr;
}

Json wait(Context& context, const Json&, const Json&) {
  context.progress("waiting");
  const bool stopped = context.stop().wait_for(10min);
  return {{"stopped", stopped}, {"cause", context.stop().cause()}};
}

Json call_after_stop(Context& context, const Json&, const Json&) {
  context.progress("waiting");
  context.stop().wait_for(10min);
  return {{"task", context.get_task("known").value()}};
}

Json nested(std::size_t levels) {
  Json value = 1;
  for (std::size_t i = 0; i < levels; ++i) value = Json::array({std::move(value)});
  return value;
}

Json many_threads(Context& context, const Json&, const Json&) {
  std::vector<std::thread> threads;
  std::vector<int> wrong(8);
  for (std::size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&context, &wrong, t] {
      for (int i = 0; i < 25; ++i) {
        const std::string id = std::to_string(t) + "." + std::to_string(i);
        std::cout << "printed " + id + "\n";
        if (context.get_task(id).value() != Json(id)) ++wrong[t];
      }
    });
  for (std::thread& thread : threads) thread.join();
  return {{"wrong", wrong}};
}

Json fail(Context&, const Json&, const Json&) {
  throw Failure("broken", "step 2 broke", {{"step", 2}});
}

Json throw_something(Context&, const Json& options, const Json&) {
  if (options.contains("text")) throw std::runtime_error("broke: \xff");
  throw 42;  // NOLINT: what somebody may do
}

Json leave(Context&, const Json& options, const Json&) {
  std::cout << "leaving";
  if (options.contains("crash")) std::abort();
  std::exit(options.at("code").get<int>());  // NOLINT(concurrency-mt-unsafe)
}

Json child(Context&, const Json&, const Json&) {
  std::cout << std::flush;
  const int status =
      std::system("cat; grep -E '^Sig(Ign|Blk)' /proc/self/status");  // NOLINT: what a child gets
  std::string line;
  return {{"status", status}, {"read", static_cast<bool>(std::getline(std::cin, line))}};
}

}  // namespace

int main() {
  agenttask::worker::WorkerProgram program;
  const std::vector<std::pair<std::string, Execute>> kinds = {
      {"OPTIONS",
       [](Context& context, const Json& options, const Json&) {
         return Json{{"options", options}, {"run", context.run()}, {"runId", context.run_id()}};
       }},
      {"CALL_ALL", call_all},
      {"REFUSED", refused},
      {"PRINT", print},
      {"WAIT", wait},
      {"CALL_AFTER_STOP", call_after_stop},
      {"MANY_THREADS", many_threads},
      {"FAIL", fail},
      {"THROW", throw_something},
      {"LEAVE", leave},
      {"CHILD", child},
      {"NOTHING", [](Context&, const Json&, const Json&) { return Json(); }},
      {"NO_OBJECT", [](Context&, const Json&, const Json&) { return Json("text"); }},
      {"LARGE",
       [](Context&, const Json& options, const Json&) {
         return Json{{"text", std::string(options.at("bytes").get<std::size_t>(), 'x')}};
       }},
      {"NESTED",
       [](Context&, const Json& options, const Json&) {
         return Json{{"nested", nested(options.at("levels").get<std::size_t>())}};
       }},
      {"NOT_UTF8",
       [](Context&, const Json&, const Json&) {
         return Json{{"text", "\xff"}};
       }},
  };
  for (const auto& [type, execute] : kinds) program.add(std::make_unique<Awkward>(type, execute));
  return program.add(std::make_unique<AwkwardService>()).run();
}
