// A workflow of three steps, each a task that creates the next one: gather requirements, have somebody
// confirm or revise them, generate the solution.
//
//     agenttask add GATHER_REQUIREMENTS --room plans --tag workflow --on-interrupt rerun
//               --data '{"requirements":["fast","small"]}'      (one line)
//     agenttask list --awaiting                    # CONFIRM_REQUIREMENTS waits for an answer
//     agenttask choose ID revise                   # round and round, each time a new task …
//     agenttask choose ID confirm                  # … until somebody confirms
//
// A step's next task and its own end are one transaction on the device: a crash at any point doubles no step.
// A step that a crash cut off has created nothing and done nothing elsewhere, so it may run again: each asks
// for that with onInterrupt. Without it the workflow would end there as interrupted.
#include <agenttask/worker.hpp>
#include <string>

namespace {

using agenttask::worker::Context;
using agenttask::worker::Failure;
using agenttask::worker::Json;

/// Creates the task after `task`, in the same room, and deletes `task`, so that lists show the step that is
/// due.
Json go_on_with(Context& context, const Json& task, Json next) {
  next["tags"] = {"workflow"};
  next["options"]["onInterrupt"] = "rerun";
  for (const char* place : {"roomId", "worldId"})
    if (const std::string value = task.value(place, ""); !value.empty()) next[place] = value;
  next["metadata"]["previousStep"] = task.at("type");
  const Json created = context.create_task(std::move(next));
  context.delete_task(task.at("id").get<std::string>());
  return {{"next", created.at("id")}};
}

class GatherRequirements : public agenttask::worker::TaskWorker {
 public:
  std::string type() const override { return "GATHER_REQUIREMENTS"; }

  Json execute(Context& context, const Json& options, const Json& task) override {
    // A revision starts from what was gathered before.
    const Json metadata = task.value("metadata", Json::object());
    const Json requirements = options.value("requirements", metadata.value("previousRequirements", Json()));
    if (!requirements.is_array() || requirements.empty())
      throw Failure("no-requirements", "data.requirements must be a list with at least one requirement");
    return go_on_with(context, task,
                      {{"type", "CONFIRM_REQUIREMENTS"},
                       {"description", "Confirm " + std::to_string(requirements.size()) + " requirements"},
                       {"data", {{"requirements", requirements}}},
                       {"metadata", {{"revision", metadata.value("revision", 0)}}},
                       {"choices",
                        {{{"name", "confirm"}, {"description", "The requirements are right"}},
                         {{"name", "revise"}, {"description", "They need another round"}}}}});
  }
};

class ConfirmRequirements : public agenttask::worker::TaskWorker {
 public:
  std::string type() const override { return "CONFIRM_REQUIREMENTS"; }

  Json execute(Context& context, const Json& options, const Json& task) override {
    const Json& requirements = options.at("requirements");
    const Json metadata = task.value("metadata", Json::object());
    if (options.value("option", "") == "confirm")
      return go_on_with(context, task,
                        {{"type", "GENERATE_SOLUTION"},
                         {"description", "Generate the solution"},
                         {"data", {{"requirements", requirements}}}});
    return go_on_with(
        context, task,
        {{"type", "GATHER_REQUIREMENTS"},
         {"description", "Revise the requirements"},
         {"metadata",
          {{"previousRequirements", requirements}, {"revision", metadata.value("revision", 0) + 1}}}});
  }
};

class GenerateSolution : public agenttask::worker::TaskWorker {
 public:
  std::string type() const override { return "GENERATE_SOLUTION"; }

  Json execute(Context& context, const Json& options, const Json&) override {
    std::string solution = "A solution that is";
    const char* between = " ";
    for (const Json& requirement : options.at("requirements")) {
      solution += between + (requirement.is_string() ? requirement.get<std::string>() : requirement.dump());
      between = ", ";
    }
    context.create_message({{"text", solution}});
    return {{"solution", solution}};
  }
};

}  // namespace

int main() {
  return agenttask::worker::run<GatherRequirements, ConfirmRequirements, GenerateSolution>();
}
