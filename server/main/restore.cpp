#include "server/main/restore.hpp"

#include <array>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"
#include "platform/settings/values.hpp"
#include "server/main/backup.hpp"

namespace agenttask::server {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSmallFile = 1024 * 1024;
/// In the order in which they go: without its authority a folder is no server's, so that comes first when a
/// state is put aside, and last when one is put in.
constexpr std::array<std::string_view, 5> kAside{"authority", "server.db", "server.db-wal", "server.db-shm",
                                                 "ticket.keys"};
constexpr std::array<std::string_view, 3> kPutIn{"ticket.keys", "server.db", "authority"};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

bool has_state(const StateFolder& state) {
  for (const auto name : kAside) {
    if (is_there(state.folder / name)) return true;
  }
  return false;
}

struct Restored {
  StoreContents before;
  fs::path aside;  ///< empty: there was nothing
  bool wrote_settings = false;
};

/// Everything of the backup in `staging`, ready to be served.
Result<StoreContents> stage(const BackupManifest& manifest, const fs::path& backup, const fs::path& staging,
                            UnixMilliseconds now) {
  std::error_code failed;
  fs::remove_all(staging, failed);
  if (auto made = os::create_folder(staging, os::Readable::by_owner); !made) return made.error();
  if (auto made = os::create_folder(staging / "authority", os::Readable::by_owner); !made)
    return made.error();
  for (const auto& file : manifest.files) {
    if (file.name == "server.db") continue;
    const auto bytes = os::read_file(backup / file.name, kSmallFile);
    if (!bytes) return bytes.error();
    const auto written = os::write_file(staging / file.name, *bytes, os::Readable::by_owner);
    if (!written) return written.error();
  }
  if (auto copied = copy_sqlite_store(backup / "server.db", staging / "server.db"); !copied)
    return copied.error();
  auto before = prepare_restored_store(staging / "server.db", manifest.taken_at, now);
  if (!before) return before.error();
  if (auto synced = os::sync_file(staging / "server.db"); !synced) return synced.error();
  return before;
}

Result<fs::path> put_aside(const StateFolder& state, UnixMilliseconds now) {
  if (!has_state(state)) return fs::path();
  std::string stamp = time_text(now);
  std::erase_if(stamp, [](char letter) { return letter == ':' || letter == '-'; });
  fs::path aside = state.folder / ("replaced-" + stamp);
  for (int more = 2; is_there(aside); ++more)
    aside = state.folder / ("replaced-" + stamp + "-" + std::to_string(more));
  if (auto made = os::create_folder(aside, os::Readable::by_owner); !made) return made.error();
  for (const auto name : kAside) {
    if (!is_there(state.folder / name)) continue;
    if (auto moved = os::move_durably(state.folder / name, aside / name); !moved) return moved.error();
  }
  return aside;
}

/// The settings of the backup, where there are none: somebody may have written better ones for this machine.
Result<bool> put_settings(const StateFolder& state, const fs::path& staging) {
  if (is_there(state.configuration) || !is_there(staging / "server.conf")) return false;
  const auto bytes = os::read_file(staging / "server.conf", kSmallFile);
  if (!bytes) return bytes.error();
  if (state.configuration.parent_path() != state.folder) {
    const auto made = os::create_folder(state.configuration.parent_path(), os::Readable::by_everyone);
    if (!made) return made.error();
  }
  const auto written = os::write_file(state.configuration, *bytes, os::Readable::by_everyone);
  if (!written) return written.error();
  return true;
}

Result<Restored> put_in(const BackupManifest& manifest, const fs::path& backup, const StateFolder& state,
                        UnixMilliseconds now) {
  const fs::path staging = state.folder / "restore.part";
  std::error_code failed;
  Restored restored;
  auto before = stage(manifest, backup, staging, now);
  if (!before) {
    fs::remove_all(staging, failed);
    return before.error();
  }
  restored.before = *before;
  auto aside = put_aside(state, now);
  if (!aside) return aside.error();
  restored.aside = *aside;
  for (const auto name : kPutIn) {
    if (!is_there(staging / name)) continue;
    if (auto moved = os::move_durably(staging / name, state.folder / name); !moved) return moved.error();
  }
  const auto settings = put_settings(state, staging);
  if (!settings) return settings.error();
  restored.wrote_settings = *settings;
  fs::remove_all(staging, failed);
  return restored;
}

std::string describe(const BackupManifest& manifest, const Restored& restored, const CommandLine& line,
                     const StateFolder& state, UnixMilliseconds now) {
  const StoreContents& contents = restored.before;
  std::string text =
      "restored       " + state.folder.string() + "\nfrom           " + line.backup.string() +
      "\ntaken          " + time_text(manifest.taken_at) + ", " +
      settings::duration_text(std::max<DurationMilliseconds>(now - manifest.taken_at, 0) / 1000 * 1000) +
      " ago\nnodes          " + std::to_string(contents.nodes) +
      ": each begins a new epoch when it comes, and tells what it did since\ntasks          " +
      std::to_string(contents.tasks) + "\ntokens         " + std::to_string(contents.enrollment_tokens) +
      " enrolment tokens were good and are void: make new ones with `agenttask-server token create`\n";
  if (restored.wrote_settings)
    text += "settings       " + state.configuration.string() + ", from the backup\n";
  if (!restored.aside.empty()) text += "kept aside     " + restored.aside.string() + "\n";
  for (const auto& file : manifest.not_covered) {
    text += "not in it      " + file + (is_there(file) ? "\n" : ", which is not there: put it there first\n");
  }
  text +=
      "forgotten      what operators did after that: tasks that were not delivered yet, and every node and "
      "operator\n"
      "               that was revoked since is valid again. Look through `agenttask-server operator list` "
      "and\n"
      "               `agenttask fleet nodes`, and revoke again. Nodes that enrolled since come into "
      "quarantine.\n"
      "next           agenttask-server run" +
      (line.state_dir.empty() ? std::string() : " --state-dir " + state.folder.string()) + "\n";
  return text;
}

}  // namespace

Result<std::string> restore_backup(const CommandLine& line, const StateFolder& state, const Clock& clock) {
  const UnixMilliseconds now = clock.wall();
  const auto manifest = check_backup(line.backup, now);
  if (!manifest) return with_context(manifest.error(), "nothing was changed");
  if (auto made = os::create_folder(state.folder, os::Readable::by_owner); !made) return made.error();
  const auto lock = os::FileLock::acquire(state.lock());
  if (!lock) {
    return with_context(lock.error(),
                        "a server runs in " + state.folder.string() +
                            ": stop it first (systemctl stop agenttask-server). Nothing was changed");
  }
  if (has_state(state) && !line.replace_state) {
    return Error{
        ErrorCode::conflict,
        "there is a server in " + state.folder.string() +
            " already, and nothing was changed; with --replace it is put aside there, and the backup "
            "takes its place"};
  }
  const auto restored = put_in(*manifest, line.backup, state, now);
  if (!restored) return with_context(restored.error(), "the backup could not be restored");
  if (!line.json) return describe(*manifest, *restored, line, state, now);
  const nlohmann::json answer = {{"state", state.folder.string()},
                                 {"backup", line.backup.string()},
                                 {"takenAt", manifest->taken_at},
                                 {"restoredAt", now},
                                 {"nodes", restored->before.nodes},
                                 {"tasks", restored->before.tasks},
                                 {"voidedTokens", restored->before.enrollment_tokens},
                                 {"keptAside", restored->aside.string()},
                                 {"wroteSettings", restored->wrote_settings},
                                 {"notCovered", manifest->not_covered}};
  return encode_json(answer) + '\n';
}

}  // namespace agenttask::server
