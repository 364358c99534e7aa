#include "agent/main/care.hpp"

#include <array>
#include <optional>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include "agent/ledger/ledger_care.hpp"
#include "agent/main/agent.hpp"
#include "agent/runner/outliving_folder.hpp"
#include "agent/sync/enrollment_wish.hpp"
#include "agent/sync/identity.hpp"
#include "platform/base/filesystem_error.hpp"
#include "platform/os/host.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kInUse = 3;
constexpr std::size_t kIdsShown = 20;

CareAnswer done(const CommandLine& line, const json& facts, std::string text, int code = 0) {
  return {code, line.json ? encode_json(facts) + "\n" : std::move(text)};
}

CareAnswer failed(const CommandLine& line, const Error& error, int code) {
  if (line.json) {
    return {code,
            encode_json({{"error", {{"code", to_string(error.code)}, {"message", error.message}}}}) + "\n"};
  }
  return {code, "agenttaskd: " + error.message + "\n"};
}

/// Somebody else has the ledger's lock.
CareAnswer refused(const CommandLine& line, const Error& error) {
  if (error.code != ErrorCode::conflict) return failed(line, error, kFailed);
  return failed(line,
                {ErrorCode::conflict,
                 "the agent has the ledger open: stop it first (systemctl stop agenttask); "
                 "while it runs, `agenttask doctor` says how it is. " +
                     error.message},
                kInUse);
}

std::string list_text(const std::vector<std::string>& ids) {
  std::string text;
  for (std::size_t i = 0; i < std::min(ids.size(), kIdsShown); ++i) text += "               " + ids[i] + "\n";
  if (ids.size() > kIdsShown)
    text += "               … and " + std::to_string(ids.size() - kIdsShown) + " more (--json)\n";
  return text;
}

CareAnswer check(const CommandLine& line, const fs::path& file) {
  const auto report = check_ledger(file);
  if (!report) return refused(line, report.error());
  const bool sound = report->findings.empty();
  const json facts = {{"ledger", file.string()},          {"sound", sound},
                      {"version", report->version},       {"knownVersion", report->known_version},
                      {"tasks", report->tasks},           {"runs", report->runs},
                      {"remembered", report->remembered}, {"outboxReports", report->outbox_reports},
                      {"findings", report->findings}};
  std::string text =
      "ledger         " + file.string() + "\nversion        " + std::to_string(report->version) +
      (report->version < report->known_version
           ? ", brought to " + std::to_string(report->known_version) + " at the agent's next start"
           : "") +
      "\n";
  if (sound) {
    text += "holds          " + std::to_string(report->tasks) + " tasks, " + std::to_string(report->runs) +
            " runs, " + std::to_string(report->remembered) + " remembered ids, " +
            std::to_string(report->outbox_reports) +
            " reports that wait\nsound          yes: pages, references, "
            "and the ledger's own rules\n";
  } else {
    text += "sound          NO\n";
    for (const auto& finding : report->findings) text += "               " + finding + "\n";
    text += "next           agenttaskd ledger salvage\n";
  }
  return done(line, facts, std::move(text), sound ? 0 : kFailed);
}

json describe(const SalvageReport& report) {
  json tables = json::array();
  for (const auto& table : report.tables) {
    json one = {{"table", table.table}, {"saved", table.saved}, {"whole", table.problem.empty()}};
    if (!table.problem.empty()) one["problem"] = table.problem;
    tables.push_back(std::move(one));
  }
  return {{"findings", report.findings}, {"tables", std::move(tables)},
          {"ended", report.ended},       {"passed", report.passed},
          {"lost", report.lost},         {"kept", report.kept.string()},
          {"held", report.held},         {"knowsItsPast", report.knows_its_past}};
}

std::string text_of(const SalvageReport& report, const fs::path& file) {
  std::string text = "saved          " + file.string() + "\n";
  for (const auto& table : report.tables) {
    text += "               " + table.table + ": " + std::to_string(table.saved) + " rows";
    if (!table.problem.empty()) text += "; others could not be read";
    text += "\n";
  }
  if (!report.lost.empty()) {
    text +=
        "lost           tasks of which nothing but the id is left; they count as interrupted and never run "
        "again\n" +
        list_text(report.lost);
  }
  if (!report.ended.empty()) {
    text += "ended          tasks that may have started, as interrupted: they do not run again\n" +
            list_text(report.ended);
  }
  if (!report.passed.empty()) {
    text +=
        "passed         recurring tasks whose present occurrence may have started: they go on with the "
        "next\n" +
        list_text(report.passed);
  }
  if (report.held) {
    text +=
        "hold           whether somebody had said so can't be read: the device is on hold, and starts "
        "nothing\n"
        "               until somebody says: agenttask release\n";
  }
  text += "kept           " + report.kept.string() + ", the damaged ledger as it was\n";
  text += report.knows_its_past ? "server         takes a snapshot of what is left; what it gave this device "
                                  "and is not in it ends as "
                                  "interrupted\n"
                                : "server         can't tell this ledger from a copy: it puts the node into "
                                  "quarantine until an operator "
                                  "releases it\n";
  text += "next           an agent that runs goes on by itself within seconds; otherwise start it\n";
  return text;
}

CareAnswer salvage(const CommandLine& line, const fs::path& file, const os::Folders& folders,
                   const Clock& clock) {
  const auto finished = finish_cut_off_salvage(file);
  if (!finished) return refused(line, finished.error());
  const auto report = check_ledger(file);
  if (!report && report.error().code != ErrorCode::not_found) return refused(line, report.error());
  if (*finished && report && report->findings.empty()) {
    return done(
        line, {{"finished", file.string()}},
        "finished       " + file.string() +
            ", saved by a salvage that was cut off before it said so\n"
            "next           an agent that runs goes on by itself within seconds; otherwise start it\n");
  }
  if (report && report->findings.empty()) {
    return failed(line,
                  {ErrorCode::invalid, "the ledger " + file.string() + " is sound: nothing was changed"},
                  kFailed);
  }
  const auto saved = salvage_ledger(file, folders.state / "spool", clock, os::boot_id());
  if (!saved) return refused(line, saved.error());
  return done(line, describe(*saved), text_of(*saved, file));
}

CareAnswer reset(const CommandLine& line, const fs::path& file, const Clock& clock) {
  if (!line.confirmed) {
    return failed(
        line,
        {ErrorCode::invalid,
         "this puts every task of this device away, with what is known of its runs: say --yes if that is "
         "meant. What can be read of a damaged ledger is saved by: agenttaskd ledger salvage"},
        kUsage);
  }
  const auto kept = put_ledger_away(file, clock);
  if (!kept) return refused(line, kept.error());
  return done(
      line, {{"kept", kept->string()}},
      "reset          " + file.string() + "\nkept           " + kept->string() +
          ", the ledger as it was\nserver         sees that the ledger is lost and puts the node into "
          "quarantine; once an operator has\n               released it, what it gave this device ends as "
          "interrupted and does not run again\nnext           an agent that runs goes on by itself within "
          "seconds; otherwise start it;\n               then: agenttask fleet node release NODE\n");
}

/// Whether a run outside the agent's service goes on.
bool runs_outside(const fs::path& spool) {
  std::error_code failed;
  for (fs::directory_iterator entry(spool, failed), end; !failed && entry != end; entry.increment(failed)) {
    if (entry->path().extension() != OutlivingFolder::kSuffix) continue;
    const auto stage = OutlivingFolder(entry->path()).stage();
    if (stage && *stage == OutlivingStage::live) return true;
  }
  return false;
}

/// What makes this machine this node, and what belongs to it alone.
std::vector<fs::path> of_this_machine(const os::Folders& folders) {
  std::vector<fs::path> found;
  std::error_code failed;
  for (const char* name : {"identity.json", "enrollment.json", "spool", "reserve"}) {
    if (fs::exists(fs::symlink_status(folders.state / name, failed))) found.push_back(folders.state / name);
  }
  if (const fs::path socket = folders.console_address(); fs::exists(fs::symlink_status(socket, failed)))
    found.push_back(socket);
  for (fs::directory_iterator entry(folders.state, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    // The ledger with its log, and those that salvage and reset kept; and what a crash left of a file that
    // was being written, as it holds the same secrets.
    const std::string name = entry->path().filename().string();
    for (const char* ours : {"ledger.", ".identity.json.", ".enrollment.json."}) {
      if (name.starts_with(ours)) found.push_back(entry->path());
    }
  }
  return found;
}

/// The agent's lock; none where it never ran, as then there is no folder for it. `conflict`: the agent runs.
Result<std::optional<os::FileLock>> keep_agent_out(const os::Folders& folders) {
  std::error_code unknown;
  if (fs::symlink_status(folders.state, unknown).type() == fs::file_type::not_found)
    return std::optional<os::FileLock>();
  auto lock = os::FileLock::acquire(folders.state / "agenttaskd.lock");
  if (lock) return std::optional(*std::move(lock));
  return with_context(lock.error(), lock.error().code == ErrorCode::conflict
                                        ? "the agent runs: stop it first (systemctl stop agenttask)"
                                        : "nothing was changed");
}

CareAnswer prepare_image(const CommandLine& line, const os::Folders& folders) {
  const auto lock = keep_agent_out(folders);
  if (!lock) return failed(line, lock.error(), lock.error().code == ErrorCode::conflict ? kInUse : kFailed);
  if (!line.confirmed) {
    return failed(line,
                  {ErrorCode::invalid,
                   "this removes the identity and every task of this machine: say --yes if that is "
                   "meant"},
                  kUsage);
  }
  if (runs_outside(folders.state / "spool")) {
    return failed(
        line,
        {ErrorCode::conflict,
         "a task runs outside the agent and goes on (options.outlivesAgent): start the agent, let the "
         "task end or cancel it, and stop the agent again. Nothing was changed"},
        kInUse);
  }
  std::string former;
  if (const auto identity = IdentityFolder(folders.state).identity(); identity && *identity) {
    former = (*identity)->name + " (" + (*identity)->node_id + ") at " + (*identity)->server_url;
  }
  json removed = json::array();
  std::string text = "removed";
  for (const auto& path : of_this_machine(folders)) {
    std::error_code problem;
    fs::remove_all(path, problem);
    if (problem) return failed(line, filesystem_error("cannot remove " + path.string(), problem), kFailed);
    text += (removed.empty() ? "        " : "               ") + path.string() + "\n";
    removed.push_back(path.string());
  }
  if (removed.empty()) text += "        nothing: there was nothing of this machine's own\n";
  // What was given at an installation waits there for the service.
  std::error_code unknown;
  const auto waiting = folders.config / "enrollment.env";
  const bool waits = line.options.state_dir.empty() && fs::is_regular_file(waiting, unknown);
  const bool configured = !line.options.server.empty() && !line.options.enrollment_token.empty();
  const bool enrolls = configured || waits;
  text += "kept           configuration, policy and workers in " + folders.config.string() + "\n";
  text +=
      configured
          ? "enrolment      each machine enrols with " + line.options.server +
                " at its first start: the configuration holds a token\n                (see that it has "
                "enough "
                "uses, and lives long enough)\n"
      : waits
          ? "enrolment      each machine enrols at its first start with what is in " + waiting.string() + "\n"
      : line.options.enrollment_problem
          ? "enrolment      each machine has to be enrolled: what the configuration says of it can't be used "
            "(" +
                line.options.enrollment_problem->message + ")\n"
          : "enrolment      each machine has to be enrolled: the configuration holds no server and token\n";
  if (!former.empty()) {
    text += "former node    " + former + ": revoke it there if this machine does not come back\n";
  }
  text += "next           shut down and take the image; do not start the agent here\n";
  return done(line, {{"removed", removed}, {"enrollsByItself", enrolls}, {"formerNode", former}},
              std::move(text));
}

CareAnswer prepare_enrollment(const CommandLine& line, const os::Folders& folders) {
  const AgentOptions& options = line.options;
  if (options.server.empty() || options.enrollment_token.empty()) {
    return failed(line, {ErrorCode::invalid, "an enrolment needs --server and --enrollment-token"}, kUsage);
  }
  if (auto made = os::create_folder(folders.state, os::Readable::by_owner); !made)
    return failed(line, made.error(), kFailed);
  const IdentityFolder folder(folders.state);
  const auto identity = folder.identity();
  if (!identity) return failed(line, identity.error(), kFailed);
  if (*identity) {
    return done(line, {{"enrolled", true}, {"server", (*identity)->server_url}},
                "enrolled       with " + (*identity)->server_url + " already: nothing was changed\n");
  }
  const auto wish = keep_enrollment_wish(folder, options.server, options.enrollment_token, options.name);
  if (!wish) return failed(line, wish.error(), kFailed);
  const std::string name = options.name.empty() ? "the name that the host has then" : options.name;
  return done(line, {{"enrolled", false}, {"server", options.server}, {"name", options.name}},
              "kept           the enrolment with " + options.server + ", as " + name +
                  "\nnext           the agent's next start asks that server, for as long as it takes\n");
}

}  // namespace

CareAnswer take_care(const CommandLine& line, const Clock& clock) {
  const os::Folders folders = folders_of(line.options);
  const fs::path file = ledger_file(folders);
  switch (line.verb) {
    case AgentVerb::ledger_check:
      return check(line, file);
    case AgentVerb::ledger_salvage:
      return salvage(line, file, folders, clock);
    case AgentVerb::ledger_reset:
      return reset(line, file, clock);
    case AgentVerb::prepare_image:
      return prepare_image(line, folders);
    case AgentVerb::prepare_enrollment:
      return prepare_enrollment(line, folders);
    default:
      return {kUsage, {}};
  }
}

}  // namespace agenttask::agent
