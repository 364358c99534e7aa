#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "agent/console/agent_link.hpp"
#include "agent/console/console.hpp"
#include "agent/console/exit_code.hpp"
#include "agent/sync/identity.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

constexpr const char* kDone = "this device belongs to no server any more; its tasks stay\n";

int unenroll(const Console& console) {
  auto client = connect(console);
  if (client) {
    const agent::Answer answer = client->call("unenroll", "{}");
    if (!answer.ok()) return console.fail(*answer.problem);
    console.json ? console.print_json(answer.json) : (void)console.screen.print(kDone);
    return kSuccess;
  }
  if (client.error().code != ErrorCode::unavailable) return console.fail(client.error());
  const os::Folders folders = folders_of(console);
  const auto lock = os::FileLock::acquire(folders.state / "agenttaskd.lock");
  if (!lock) return console.fail(with_context(lock.error(), "cannot forget the server"));
  const agent::IdentityFolder folder(folders.state);
  if (const auto gone = folder.forget_pending(); !gone) return console.fail(gone.error());
  if (const auto gone = folder.forget_identity(); !gone) return console.fail(gone.error());
  console.json ? console.print_json(R"({"server":{"state":"not-enrolled"}})")
               : (void)console.screen.print(kDone);
  return kSuccess;
}

}  // namespace

void add_unenroll(CLI::App& root, Console& console) {
  add_agent_verb(root, console,
                 {"unenroll", "Forget the task server: key and certificate are removed, tasks stay",
                  "  agenttask unenroll\n"
                  "The server keeps the node until an operator revokes it: agenttask fleet node revoke NODE"},
                 [&console] { return unenroll(console); });
}

}  // namespace agenttask::console
