#include <chrono>
#include <cstdlib>
#include <iostream>
#include <stop_token>

#include "platform/base/watchdog.hpp"
#include "platform/os/become_owner.hpp"
#include "platform/os/open_files.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/os/service.hpp"
#include "platform/os/signals.hpp"
#include "platform/os/system_clock.hpp"
#include "server/main/administration.hpp"
#include "server/main/backup.hpp"
#include "server/main/command_line.hpp"
#include "server/main/restore.hpp"
#include "server/main/service.hpp"

namespace agenttask::server {
namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;
/// What stopping may take besides the grace for requests: commits under way.
constexpr std::chrono::seconds kLongestEnd{30};

std::optional<std::string> environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  if (value == nullptr) return std::nullopt;
  return value;
}

int fail(const Error& error, int code) {
  std::cerr << "agenttask-server: " << error.message << '\n';
  return code;
}

SettingSources sources_of(const CommandLine& line, const StateFolder& state) {
  const bool named = !line.configuration.empty();
  return {named ? line.configuration : state.configuration, named, environment, line.flags};
}

/// Reads the settings again. What can't be used changes nothing.
void reload(ServerSettings& settings, const SettingSources& sources, Service& service, Logger& logger) {
  const auto fresh = read_settings(sources);
  if (!fresh) {
    logger.error("the settings are bad; those from before stay", {{"error", fresh.error().message}});
    return;
  }
  if (auto done = service.reload(*fresh); !done) {
    logger.error("the settings can't be used; those from before stay", {{"error", done.error().message}});
    return;
  }
  logger.set_level(fresh->log_level);
  for (const auto& name : need_restart(settings, *fresh)) {
    logger.warning("a setting counts only from the next start", {{"setting", name}});
  }
  settings = *fresh;
  logger.info("read the settings again");
}

/// Until somebody wants it to end.
void serve(ServerSettings& settings, const SettingSources& sources, Service& service,
           os::ServiceEvents& events, const os::ServiceNotifier& notifier, Logger& logger) {
  const Watchdog watchdog(
      notifier.watchdog_time(), [&] { service.look_alive(); }, [&] { notifier.alive(); });
  while (const auto event = events.wait(std::stop_token())) {
    if (*event != os::ServiceEvent::reload) {
      logger.info("stopping", {{"reason", os::to_string(*event)}});
      return;
    }
    notifier.reloading();
    reload(settings, sources, service, logger);
    notifier.ready("serving on port " + std::to_string(service.port()));
  }
}

int run(const CommandLine& line, const StateFolder& state, const Clock& clock) {
  const os::ServiceNotifier notifier;
  os::ServiceEvents events;
  const auto sources = sources_of(line, state);
  // First, as it may bring settings.
  const auto finished = finish_restore(state);
  if (!finished) return fail(finished.error(), kFailed);
  auto settings = read_settings(sources);
  if (!settings) return fail(settings.error(), kUsage);
  Logger logger(settings->log_level, settings->log_format);
  if (*finished) {
    logger.warning("a restore that had been cut off is finished",
                   {{"kept_aside", (*finished)->aside.string()}});
  }
  const auto files = os::raise_open_files_limit();
  if (files != 0 && files < settings->http.connections + 100) {
    logger.warning("fewer files may be open than connections are allowed",
                   {{"files", files}, {"connections", settings->http.connections}});
  }
  auto service = Service::start(*settings, state, clock, logger);
  if (!service) return fail(service.error(), kFailed);
  const auto port = std::to_string((*service)->port());
  if (!settings->ready_file.empty()) {
    const auto done = os::write_file(settings->ready_file, port + '\n', os::Readable::by_everyone);
    if (!done) return fail(done.error(), kFailed);
  }
  logger.info("serving", {{"address", settings->listen_address},
                          {"port", port},
                          {"state", state.folder.string()},
                          {"version", AGENTTASK_VERSION}});
  notifier.ready("serving on port " + port);
  serve(*settings, sources, **service, events, notifier, logger);
  notifier.stopping("finishing requests", settings->stop_grace + kLongestEnd);
  (*service)->stop();
  logger.info("stopped");
  return 0;
}

int print(const Result<std::string>& text) {
  if (!text) return fail(text.error(), kFailed);
  std::cout << *text << std::flush;
  return std::cout ? 0 : kFailed;
}

/// Those that root types beside a service of another user's. A backup and a restore also work outside its
/// folder, and stay whose they are.
bool works_inside(Verb verb) {
  return verb == Verb::create_token || verb == Verb::list_operators || verb == Verb::revoke_operator ||
         verb == Verb::reset_operator;
}

int dispatch(const std::vector<std::string>& arguments) {
  const auto line = read_command_line(arguments, environment);
  if (!line) return fail(line.error(), kUsage);
  const auto state = state_folder(line->state_dir);
  if (works_inside(line->verb)) {
    if (const auto done = os::become_owner_of(state.folder); !done) return fail(done.error(), kFailed);
  }
  const os::SystemClock clock;
  Logger logger(LogLevel::warning, LogFormat::text);
  switch (line->verb) {
    case Verb::text:
      return print(line->text);
    case Verb::init:
      return print(initialise(*line, state, sources_of(*line, state), clock, logger));
    case Verb::create_token:
      return print(create_token(*line, state, sources_of(*line, state), clock, logger));
    case Verb::list_operators:
      return print(list_operators(state, clock));
    case Verb::revoke_operator:
      return print(revoke_operator(*line, state, clock, logger));
    case Verb::reset_operator:
      return print(reset_operator(*line, state, sources_of(*line, state), clock, logger));
    case Verb::check_config:
      return print(check_configuration(sources_of(*line, state)));
    case Verb::backup:
      return print(take_backup(*line, state, sources_of(*line, state), clock));
    case Verb::restore:
      return print(restore_backup(*line, state, clock));
    case Verb::run:
      return run(*line, state, clock);
  }
  return kUsage;
}

}  // namespace
}  // namespace agenttask::server

int main(int argc, char** argv) {
  return agenttask::os::run_program(argc, argv, [](const std::vector<std::string>& arguments) {
    return agenttask::server::dispatch(arguments);
  });
}
