// agenttaskd: options in, an agent that runs until it is told to stop, an exit code out.
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "agent/main/agent.hpp"
#include "agent/main/care.hpp"
#include "agent/main/options.hpp"
#include "agent/policy/policy.hpp"
#include "agent/runner/outliving_recorder.hpp"
#include "platform/base/watchdog.hpp"
#include "platform/os/memory.hpp"
#include "platform/os/process.hpp"
#include "platform/os/service.hpp"
#include "platform/os/signals.hpp"
#include "platform/os/system_clock.hpp"
#include "platform/os/variable.hpp"

namespace agenttask::agent {
namespace {

constexpr int kFailed = 1;
constexpr int kBadConfiguration = 2;
/// What stopping may take besides the drain: polite stops, last output, last reports.
constexpr std::chrono::seconds kLongestEnd{60};
/// What comes sooner was asked once: timeout(1) tells a process, and then its group.
constexpr std::chrono::milliseconds kSameWish{500};

int fail(const Error& error, int code) {
  std::fprintf(stderr, "agenttaskd: %s\n", error.message.c_str());
  return code;
}

int check_config(const AgentOptions& options) {
  const auto file = policy_file(options);
  Policy policy(file);
  if (const auto read = policy.reload(); !read) return fail(read.error(), kBadConfiguration);
  std::printf("%s# policy file: %s (%s)\nThe configuration is good.\n", describe(options).c_str(),
              file.string().c_str(), policy.describe().c_str());
  return 0;
}

int care(const CommandLine& line) {
  const os::SystemClock clock;
  const CareAnswer answer = take_care(line, clock);
  // What is wrong goes to standard error, but where somebody asked for an object.
  std::fputs(answer.text.c_str(), answer.text.starts_with("agenttaskd: ") ? stderr : stdout);
  return answer.code;
}

/// Does one run outside the agent's service.
int run_outside(const std::filesystem::path& folder, os::ServiceEvents& events) {
  const os::SystemClock clock;
  os::ProcessSupervisor supervisor;
  const auto recorded = record_outliving_run(folder, supervisor, events, clock);
  return recorded ? 0 : fail(recorded.error(), kFailed);
}

/// Stops the agent. A person who interrupts it waits for no task, nor does whoever asks a second time.
void stop(Agent& agent, os::ServiceEvent asked, os::ServiceEvents& events) {
  if (asked == os::ServiceEvent::interrupt) agent.hurry();
  const auto begin = std::chrono::steady_clock::now();
  const std::jthread listener([&](const std::stop_token& done) {
    while (const auto event = events.wait(done)) {
      const bool again = std::chrono::steady_clock::now() - begin >= kSameWish;
      if (again && *event != os::ServiceEvent::reload) agent.hurry();
    }
  });
  agent.stop();
}

/// Serves until a signal asks to stop.
int serve(const std::vector<std::string>& arguments, const AgentOptions& options, os::ServiceEvents& events,
          const os::ServiceNotifier& notifier) {
  os::use_one_heap();
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
  auto drain = options.shutdown_drain;
  auto asked = os::ServiceEvent::terminate;
  while (const auto event = events.wait({})) {
    asked = *event;
    if (asked != os::ServiceEvent::reload) break;
    notifier.reloading();
    if (const auto line = read_options(arguments, os::read_variable)) {
      (*agent)->reload(line->options);
      drain = line->options.shutdown_drain;
      log.info("configuration read again");
    } else {
      log.error("the new configuration is bad; the old one stays", {{"error", line.error().message}});
    }
    notifier.ready((*agent)->summary());
  }
  notifier.stopping("running tasks end", drain + kLongestEnd);
  log.info("agenttaskd stops");
  stop(**agent, asked, events);
  return 0;
}

int run(const std::vector<std::string>& arguments) {
  const auto line = read_options(arguments, os::read_variable);
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
    case AgentVerb::prepare_enrollment:
      return care(*line);
    case AgentVerb::run_outside:
    case AgentVerb::run:
      break;
  }
  const os::ServiceNotifier notifier;
  os::ServiceEvents events;  // before the first thread: all of them inherit the blocked signals
  if (line->verb == AgentVerb::run_outside) return run_outside(line->folder, events);
  return serve(arguments, line->options, events, notifier);
}

}  // namespace
}  // namespace agenttask::agent

int main(int argc, char** argv) {
  return agenttask::os::run_program(argc, argv, agenttask::agent::run);
}
