// agenttaskd: options in, an agent that runs until it is told to stop, an exit code out.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "agent/main/agent.hpp"
#include "agent/main/care.hpp"
#include "agent/main/options.hpp"
#include "agent/policy/policy.hpp"
#include "platform/base/watchdog.hpp"
#include "platform/os/service.hpp"
#include "platform/os/signals.hpp"
#include "platform/os/system_clock.hpp"

namespace agenttask::agent {
namespace {

constexpr int kFailed = 1;
constexpr int kBadConfiguration = 2;
/// What stopping may take besides the drain: polite stops, last output, last reports.
constexpr std::chrono::seconds kLongestEnd{60};

std::optional<std::string> environment(const std::string& name) {
  const char* value =
      std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe): nothing of ours changes the environment
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

int fail(const Error& error, int code) {
  std::fprintf(stderr, "agenttaskd: %s\n", error.message.c_str());
  return code;
}

int check_config(const AgentOptions& options) {
  const auto file = policy_file(options);
  Policy policy(file);
  if (const auto read = policy.reload(); !read) return fail(read.error(), kBadConfiguration);
  std::printf("%s# policy file: %s (%s)\nThe configuration is good.\n", describe(options).c_str(),
              file.c_str(), policy.describe().c_str());
  return 0;
}

int care(const CommandLine& line) {
  const os::SystemClock clock;
  const CareAnswer answer = take_care(line, clock);
  // What is wrong goes to standard error, but where somebody asked for an object.
  std::fputs(answer.text.c_str(), answer.text.starts_with("agenttaskd: ") ? stderr : stdout);
  return answer.code;
}

/// Serves until a signal asks to stop.
int serve(const std::vector<std::string>& arguments, const AgentOptions& options, os::ServiceEvents& events,
          const os::ServiceNotifier& notifier) {
  const os::SystemClock clock;
  Logger log(options.log_level, options.log_format);
  auto agent = Agent::start(options, clock, log);
  if (!agent) return fail(agent.error(), kFailed);
  log.info("agenttaskd runs", {{"version", AGENTTASK_VERSION}, {"slots", options.slots}});
  notifier.ready((*agent)->summary());
  const Watchdog watchdog(
      notifier.watchdog_time(), [&] { (*agent)->look_alive(); },
      [&] {
        notifier.alive();
        notifier.status((*agent)->summary());
      });
  while (const auto event = events.wait({})) {
    if (*event != os::ServiceEvent::reload) break;
    notifier.reloading();
    if (const auto line = read_options(arguments, environment)) {
      (*agent)->reload(line->options);
      log.info("configuration read again");
    } else {
      log.error("the new configuration is bad; the old one stays", {{"error", line.error().message}});
    }
    notifier.ready((*agent)->summary());
  }
  notifier.stopping("running tasks end", options.shutdown_drain + kLongestEnd);
  log.info("agenttaskd stops");
  (*agent)->stop();
  return 0;
}

int run(const std::vector<std::string>& arguments) {
  const auto line = read_options(arguments, environment);
  if (!line) return fail(line.error(), kBadConfiguration);
  switch (line->verb) {
    case AgentVerb::help:
    case AgentVerb::version:
      std::fputs(line->text.c_str(), stdout);
      return 0;
    case AgentVerb::check_config:
      return check_config(line->options);
    case AgentVerb::ledger_check:
    case AgentVerb::ledger_salvage:
    case AgentVerb::ledger_reset:
    case AgentVerb::prepare_image:
      return care(*line);
    case AgentVerb::run:
      break;
  }
  const os::ServiceNotifier notifier;
  os::ServiceEvents events;  // before the first thread: all of them inherit the blocked signals
  return serve(arguments, line->options, events, notifier);
}

}  // namespace
}  // namespace agenttask::agent

int main(int argc, char** argv) {
  return agenttask::os::run_program(argc, argv, agenttask::agent::run);
}
