#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

/// Workers for AgentTask in C++: derive from `TaskWorker`, and `main` is
/// `return agenttask::worker::run<MyWorker>();`. docs/workers.md is the guide and the protocol's reference.
///
/// The agent starts the program anew for each validate, run and call of a service. While `run` works it has
/// standard input for itself (children and `std::cin` read an end of file) and the signals SIGTERM and
/// SIGPIPE. Standard output stays yours: what you print is output of the run. End your lines, and print no
/// line that looks like the protocol's (`{"result":…}`): the agent would take it for one.
namespace agenttask::worker {

using Json = nlohmann::json;

/// Throw it, and the run fails with this code and message. Any other exception has the code `exception`.
class Failure : public std::runtime_error {
 public:
  /// `data`, an object, is kept as data of the task's result.
  Failure(std::string code, const std::string& message, Json data = Json::object());
  [[nodiscard]] const std::string& code() const { return code_; }
  [[nodiscard]] const Json& data() const { return data_; }

 private:
  std::string code_;
  Json data_;
};

/// A call was refused: `code` is one of the operators' API (`not-found`, `invalid`, …), `agent-gone` when
/// nobody answers any more, or `too-large` when the call does not fit into a line. Nothing was changed.
/// Uncaught, it fails the run.
class Problem : public Failure {
 public:
  Problem(std::string code, const std::string& message, std::string field = {});
  /// What was wrong in the arguments; empty: not a single field.
  [[nodiscard]] const std::string& field() const { return field_; }

 private:
  std::string field_;
};

/// Whether a task may run now. A plain bool will do.
struct Validity {
  Validity(bool may_run) : valid(may_run) {}  // NOLINT(google-explicit-constructor): `return true;` shall do
  /// Not now, and why, for people. The agent asks again later.
  [[nodiscard]] static Validity not_now(std::string detail);

  bool valid;
  std::string detail = {};
};

class Conversation;

/// Asks a worker to end: at the timeout, on cancel, when the next occurrence replaces it, at shutdown of the
/// agent or its death. 5 s later the process is killed. Threads: any.
class StopSignal {
 public:
  explicit StopSignal(Conversation& conversation) : conversation_(conversation) {}
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  [[nodiscard]] bool requested() const { return token().stop_requested(); }
  /// For std::condition_variable_any, std::stop_callback and other threads. Callbacks run on the library's
  /// thread: keep them short.
  [[nodiscard]] std::stop_token token() const;
  /// `timeout`, `cancel`, `replaced` or `shutdown`; `signal` for a SIGTERM that nobody explained;
  /// `agent-gone` when the agent ended. Empty while nobody asked.
  [[nodiscard]] std::string cause() const;
  /// Sleeps, but not past a stop. Whether a stop was asked for.
  bool wait_for(std::chrono::milliseconds duration) const;

 private:
  Conversation& conversation_;
};

/// A service of another worker on this device. Lives as long as the context that it came from.
class ServiceReference {
 public:
  ServiceReference(Conversation& conversation, std::string name, std::string worker);
  [[nodiscard]] const std::string& name() const { return name_; }
  /// The worker that offers it.
  [[nodiscard]] const std::string& worker() const { return worker_; }
  /// Throws `Problem` when the service fails or does not answer within 30 s.
  Json call(std::string_view method, Json arguments = Json::object()) const;

 private:
  Conversation& conversation_;
  std::string name_;
  std::string worker_;
};

/// What a run may ask of the agent. What it creates, changes, deletes and posts is seen at once by itself
/// alone; it comes true together with the run's success, or not at all. Refusals throw `Problem`. Threads:
/// any; calls are answered one after another.
class Context {
 public:
  Context(Conversation& conversation, std::string run_id, std::int64_t run);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// Identifies this run among all runs of all devices.
  [[nodiscard]] const std::string& run_id() const { return run_id_; }
  /// The number of this run of the task, from 1: 2 is the first repetition.
  [[nodiscard]] std::int64_t run() const { return run_; }

  /// `request` is as the body of addTask: `type` and what else it needs. Answers the task with its id.
  Json create_task(Json request);
  /// `filter` may have `type`, `tags` (all of them), `roomId`, `worldId`, `status`, `limit`. Newest first.
  std::vector<Json> get_tasks(Json filter = Json::object());
  std::vector<Json> get_tasks_by_type(std::string_view type);
  /// Empty for an unknown id.
  std::optional<Json> get_task(std::string_view id);
  /// `changes` are as in PATCH: `metadata` is merged key by key. Answers the task.
  Json update_task(std::string_view id, Json changes);
  /// Cancels it where it has not ended, and marks it deleted. The run's own task ends with this run.
  void delete_task(std::string_view id);
  /// Posts to the task's room. `content` is an object, as a rule with `text`. Answers the message.
  Json create_message(Json content);
  Json create_message(Json content, std::string_view room_id, std::string_view world_id = {});
  /// The newest of a room, oldest first.
  std::vector<Json> get_messages(std::string_view room_id, std::optional<std::int64_t> limit = {});
  /// Empty when no worker on this device offers it.
  std::optional<ServiceReference> get_service(std::string_view name);

  /// How far it is, for people: the task's detail while it runs. The agent keeps one a second.
  void progress(std::string_view text, std::optional<int> percent = {});
  /// A line on standard error, which is output of the run and never taken for anything else.
  void log(std::string_view text) const;

  [[nodiscard]] const StopSignal& stop() const { return stop_; }
  [[nodiscard]] bool stop_requested() const { return stop_.requested(); }
  [[nodiscard]] std::stop_token stop_token() const { return stop_.token(); }

 private:
  Conversation& conversation_;
  StopSignal stop_;
  std::string run_id_;
  std::int64_t run_;
};

/// One type of task. Called on the thread of `run`, once in the life of the process.
class TaskWorker {
 public:
  virtual ~TaskWorker() = default;
  [[nodiscard]] virtual std::string type() const = 0;
  /// Asked before each run if the manifest says `"validate": true`; 10 s at most. Throwing is a failed check:
  /// the task is asked about again later.
  [[nodiscard]] virtual Validity validate(const Json& task);
  /// Does it. `options` is the task's data, with `option` when a choice was made. Answers the data of the
  /// task's result: an object, or null for none. Throw to fail.
  virtual Json execute(Context& context, const Json& options, const Json& task) = 0;
};

/// Something that other workers, and people, may call by name.
class Service {
 public:
  virtual ~Service() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  /// Answers any JSON value. Throw `Failure` to refuse, with a code that the caller can tell apart.
  virtual Json serve(const StopSignal& stop, const std::string& method, const Json& arguments) = 0;
};

/// A program with several workers and services, where `run<…>` is not enough.
class WorkerProgram {
 public:
  WorkerProgram& add(std::unique_ptr<TaskWorker> worker);
  WorkerProgram& add(std::unique_ptr<Service> service);

  /// Answers what the agent asks, once, and returns the exit code of the program: 0 done; 1 it failed, and
  /// the agent knows why; 2 no agent asked anything. Call it once in a process, from `main`.
  int run();

 private:
  std::vector<std::unique_ptr<TaskWorker>> workers_;
  std::vector<std::unique_ptr<Service>> services_;
};

/// `main` of a program with these workers and services, each made without arguments.
template <class... Parts>
int run() {
  WorkerProgram program;
  (program.add(std::make_unique<Parts>()), ...);
  return program.run();
}

}  // namespace agenttask::worker
