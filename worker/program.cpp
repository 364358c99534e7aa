#include <agenttask/worker.hpp>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "worker/conversation.hpp"
#include "worker/printed_lines.hpp"

namespace agenttask::worker {
namespace {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kNotAsked = 2;

/// What a request must have; the agent that leaves it out is not one of ours.
const Json& member(const Json& object, const char* name) {
  const auto found = object.is_object() ? object.find(name) : object.end();
  if (!object.is_object() || found == object.end())
    throw Failure("protocol", std::string("the agent's request has no member ") + name);
  return *found;
}

std::string text_member(const Json& object, const char* name) {
  const Json& value = member(object, name);
  if (!value.is_string())
    throw Failure("protocol", std::string("the agent's request has no text in ") + name);
  return value.get<std::string>();
}

TaskWorker& worker_for(const std::vector<std::unique_ptr<TaskWorker>>& workers, const Json& task) {
  const std::string type = text_member(task, "type");
  for (const auto& worker : workers)
    if (worker->type() == type) return *worker;
  throw Failure("unknown-type",
                "this program has no worker for " + type + "; does worker.json name too many?");
}

Service& service_for(const std::vector<std::unique_ptr<Service>>& services, const Json& asked) {
  const std::string name = text_member(asked, "service");
  for (const auto& service : services)
    if (service->name() == name) return *service;
  throw Failure("unknown-service",
                "this program has no service " + name + "; does worker.json name too many?");
}

Json execute(Conversation& conversation, TaskWorker& worker, const Json& asked) {
  if (const std::string protocol = text_member(asked, "protocol"); !protocol.starts_with("1."))
    throw Failure("protocol", "the agent speaks protocol " + protocol + ", this worker 1.0: build it anew");
  Context context(conversation, text_member(asked, "runId"), asked.value("run", std::int64_t{1}));
  Json result = worker.execute(context, member(asked, "options"), member(asked, "task"));
  if (result.is_null()) return Json::object();
  if (!result.is_object())
    throw Failure("invalid-result",
                  std::string("execute answers an object, or null; this was ") + result.type_name());
  return result;
}

Json check(TaskWorker& worker, const Json& task) {
  const Validity validity = worker.validate(task);
  if (validity.valid) return {{"valid", true}};
  if (validity.detail.empty()) return {{"valid", false}};
  return {{"valid", false}, {"detail", validity.detail}};
}

Json answer_to(Conversation& conversation, const Json& request,
               const std::vector<std::unique_ptr<TaskWorker>>& workers,
               const std::vector<std::unique_ptr<Service>>& services) {
  if (const auto asked = request.find("validate"); asked != request.end()) {
    const Json& task = member(*asked, "task");
    return check(worker_for(workers, task), task);
  }
  if (const auto asked = request.find("execute"); asked != request.end())
    return {{"result", execute(conversation, worker_for(workers, member(*asked, "task")), *asked)}};
  if (const auto asked = request.find("serve"); asked != request.end()) {
    const StopSignal stop(conversation);
    return {{"result",
             service_for(services, *asked)
                 .serve(stop, text_member(*asked, "method"), asked->value("arguments", Json::object()))}};
  }
  throw Failure("protocol", "the agent asked neither validate nor execute nor serve: this worker is too old");
}

/// The line of a failure. Its text may be anything that a library had to say: what is not UTF-8 is replaced.
Json failure_line(const std::string& code, const std::string& message, const Json& data = Json::object()) {
  Json error = {{"code", code}, {"message", message}};
  if (!data.empty()) error["data"] = data;
  return Json::parse(Json{{"error", std::move(error)}}.dump(-1, ' ', false, Json::error_handler_t::replace));
}

int fail(Conversation& conversation, const Json& line) {
  try {
    conversation.send(line);
  } catch (const std::exception& problem) {
    // Too large, or nobody there to be told; the exit code says the rest.
    (void)std::fprintf(stderr, "agenttask worker: its failure could not be told: %s\n", problem.what());
  }
  return kFailed;
}

int answer(Conversation& conversation, const Json& request,
           const std::vector<std::unique_ptr<TaskWorker>>& workers,
           const std::vector<std::unique_ptr<Service>>& services) {
  try {
    conversation.send(answer_to(conversation, request, workers, services));
    return kDone;
  } catch (const Failure& failure) {
    return fail(conversation, failure_line(failure.code(), failure.what(), failure.data()));
  } catch (const std::exception& exception) {
    return fail(conversation, failure_line("exception", exception.what()));
  } catch (...) {
    return fail(conversation,
                failure_line("exception", "the worker threw something that is no std::exception"));
  }
}

}  // namespace

WorkerProgram& WorkerProgram::add(std::unique_ptr<TaskWorker> worker) {
  workers_.push_back(std::move(worker));
  return *this;
}

WorkerProgram& WorkerProgram::add(std::unique_ptr<Service> service) {
  services_.push_back(std::move(service));
  return *this;
}

int WorkerProgram::run() {
  Conversation conversation;
  if (conversation.is_terminal()) {
    (void)std::fputs(
        "This is a worker of AgentTask: the agent starts it. Try it with: agenttask worker test FOLDER\n",
        stderr);
    return kNotAsked;
  }
  const std::optional<Json> request = conversation.request();
  if (!request) {
    (void)std::fputs("agenttask worker: the agent ended, or said stop, before it asked for anything\n",
                     stderr);
    return kNotAsked;
  }
  const PrintedLines printed(conversation);
  return answer(conversation, *request, workers_, services_);
}

}  // namespace agenttask::worker
