#include "server/main/restore.hpp"

#include <algorithm>
#include <array>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"
#include "platform/settings/values.hpp"
#include "server/main/backup.hpp"
#include "server/store/commit_points.hpp"

namespace agenttask::server {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSmallFile = 1024 * 1024;
/// In the staged folder: the name of the folder that the former state goes to.
constexpr const char* kAsideNote = "aside";

struct Step {
  std::string_view name;
  CommitPoint point;
};
/// In the order in which they go: without its authority a folder is no server's, so that comes first when a
/// state is put aside, and last when one is put in. The database goes in first: as long as it lies in the
/// staged folder, all that is in its place is of the former state.
constexpr std::array<Step, 5> kAside{{{"authority", commit_point::kRestoreAuthorityAside},
                                      {"server.db", commit_point::kRestoreDatabaseAside},
                                      {"server.db-wal", commit_point::kRestoreLogAside},
                                      {"server.db-shm", commit_point::kRestoreLogAside},
                                      {"ticket.keys", commit_point::kRestoreKeysAside}}};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

bool has_state(const StateFolder& state) {
  return std::any_of(kAside.begin(), kAside.end(),
                     [&](const Step& step) { return is_there(state.folder / step.name); });
}

struct Restored {
  StoreContents before;
  FinishedRestore done;
  std::optional<FinishedRestore> cut_off;  ///< an earlier one, which was finished first
};

/// A name that nothing in the state folder has.
std::string free_name(const StateFolder& state, UnixMilliseconds now) {
  std::string stamp = "replaced-" + time_text(now);
  std::erase_if(stamp, [](char letter) { return letter == ':'; });
  stamp.erase(std::remove(stamp.begin() + sizeof "replaced-" - 1, stamp.end(), '-'), stamp.end());
  std::string name = stamp;
  for (int more = 2; is_there(state.folder / name); ++more) name = stamp + "-" + std::to_string(more);
  return name;
}

/// Everything of the backup in `staging`, ready to be served.
Result<StoreContents> stage(const BackupManifest& manifest, const fs::path& backup, const StateFolder& state,
                            UnixMilliseconds now) {
  const fs::path staging = state.restore_part();
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
  const std::string aside = has_state(state) ? free_name(state, now) : std::string();
  if (auto noted = os::write_file(staging / kAsideNote, aside, os::Readable::by_owner); !noted)
    return noted.error();
  return before;
}

Result<void> move_at(CommitPoint point, const fs::path& from, const fs::path& to) {
  if (!is_there(from)) return {};
  return commit_at(point, [&] { return os::move_durably(from, to); });
}

/// The settings of the backup, where there are none: somebody may have written better ones for this machine.
Result<bool> put_settings(const StateFolder& state, const fs::path& staged) {
  if (is_there(state.configuration) || !is_there(staged / "server.conf")) return false;
  const auto bytes = os::read_file(staged / "server.conf", kSmallFile);
  if (!bytes) return bytes.error();
  if (state.configuration.parent_path() != state.folder) {
    const auto made = os::create_folder(state.configuration.parent_path(), os::Readable::by_everyone);
    if (!made) return made.error();
  }
  const auto written = commit_at(commit_point::kRestoreSettingsIn, [&] {
    return os::write_file(state.configuration, *bytes, os::Readable::by_everyone);
  });
  if (!written) return written.error();
  return true;
}

/// Whether put_settings will be able to, before anything is changed.
Result<void> can_put_settings(const BackupManifest& manifest, const fs::path& backup,
                              const StateFolder& state) {
  const fs::path folder = state.configuration.parent_path();
  if (is_there(state.configuration) || folder == state.folder || !is_there(folder)) return {};
  const bool needed = std::any_of(manifest.files.begin(), manifest.files.end(),
                                  [](const auto& file) { return file.name == "server.conf"; });
  if (!needed) return {};
  const fs::path probe = folder / ".server.conf.restore";
  const auto written = os::write_file(probe, "", os::Readable::by_owner);
  std::error_code ignored;
  fs::remove(probe, ignored);
  if (written) return {};
  return with_context(written.error(), "there is no " + state.configuration.string() +
                                           ", and this user can't write it: copy " +
                                           (backup / "server.conf").string() +
                                           " there as root, and try again");
}

/// Where the former state goes; empty where there was none.
Result<fs::path> aside_of(const StateFolder& state) {
  const auto name = os::read_file(state.restore_ready() / kAsideNote, kSmallFile);
  if (!name && name.error().code == ErrorCode::not_found) return fs::path();
  if (!name) return name.error();
  if (name->find('/') != std::string::npos) {
    return Error{ErrorCode::corrupt, (state.restore_ready() / kAsideNote).string() + " is damaged"};
  }
  return name->empty() ? fs::path() : state.folder / *name;
}

/// The staged state takes the present one's place, in steps: what was done is not done again. Call it with
/// the lock held.
Result<FinishedRestore> take_place(const StateFolder& state) {
  const fs::path ready = state.restore_ready();
  const auto aside = aside_of(state);
  if (!aside) return aside.error();
  FinishedRestore done{*aside, false};
  if (!aside->empty() && is_there(ready / "server.db")) {
    if (auto made = os::create_folder(*aside, os::Readable::by_owner); !made) return made.error();
    for (const Step& step : kAside) {
      const auto moved = move_at(step.point, state.folder / step.name, *aside / step.name);
      if (!moved) return moved.error();
    }
  }
  for (const Step& step : {Step{"server.db", commit_point::kRestoreDatabaseIn},
                           Step{"ticket.keys", commit_point::kRestoreKeysIn}}) {
    const auto moved = move_at(step.point, ready / step.name, state.folder / step.name);
    if (!moved) return moved.error();
  }
  // Before the authority: without the names that it is reached under, it would show another certificate.
  const auto settings = put_settings(state, ready);
  if (!settings) return settings.error();
  done.wrote_settings = *settings;
  if (auto moved = move_at(commit_point::kRestoreAuthorityIn, ready / "authority", state.authority()); !moved)
    return moved.error();
  std::error_code failed;
  fs::remove_all(state.restore_part(), failed);
  if (auto moved = move_at(commit_point::kRestoreFinished, ready, state.restore_part()); !moved)
    return moved.error();
  fs::remove_all(state.restore_part(), failed);
  return done;
}

Result<Restored> put_in(const BackupManifest& manifest, const fs::path& backup, const StateFolder& state,
                        UnixMilliseconds now) {
  Restored restored;
  const auto before = stage(manifest, backup, state, now);
  if (!before) {
    std::error_code failed;
    fs::remove_all(state.restore_part(), failed);
    return with_context(before.error(), "nothing was changed");
  }
  restored.before = *before;
  if (auto staged = move_at(commit_point::kRestoreStaged, state.restore_part(), state.restore_ready());
      !staged)
    return staged.error();
  auto done = take_place(state);
  if (!done) return with_context(done.error(), "the next start of the server goes on with it");
  restored.done = *std::move(done);
  return restored;
}

bool same_bytes(const fs::path& one, const fs::path& other) {
  const auto first = os::read_file(one, kSmallFile);
  const auto second = os::read_file(other, kSmallFile);
  return first && second && *first == *second;
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
  if (restored.done.wrote_settings)
    text += "settings       " + state.configuration.string() + ", from the backup\n";
  else if (is_there(line.backup / "server.conf") &&
           !same_bytes(line.backup / "server.conf", state.configuration))
    text += "settings       " + state.configuration.string() +
            " was there and is kept; those of the backup are in\n               " +
            (line.backup / "server.conf").string() + ": compare host and port\n";
  if (!restored.done.aside.empty()) text += "kept aside     " + restored.done.aside.string() + "\n";
  if (restored.cut_off) {
    text += "               (that is of an earlier restore, which was cut off and never served";
    if (!restored.cut_off->aside.empty()) {
      text += ";\n               what was served before it is in " + restored.cut_off->aside.string();
    }
    text += ")\n";
  }
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
  // What an earlier one put in was never served: it needs no leave to be put aside.
  std::optional<FinishedRestore> cut_off;
  if (is_there(state.restore_ready())) {
    auto finished = take_place(state);
    if (!finished)
      return with_context(finished.error(), "an earlier restore that was cut off can't be finished");
    cut_off = *std::move(finished);
  }
  if (has_state(state) && !line.replace_state && !cut_off) {
    return Error{
        ErrorCode::conflict,
        "there is a server in " + state.folder.string() +
            " already, and nothing was changed; with --replace it is put aside there, and the backup "
            "takes its place"};
  }
  if (auto possible = can_put_settings(*manifest, line.backup, state); !possible)
    return with_context(possible.error(), "nothing was changed");
  auto restored = put_in(*manifest, line.backup, state, now);
  if (!restored) return with_context(restored.error(), "the backup could not be restored");
  restored->cut_off = std::move(cut_off);
  if (!line.json) return describe(*manifest, *restored, line, state, now);
  nlohmann::json answer = {{"state", state.folder.string()},
                           {"backup", line.backup.string()},
                           {"takenAt", manifest->taken_at},
                           {"restoredAt", now},
                           {"nodes", restored->before.nodes},
                           {"tasks", restored->before.tasks},
                           {"voidedTokens", restored->before.enrollment_tokens},
                           {"keptAside", restored->done.aside.string()},
                           {"wroteSettings", restored->done.wrote_settings},
                           {"notCovered", manifest->not_covered}};
  if (restored->cut_off) answer["cutOffBefore"] = {{"keptAside", restored->cut_off->aside.string()}};
  return encode_json(answer) + '\n';
}

Result<std::optional<FinishedRestore>> finish_restore(const StateFolder& state) {
  if (!is_there(state.restore_ready()) && !is_there(state.restore_part())) return std::nullopt;
  const auto lock = os::FileLock::acquire(state.lock());
  if (!lock)
    return with_context(lock.error(), "a restore into " + state.folder.string() + " is not finished");
  std::optional<FinishedRestore> done;
  if (is_there(state.restore_ready())) {
    auto finished = take_place(state);
    if (!finished) {
      return with_context(finished.error(),
                          "a restore into " + state.folder.string() + " that was cut off can't be finished");
    }
    done = *std::move(finished);
  }
  // What was never made ready, or is left of one that is done.
  std::error_code ignored;
  fs::remove_all(state.restore_part(), ignored);
  return done;
}

}  // namespace agenttask::server
