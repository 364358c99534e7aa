#include "platform/os/outliving.hpp"

#include <system_error>
#include <unistd.h>

#include "platform/os/linux/group_place.hpp"
#include "platform/os/posix/program.hpp"
#include "platform/os/process.hpp"

namespace agenttask::os {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kPatience{60};  ///< with the service manager
constexpr std::size_t kMostWords = 4096;

/// systemd, as it is to be reached from here.
struct Manager {
  std::string tool;     ///< systemd-run
  std::string runtime;  ///< XDG_RUNTIME_DIR of our user's own manager; empty: it is the system's
};

Result<Manager> find_manager() {
  const auto none = [](std::string why) { return Error{ErrorCode::unsupported, std::move(why)}; };
  std::error_code unknown;
  if (!fs::is_directory("/run/systemd/system", unknown)) return none("systemd does not run this system");
  Manager manager;
  if (const auto user = ::geteuid(); user != 0) {
    manager.runtime = "/run/user/" + std::to_string(user);
    if (!fs::exists(manager.runtime + "/systemd/private", unknown))
      return none("systemd has no manager for the agent's user, which is not root");
  }
  const auto tool = find_program("systemd-run", {{"PATH", "/usr/bin:/bin:/usr/sbin:/sbin"}});
  if (!tool) return none("systemd runs this system, but there is no systemd-run");
  manager.tool = *tool;
  return manager;
}

/// The words of a tool, as far as anybody will read them.
class Words final : public ProcessObserver {
 public:
  void started(std::int64_t) override {}
  void output(OutputStream, std::string_view bytes) override {
    text.append(bytes.substr(0, kMostWords - std::min(kMostWords, text.size())));
  }
  std::string text;
};

/// systemd reads `$` in the words of a command.
std::string escape(const std::string& word) {
  std::string escaped;
  for (const char c : word) escaped.append(c == '$' ? 2 : 1, c);
  return escaped;
}

std::vector<std::string> words_for(const Manager& manager, const OutlivingProgram& program) {
  std::vector<std::string> words{manager.tool, "--quiet", "--collect", "--no-ask-password"};
  if (!manager.runtime.empty()) words.emplace_back("--user");
  words.push_back("--unit=" + program.name);
  words.push_back("--description=" + program.description);
  // Whenever it stops, its main process is asked alone, and sees to what it started: what a command leaves
  // behind on purpose stays. A process that is killed for its memory is no reason to stop the others.
  for (const char* property : {"Type=exec", "KillMode=process", "TimeoutStopSec=30s", "Delegate=yes",
                               "OOMPolicy=continue", "StandardInput=null"}) {
    words.push_back(std::string("--property=") + property);
  }
  words.emplace_back("--");
  for (const auto& word : program.argv) words.push_back(escape(word));
  return words;
}

Result<void> ask(ProcessSupervisor& supervisor, const Manager& manager, const OutlivingProgram& program,
                 const std::stop_token& stop) {
  ProcessSpec tool;
  tool.argv = words_for(manager, program);
  auto environment = clean_environment();
  if (!environment) return environment.error();
  tool.environment = std::move(*environment);
  if (!manager.runtime.empty()) tool.environment["XDG_RUNTIME_DIR"] = manager.runtime;
  tool.timeout = kPatience;
  Words words;
  const auto ended = supervisor.run(tool, stop, words);
  if (!ended) return with_context(ended.error(), "cannot ask systemd for a unit of its own");
  if (ended->exit_code == 0) return {};
  while (!words.text.empty() && words.text.back() == '\n') words.text.pop_back();
  return Error{
      ErrorCode::unavailable,
      "systemd did not start it in a unit of its own: " +
          (ended->timed_out     ? "no answer within a minute"
           : ended->stopped     ? "nobody waited for its answer any more"
           : words.text.empty() ? "systemd-run ended with " + std::to_string(ended->exit_code.value_or(-1))
                                : words.text)};
}

}  // namespace

OutlivingStatus outliving_status() {
  const auto manager = find_manager();
  if (manager) {
    return {OutlivingMeans::service_manager, manager->runtime.empty()
                                                 ? "agenttask-run-….service"
                                                 : "agenttask-run-….service of the agent's user"};
  }
  return {is_held_by_service() ? OutlivingMeans::none : OutlivingMeans::own_session, manager.error().message};
}

Result<void> launch_outliving(ProcessSupervisor& supervisor, const OutlivingProgram& program,
                              const std::stop_token& stop) {
  const auto manager = find_manager();
  if (manager) return ask(supervisor, *manager, program, stop);
  if (is_held_by_service()) {
    return Error{ErrorCode::unsupported,
                 "nothing outlives the agent's service here: " + manager.error().message +
                     ", and what the service starts ends with it; loginctl enable-linger for that user"};
  }
  return supervisor.launch_apart(program.argv);
}

Result<fs::path> own_program() {
  std::error_code failed;
  const auto link = fs::read_symlink("/proc/self/exe", failed);
  if (failed) return io_error("cannot find our own program", failed.value());
  constexpr std::string_view kReplaced = " (deleted)";
  std::string name = link.string();
  if (name.ends_with(kReplaced)) name.resize(name.size() - kReplaced.size());
  return fs::path(name);
}

}  // namespace agenttask::os
