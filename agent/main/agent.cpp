#include "agent/main/agent.hpp"

#include <optional>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/console_api/console_server.hpp"
#include "agent/ledger/ledger.hpp"
#include "agent/policy/policy.hpp"
#include "agent/runner/runner.hpp"
#include "agent/sync/sync.hpp"
#include "agent/workers/builtin_workers.hpp"
#include "agent/workers/task_concerns.hpp"
#include "agent/workers/workers_folder.hpp"
#include "platform/os/host.hpp"
#include "platform/os/memory.hpp"
#include "platform/os/outliving.hpp"
#include "platform/os/paths.hpp"
#include "platform/os/process.hpp"
#include "platform/os/reserved_room.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLastReports{2'000};  ///< what the last reports may take when the agent stops
constexpr milliseconds kLastReportsLook{20};
constexpr milliseconds kFirstMending{500};  ///< between looks whether the ledger can be used again
constexpr milliseconds kLongestMending{5'000};
constexpr milliseconds kQuiet{10'000};  ///< who waited so long gives back memory before waiting on

Result<os::FileLock> own(const os::Folders& folders) {
  const auto made = os::create_folder(folders.state, os::Readable::by_owner);
  std::error_code unknown;
  // One that is there and can't be written is the ledger's problem, and no reason to be silent.
  if (!made &&
      (made.error().code != ErrorCode::io || !std::filesystem::is_directory(folders.state, unknown))) {
    return with_context(made.error(), "the state folder can't be used (run as root, or give --state-dir)");
  }
  auto lock = os::FileLock::acquire(folders.state / "agenttaskd.lock");
  if (!lock) return with_context(lock.error(), "another agenttaskd owns " + folders.state.string());
  return lock;
}

std::filesystem::path reserve_file(const os::Folders& folders) {
  return folders.state / "reserve";
}

/// Whatever is wrong with it: the agent stays to say so.
std::unique_ptr<Ledger> open_ledger(const AgentOptions& options, const os::Folders& folders,
                                    const Clock& clock, Logger& log) {
  LedgerOptions settings;
  settings.boot_id = os::boot_id();
  settings.outbox_budget = options.outbox_bytes;
  settings.retention = options.retention.count();
  settings.keep_runs = options.keep_runs;
  settings.keep_messages = options.keep_messages;
  auto ledger = Ledger::open_or_wait(ledger_file(folders), clock, std::move(settings));
  // On a full disk the room for ends lets the runs end that a crash cut off.
  if (const auto problem = ledger->problem(); problem && problem->code == to_string(ErrorCode::limit) &&
                                              os::ReservedRoom(reserve_file(folders), 0).give_up())
    (void)ledger->try_again();
  if (const auto problem = ledger->problem()) {
    log.error("the ledger can't be used and was left as it is: nothing is started until it can",
              {{"problem", problem->code}, {"detail", problem->detail}});
  }
  return ledger;
}

std::filesystem::path workers_folder(const AgentOptions& options, const os::Folders& folders) {
  return options.workers_folder.empty() ? folders.config / "workers"
                                        : std::filesystem::absolute(options.workers_folder);
}

RunnerOptions runner_options(const AgentOptions& options, const os::Folders& folders) {
  RunnerOptions settings;
  settings.slots = options.slots;
  settings.spool_folder = folders.state / "spool";
  settings.drain = options.shutdown_drain;
  settings.reserve_file = reserve_file(folders);
  return settings;
}

/// What holds the processes of a run together.
nlohmann::json describe(const os::ContainmentStatus& containment) {
  if (containment.in_force == os::Containment::marks) return {{"by", "marks"}, {"why", containment.detail}};
  if (os::platform_name().starts_with("windows-")) return {{"by", "job-objects"}};
  return {{"by", "control-groups"}, {"folder", containment.detail}};
}

/// Where runs are that outlive the agent.
nlohmann::json describe(const os::OutlivingStatus& outliving) {
  if (outliving.means == os::OutlivingMeans::none) return {{"by", "nothing"}, {"why", outliving.detail}};
  const bool units = outliving.means == os::OutlivingMeans::service_manager;
  return {{"by", units ? "systemd" : "session"}, {units ? "units" : "why", outliving.detail}};
}

SyncOptions sync_options(const AgentOptions& options) {
  SyncOptions settings;
  settings.poll = {options.poll_wait, options.poll_interval};
  settings.version = AGENTTASK_VERSION;
  settings.platform = os::platform_name();
  settings.own_name = [name = options.name] { return name.empty() ? os::host_name() : name; };
  return settings;
}

}  // namespace

os::Folders folders_of(const AgentOptions& options) {
  return options.state_dir.empty() ? os::default_folders() : os::folders_inside(options.state_dir);
}

std::filesystem::path ledger_file(const os::Folders& folders) {
  return folders.state / "ledger.db";
}

std::filesystem::path policy_file(const AgentOptions& options) {
  return options.policy.empty() ? folders_of(options).config / "policy.json" : options.policy;
}

class Agent::Body {
 public:
  Body(AgentOptions options, os::Folders folders, os::FileLock lock, std::unique_ptr<Ledger> ledger,
       const Clock& clock, Logger& log)
      : options_(std::move(options)),
        folders_(std::move(folders)),
        clock_(clock),
        log_(log),
        lock_(std::move(lock)),
        ledger_(std::move(ledger)),
        policy_(policy_file(options_)),
        runner_(*ledger_, workers_, policy_, supervisor_, clock, log, runner_options(options_, folders_)),
        workers_folder_(workers_folder(options_, folders_), workers_, supervisor_, log,
                        [this](std::span<const std::string> types) { note_workers(types); }),
        link_(make_https_link({options_.proxy, options_.no_proxy, options_.tls_minimum})),
        sync_(
            *ledger_, *link_, IdentityFolder(folders_.state),
            [this](std::string_view task, std::int64_t after) {
              return runner_.follow(task, Pace::of_the_run, after);
            },
            clock, log, sync_options(options_)) {}
  ~Body() { stop(); }
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  Result<void> start();
  void reload(const AgentOptions& options);
  void hurry() { runner_.set_drain(milliseconds(0)); }
  void stop();
  void look_alive() const;
  [[nodiscard]] std::string summary() const;

 private:
  Result<void> add_workers();
  void note_workers(std::span<const std::string> types);
  [[nodiscard]] WorkerSummary summarize_workers() const;
  void make_workers_folder();
  void enroll_unattended();
  Result<void> open_console();
  void keep_in_step(const std::stop_token& stop);
  void try_to_mend();
  void send_last_reports();
  void read_policy();
  [[nodiscard]] std::string diagnostics() const;
  [[nodiscard]] std::string describe_workers() const;

  AgentOptions options_;
  const os::Folders folders_;
  const Clock& clock_;
  Logger& log_;
  os::FileLock lock_;
  os::ProcessSupervisor supervisor_;
  std::unique_ptr<Ledger> ledger_;
  WorkerRegistry workers_;
  Policy policy_;
  Runner runner_;
  WorkersFolder workers_folder_;  ///< after the runner: it wakes it
  std::unique_ptr<ServerLink> link_;
  Sync sync_;
  std::unique_ptr<ConsoleServer> console_;
  std::jthread sync_thread_;
};

Result<void> Agent::Body::start() {
  read_policy();
  if (auto added = add_workers(); !added) return added;
  if (const auto held = supervisor_.containment(); held.in_force == os::Containment::marks)
    log_.info("runs are held together by marks alone", {{"why", held.detail}});
  // Where the ledger can't be read, the runner does this as soon as it can.
  if (!ledger_->problem()) {
    auto recovered = runner_.recover();
    if (!recovered && !ledger_->problem()) return recovered;
    if (!recovered) log_.error("the ledger can't be read", {{"error", recovered.error().message}});
  }
  enroll_unattended();
  if (auto opened = open_console(); !opened) {
    if (!ledger_->problem()) return opened;
    log_.error("there is no console until the state folder can be written",
               {{"error", opened.error().message}});
  }
  if (auto started = runner_.start(); !started) return started;
  make_workers_folder();
  workers_folder_.start();
  sync_.tell_workers(summarize_workers());
  sync_thread_ = std::jthread([this](const std::stop_token& stop) { keep_in_step(stop); });
  return {};
}

Result<void> Agent::Body::add_workers() {
  for (const auto& name : options_.workers) {
    auto worker = name == "echo"      ? make_echo_worker()
                  : name == "command" ? make_command_worker(supervisor_)
                                      : make_service_worker(workers_, supervisor_);
    if (auto added = workers_.add(name, std::move(worker)); !added) return added;
  }
  return {};
}

/// Tasks that waited for one of these are looked at again, and calls of services, which may be there now.
void Agent::Body::note_workers(std::span<const std::string> types) {
  std::vector<std::string> changed(types.begin(), types.end());
  changed.emplace_back("service");
  if (const auto told = ledger_->workers_changed(changed); !told) {
    log_.error("tasks that wait for a worker could not be looked up; they are at the next change or start",
               {{"error", told.error().message}});
  }
  runner_.wake();
  sync_.tell_workers(summarize_workers());
}

WorkerSummary Agent::Body::summarize_workers() const {
  WorkerSummary summary;
  summary.types = workers_.types();
  for (WorkerDescription& worker : workers_folder_.describe()) {
    if (!worker.problem.empty()) {
      ++summary.problems;
      continue;
    }
    for (auto& service : worker.services) summary.services.push_back(std::move(service));
  }
  return summary;
}

/// Where nobody chose another folder, ours is there from the start on: then it alone is watched, and not the
/// state folder in which it would appear.
void Agent::Body::make_workers_folder() {
  std::error_code unknown;
  const auto& folder = workers_folder_.folder();
  if (!options_.workers_folder.empty() || std::filesystem::exists(folder, unknown) || unknown) return;
  if (!std::filesystem::is_directory(folders_.config, unknown)) return;
  if (const auto made = os::create_folder(folder, os::Readable::by_everyone); !made)
    log_.debug("the workers folder can't be made: it is waited for", {{"error", made.error().message}});
}

/// With URL and token in the configuration a device enrols by itself; once it is enrolled they count no more.
/// Where that can't be, its own work goes on.
void Agent::Body::enroll_unattended() {
  const auto refuse = [this](const std::string& why) {
    sync_.cannot_enroll(options_.server, {ErrorCode::invalid,
                                          "the enrolment that the settings ask for can't be: " + why +
                                              " — mend that and restart the agent, or: agenttask enroll URL "
                                              "TOKEN"});
  };
  if (options_.enrollment_problem) return refuse(options_.enrollment_problem->message);
  if (options_.server.empty() || options_.enrollment_token.empty()) return;
  const auto identity = IdentityFolder(folders_.state).identity();
  if (identity && *identity) return;
  const auto wished = sync_.enroll(options_.server, options_.enrollment_token, "");
  if (!wished) refuse(wished.error().message);
}

Result<void> Agent::Body::open_console() {
  // Anybody may connect; the socket tells who they are.
  if (auto made = os::create_folder(folders_.runtime, os::Readable::by_everyone); !made) return made;
  if (folders_.runtime.parent_path() == folders_.state) {
    // Whoever is logged in has to come through to the socket. Only now, as all files have their rights.
    if (auto opened = os::create_folder(folders_.state, os::Readable::passable); !opened) return opened;
  }
  ConsoleControls controls;
  controls.server_status = [this] { return to_json(sync_.status()); };
  controls.diagnostics = [this] { return diagnostics(); };
  controls.workers = [this] { return describe_workers(); };
  controls.concerns = [this](const TaskSpec& task) {
    return concerns_about(task, workers_, workers_folder_.describe());
  };
  controls.enroll = [this](const std::string& url, const std::string& token, const std::string& name) {
    return sync_.enroll(url, token, name);
  };
  controls.unenroll = [this] { return sync_.unenroll(); };
  auto server =
      ConsoleServer::start({folders_.console_address(), options_.console_group, options_.console_view_group},
                           std::move(controls), *ledger_, runner_, clock_, log_);
  if (!server) return server.error();
  console_ = *std::move(server);
  return {};
}

/// As Sync::run, and collects background processes of ended runs on the way.
void Agent::Body::keep_in_step(const std::stop_token& stop) {
  milliseconds pause = kFirstMending;
  MonotonicTime look = clock_.monotonic() + pause;
  bool quiet = true;  // what the start took is not needed again
  bool settled = false;
  while (!stop.stop_requested()) {
    milliseconds most = sync_.step(stop);
    supervisor_.reap_orphans();
    if (!ledger_->problem()) {
      pause = kFirstMending;
      look = clock_.monotonic() + pause;
    } else if (clock_.monotonic() >= look) {
      try_to_mend();
      pause = std::min(pause * 2, kLongestMending);
      look = clock_.monotonic() + pause;
      continue;
    } else {
      most = std::min(most, std::chrono::ceil<milliseconds>(look - clock_.monotonic()));
    }
    if (quiet) {
      ledger_->release_memory();
      os::give_back_memory();
      if (!std::exchange(settled, true)) os::let_go_of_files();
    } else {
      settled = false;
    }
    const MonotonicTime begin = clock_.monotonic();
    link_->wait(most, stop);
    quiet = clock_.monotonic() - begin >= kQuiet;
  }
}

/// Looks whether the disk is there again, or somebody has mended the ledger.
void Agent::Body::try_to_mend() {
  if (ledger_->try_again()) {
    log_.info("the ledger can be used again");
    runner_.wake();
  }
  if (!console_) {
    if (const auto opened = open_console(); opened) log_.info("the console is open");
  }
}

void Agent::Body::read_policy() {
  if (const auto read = policy_.reload(); !read) {
    log_.error("the policy file can't be used: nothing runs until it is repaired",
               {{"error", read.error().message}});
  }
}

void Agent::Body::reload(const AgentOptions& options) {
  for (const auto& name : need_restart(options_, options)) {
    log_.warning("this setting changes at the next start", {{"setting", name}});
  }
  log_.set_level(options.log_level);
  runner_.set_slots(options.slots);
  runner_.set_drain(options.shutdown_drain);
  sync_.configure({options.poll_wait, options.poll_interval});
  options_.log_level = options.log_level;
  options_.slots = options.slots;
  options_.shutdown_drain = options.shutdown_drain;
  options_.poll_wait = options.poll_wait;
  options_.poll_interval = options.poll_interval;
  read_policy();
  workers_folder_.rescan();
  runner_.wake();
}

/// The server should know how the last runs ended before we are gone for perhaps long; what it misses waits
/// in the ledger.
void Agent::Body::send_last_reports() {
  const auto deadline = clock_.monotonic() + kLastReports;
  while (sync_.status().state == LinkState::connected && clock_.monotonic() < deadline) {
    const auto status = ledger_->status();
    if (!status || status->outbox_reports == 0) return;
    std::this_thread::sleep_for(kLastReportsLook);
  }
}

void Agent::Body::stop() {
  workers_folder_.stop();
  runner_.stop();
  if (sync_thread_.joinable()) {
    send_last_reports();
    sync_thread_.request_stop();
    sync_thread_.join();
  }
  if (console_) console_->stop();
  console_.reset();
}

/// Their locks are held for moments only. The ledger's is not tried: one that waits for a slow disk is no
/// reason to kill what runs.
void Agent::Body::look_alive() const {
  (void)runner_.status();
  (void)sync_.status();
}

std::string Agent::Body::summary() const {
  const SyncStatus status = sync_.status();
  if (status.state == LinkState::not_enrolled) {
    // At the start nobody has looked yet.
    const auto identity = IdentityFolder(folders_.state).identity();
    if (identity && *identity) return "connecting " + (*identity)->server_url;
    return "no server; tasks of this device run";
  }
  return std::string(to_string(status.state)) + (status.url.empty() ? "" : " " + status.url);
}

std::string Agent::Body::diagnostics() const {
  const nlohmann::json facts = {{"version", AGENTTASK_VERSION},
                                {"platform", os::platform_name()},
                                {"system", os::system_description()},
                                {"configFile", options_.config.string()},
                                {"stateFolder", folders_.state.string()},
                                {"policyFile", policy_file(options_).string()},
                                {"policy", policy_.describe()},
                                {"workers", workers_.types()},
                                {"proxy", !options_.proxy.empty()},
                                {"tlsMinimum", net::to_string(options_.tls_minimum)},
                                {"containment", describe(supervisor_.containment())},
                                {"outliving", describe(os::outliving_status())}};
  return encode_json(facts);
}

std::string Agent::Body::describe_workers() const {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& name : options_.workers) {
    list.push_back(
        {{"name", name}, {"builtIn", true}, {"types", {name}}, {"services", nlohmann::json::array()}});
  }
  for (const WorkerDescription& worker : workers_folder_.describe()) {
    nlohmann::json one = {{"name", worker.name},      {"builtIn", false},
                          {"types", worker.types},    {"services", worker.services},
                          {"folder", worker.folder},  {"validate", worker.validates},
                          {"timeout", worker.timeout}};
    if (!worker.problem.empty()) one["problem"] = worker.problem;
    list.push_back(std::move(one));
  }
  return encode_json({{"folder", workers_folder_.folder().string()}, {"workers", std::move(list)}});
}

Agent::Agent(std::unique_ptr<Body> body) : body_(std::move(body)) {}
Agent::~Agent() = default;

Result<std::unique_ptr<Agent>> Agent::start(const AgentOptions& options, const Clock& clock, Logger& log) {
  const os::Folders folders = folders_of(options);
  auto lock = own(folders);
  if (!lock) return lock.error();
  auto ledger = open_ledger(options, folders, clock, log);
  auto body = std::make_unique<Body>(options, folders, *std::move(lock), std::move(ledger), clock, log);
  if (auto started = body->start(); !started) return started.error();
  return std::unique_ptr<Agent>(new Agent(std::move(body)));
}

void Agent::reload(const AgentOptions& options) {
  body_->reload(options);
}
void Agent::hurry() {
  body_->hurry();
}
void Agent::stop() {
  body_->stop();
}
void Agent::look_alive() const {
  body_->look_alive();
}
std::string Agent::summary() const {
  return body_->summary();
}

}  // namespace agenttask::agent
