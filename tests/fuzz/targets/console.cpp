// Request lines on the local socket. The ledger behind them is a real one; nothing ever runs, as the runner
// is not started.
#include <array>
#include <memory>

#include <nlohmann/json.hpp>

#include "agent/console_api/console_calls.hpp"
#include "agent/ledger/ledger.hpp"
#include "agent/policy/policy.hpp"
#include "agent/runner/runner.hpp"
#include "agent/workers/builtin_workers.hpp"
#include "platform/base/log.hpp"
#include "platform/os/process.hpp"
#include "platform/protocol/json.hpp"
#include "tests/fuzz/target.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/support/manual_clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace agenttask::fuzz {
namespace {

using namespace agent;
using nlohmann::json;

const std::array<os::Peer, 4>& peers() {
  static const std::array<os::Peer, 4> all{{
      {.user_name = "root", .user_id = "0", .is_administrator = true},
      {.user_name = "eve", .user_id = "1001", .groups = {"viewers"}, .is_person = true},
      {.user_name = "ann", .user_id = "1000", .is_person = true},
      {.user_name = "daemon", .user_id = "1"},
  }};
  return all;
}

/// An agent's console without its socket, and two tasks: one that waits, one that asks whoever is logged in.
class Desk {
 public:
  Desk() {
    ledger_ = Ledger::open(folder_.path() / "ledger.db", clock_).value();
    hold(
        workers_.add("echo", make_echo_worker()) && workers_.add("command", make_command_worker(supervisor_)),
        "workers can be added");
    RunnerOptions options;
    options.spool_folder = folder_.path() / "spool";
    runner_ = std::make_unique<Runner>(*ledger_, workers_, policy_, supervisor_, clock_, log_, options);
    calls_ = std::make_unique<ConsoleCalls>(settings_, controls_, *ledger_, *runner_, clock_);
    ask(R"({"call":"createTask","arguments":{"task":{"id":"0192d5a0-0000-7000-8000-000000000001",)"
        R"("type":"echo","data":{"message":"x"},"schedule":{"updateInterval":60000}}}})",
        peers().front());
    ask(R"({"call":"createTask","arguments":{"task":{"id":"0192d5a0-0000-7000-8000-000000000002",)"
        R"("type":"ask","chooser":"user","choices":[{"name":"yes"},{"name":"no"}]}}})",
        peers().front());
  }

  void ask(std::string_view line, const os::Peer& peer) {
    std::string last;
    const ConsoleCalls::Caller caller{peer,
                                      [&](std::string_view sent) -> Result<void> {
                                        hold_line(sent);
                                        last = sent;
                                        return {};
                                      },
                                      [] { return true; },  // nobody waits
                                      {}};
    const auto answered = calls_->answer(line, caller);
    if (answered && !last.empty()) hold_answer(last);
  }

 private:
  static void hold_line(std::string_view line) {
    hold(line.find('\n') == std::string_view::npos, "an answer is one line");
    const auto value = parse_json(line, limits::kJsonDepth + 16);
    hold(value && value->is_object(), "an answer is JSON that can be read", line);
  }
  static void hold_answer(const std::string& line) {
    const auto value = json::parse(line);
    if (!value.contains("problem")) return;
    const auto& problem = value["problem"];
    hold(!problem["code"].get<std::string>().empty() && !problem["detail"].get<std::string>().empty(),
         "a problem says what it is", line);
    hold(problem["status"].get<int>() != 500, "no request finds a fault of ours", line);
  }

  test::TemporaryFolder folder_;
  test::ManualClock clock_;
  Logger log_{LogLevel::error, LogFormat::text};
  os::ProcessSupervisor supervisor_;
  WorkerRegistry workers_;
  Policy policy_{std::filesystem::path()};
  ConsoleSettings settings_{"", "", "viewers"};
  ConsoleControls controls_;
  std::unique_ptr<Ledger> ledger_;
  std::unique_ptr<Runner> runner_;
  std::unique_ptr<ConsoleCalls> calls_;
};

}  // namespace

void console_call(std::string_view bytes) {
  if (bytes.empty()) return;
  static std::unique_ptr<Desk> desk;
  static std::size_t asked = 0;
  if (asked++ % 2'000 == 0)
    desk.reset(), desk = std::make_unique<Desk>();  // what was asked for stays in the ledger
  const auto& peer = peers().at(static_cast<unsigned char>(bytes.front()) % peers().size());
  bytes.remove_prefix(1);
  // A few requests on one connection, as lines.
  for (int requests = 0; requests < 4 && !bytes.empty(); ++requests) desk->ask(take_line(bytes), peer);
}

}  // namespace agenttask::fuzz
