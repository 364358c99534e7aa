#include "server/main/backup.hpp"

#include <array>
#include <chrono>
#include <fstream>
#include <system_error>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "platform/base/digest.hpp"
#include "platform/base/encoding.hpp"
#include "platform/net/certificate.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"
#include "server/store/commit_points.hpp"

namespace agenttask::server {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kSmallFile = 1024 * 1024;
constexpr int kFormat = 1;
constexpr const char* kManifest = "backup.json";
/// Held by whoever fills the folder.
constexpr const char* kLock = "backup.lock";
/// What is copied as it is, where it is there. The database is copied by SQLite.
constexpr std::array<std::string_view, 4> kCopied{"authority/authority.pem", "authority/authority.key",
                                                  "authority/server.pem", "ticket.keys"};
constexpr std::string_view kSettingsFile = "server.conf";

Result<BackupFile> describe_file(const fs::path& folder, const std::string& name) {
  std::ifstream file(folder / name, std::ios::binary);
  if (!file) return Error{ErrorCode::not_found, "cannot read " + (folder / name).string()};
  BackupFile described{name, 0, {}};
  Sha256 digest;
  std::array<char, 256 * 1024> piece;
  while (file.read(piece.data(), piece.size()) || file.gcount() > 0) {
    const auto count = static_cast<std::size_t>(file.gcount());
    digest.add(std::string_view(piece.data(), count));
    described.bytes += count;
  }
  if (file.bad()) return Error{ErrorCode::io, "cannot read " + (folder / name).string()};
  described.digest = hex_encode(digest.finish());
  return described;
}

/// A small file, where there is one.
Result<bool> copy_small(const fs::path& from, const fs::path& to) {
  const auto bytes = os::read_file(from, kSmallFile);
  if (!bytes && bytes.error().code == ErrorCode::not_found) return false;
  if (!bytes) return bytes.error();
  if (auto written = os::write_file(to, *bytes, os::Readable::by_owner); !written) return written.error();
  return true;
}

/// The fingerprint of the authority in a folder, whose key fits.
Result<std::string> read_authority(const fs::path& folder) {
  const auto certificate_pem = os::read_file(folder / "authority.pem", kSmallFile);
  if (!certificate_pem) return certificate_pem.error();
  const auto certificate = net::Certificate::from_pem(*certificate_pem);
  if (!certificate) return with_context(certificate.error(), (folder / "authority.pem").string());
  const auto key_pem = os::read_file(folder / "authority.key", kSmallFile);
  if (!key_pem) return key_pem.error();
  const auto key = net::PrivateKey::from_pem(*key_pem);
  if (!key) return with_context(key.error(), (folder / "authority.key").string());
  if (!certificate->is_authority() || !certificate->matches(*key)) {
    return Error{ErrorCode::corrupt,
                 "authority.pem and authority.key in " + folder.string() + " don't belong together"};
  }
  return certificate->fingerprint();
}

json to_json(const StoreContents& contents) {
  return {{"nodes", contents.nodes},
          {"tasks", contents.tasks},
          {"operators", contents.operators},
          {"enrollmentTokens", contents.enrollment_tokens}};
}

json to_json(const BackupManifest& manifest) {
  json files = json::array();
  for (const auto& file : manifest.files) {
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"sha256", file.digest}});
  }
  return {{"format", kFormat},
          {"takenAt", manifest.taken_at},
          {"version", manifest.version},
          {"authorityFingerprint", manifest.authority_fingerprint},
          {"contents", to_json(manifest.contents)},
          {"files", std::move(files)},
          {"notCovered", manifest.not_covered}};
}

/// Names stay below the folder: a manifest is a file that somebody may have written.
bool is_known_name(const std::string& name) {
  return name == "server.db" || name == kSettingsFile ||
         std::find(kCopied.begin(), kCopied.end(), name) != kCopied.end();
}

Result<BackupManifest> parse_manifest(const std::string& text, const fs::path& file) {
  const Error damaged{ErrorCode::corrupt, file.string() + " is no manifest of a backup, or is damaged"};
  const auto value = parse_json(text);
  if (!value || !value->is_object()) return damaged;
  try {
    if (value->at("format").get<int>() > kFormat) {
      return Error{ErrorCode::newer, file.string() + " was written by a newer version (" +
                                         value->at("version").get<std::string>() + "); use that one"};
    }
    BackupManifest manifest;
    manifest.taken_at = value->at("takenAt").get<UnixMilliseconds>();
    manifest.version = value->at("version").get<std::string>();
    manifest.authority_fingerprint = value->at("authorityFingerprint").get<std::string>();
    manifest.not_covered = value->at("notCovered").get<std::vector<std::string>>();
    for (const auto& one : value->at("files")) {
      manifest.files.push_back({one.at("name").get<std::string>(), one.at("bytes").get<std::uint64_t>(),
                                one.at("sha256").get<std::string>()});
      if (!is_known_name(manifest.files.back().name)) return damaged;
    }
    return manifest;
  } catch (const json::exception&) {
    return damaged;
  }
}

/// Copies everything but the manifest; returns the names.
Result<std::vector<std::string>> copy_state(const StateFolder& state, const fs::path& settings_file,
                                            const fs::path& folder) {
  if (auto made = os::create_folder(folder / "authority", os::Readable::by_owner); !made) return made.error();
  std::vector<std::string> names;
  for (const auto name : kCopied) {
    const auto copied = copy_small(state.folder / name, folder / name);
    if (!copied) return copied.error();
    if (*copied) names.emplace_back(name);
  }
  // Without the names that it is reached under, a restored server would show devices another certificate.
  const auto settings = copy_small(settings_file, folder / kSettingsFile);
  if (!settings) return settings.error();
  if (*settings) names.emplace_back(kSettingsFile);
  if (auto copied = copy_sqlite_store(state.database(), folder / "server.db"); !copied) return copied.error();
  if (auto synced = os::sync_file(folder / "server.db"); !synced) return synced.error();
  names.emplace_back("server.db");
  return names;
}

Result<BackupManifest> fill(const fs::path& folder, const StateFolder& state, const fs::path& settings_file,
                            const ServerSettings& settings, UnixMilliseconds now) {
  BackupManifest manifest;
  manifest.taken_at = now;
  manifest.version = AGENTTASK_VERSION;
  for (const auto& elsewhere : {settings.certificate, settings.private_key, settings.certificate_authority}) {
    if (!elsewhere.empty()) manifest.not_covered.push_back(elsewhere.string());
  }
  const auto names = copy_state(state, settings_file, folder);
  if (!names) return names.error();
  for (const auto& name : *names) {
    auto described = describe_file(folder, name);
    if (!described) return described.error();
    manifest.files.push_back(std::move(*described));
  }
  const auto fingerprint = read_authority(folder / "authority");
  if (!fingerprint) return fingerprint.error();
  manifest.authority_fingerprint = *fingerprint;
  const auto contents = look_at_sqlite_store(folder / "server.db", now);
  if (!contents) return contents.error();
  manifest.contents = *contents;
  const auto written = commit_at(commit_point::kBackupWritten, [&] {
    return os::write_file(folder / kManifest, encode_json(to_json(manifest)) + '\n', os::Readable::by_owner);
  });
  if (!written) return written.error();
  return manifest;
}

std::string count_text(std::int64_t count, std::string_view one, std::string_view many) {
  return std::to_string(count) + ' ' + std::string(count == 1 ? one : many);
}

std::string describe(const BackupManifest& manifest, const fs::path& folder) {
  std::uint64_t bytes = 0;
  std::string files;
  for (const auto& file : manifest.files) {
    bytes += file.bytes;
    files += (files.empty() ? "" : ", ") + file.name;
  }
  const StoreContents& contents = manifest.contents;
  std::string text =
      "backup         " + folder.string() + "\ntaken          " + time_text(manifest.taken_at) +
      "\nholds          " + count_text(contents.nodes, "node", "nodes") + ", " +
      count_text(contents.tasks, "task", "tasks") + ", " +
      count_text(contents.operators, "operator", "operators") + "\nfiles          " + files + " (" +
      std::to_string(bytes) + " bytes)\nfingerprint    " + manifest.authority_fingerprint +
      "\nchecked        read back whole: pages, references, digests, keys\n";
  for (const auto& file : manifest.not_covered) text += "not in it      " + file + ": keep it yourself\n";
  text +=
      "next           keep it where administrators alone can read it: it holds the key that all devices "
      "trust;\n"
      "               agenttask-server restore " +
      folder.string() + "\n";
  return text;
}

fs::path partial(const fs::path& folder) {
  return folder.string() + ".part";
}

/// What one that was cut off left there is of no use. Only what such a folder has in it: whoever may write
/// beside the backup can't have anything else removed by a link in the folder's place.
void clear(const fs::path& part) {
  std::error_code failed;
  for (const char* name : {"authority", "ticket.keys", "server.db", "server.db-wal", "server.db-shm",
                           "server.db-journal", "server.conf", kManifest}) {
    fs::remove_all(part / name, failed);
  }
}

/// Makes the folder, or takes one that a backup which was cut off left, and holds it.
Result<os::FileLock> take_folder(const fs::path& part) {
  std::error_code failed;
  const auto there = fs::symlink_status(part, failed);
  const bool left = fs::exists(there);
  if (left && (!fs::is_directory(there) || !fs::is_regular_file(fs::symlink_status(part / kLock, failed)))) {
    return Error{ErrorCode::conflict,
                 part.string() + " is there, and is not what a backup that was cut off leaves: remove it"};
  }
  if (auto made = os::create_folder(part, os::Readable::by_owner); !made) return made.error();
  auto lock = os::FileLock::acquire(part / kLock);
  if (!lock) return with_context(lock.error(), "another backup is being taken into " + part.string());
  if (left) clear(part);
  return lock;
}

}  // namespace

std::string time_text(UnixMilliseconds time) {
  const auto moment = std::chrono::sys_time<std::chrono::seconds>(std::chrono::seconds(time / 1000));
  const auto day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(moment - day);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count());
}

Result<std::string> take_backup(const CommandLine& line, const StateFolder& state,
                                const SettingSources& sources, const Clock& clock) {
  if (auto done = check_initialised(state); !done) return done.error();
  const auto settings = read_settings(sources);
  if (!settings) return settings.error();
  std::error_code failed;
  fs::path folder = fs::absolute(line.backup, failed).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();
  if (fs::exists(fs::symlink_status(folder, failed))) {
    return Error{ErrorCode::conflict, folder.string() +
                                          " is there already, and nothing is overwritten; name a folder "
                                          "that is not, such as " +
                                          folder.string() + "-" + time_text(clock.wall()).substr(0, 10)};
  }
  const fs::path part = partial(folder);
  const auto lock = take_folder(part);
  if (!lock) return lock.error();
  auto manifest = fill(part, state, sources.file, *settings, clock.wall());
  Result<void> done = manifest ? Result<void>() : Result<void>(manifest.error());
  if (done) done = commit_at(commit_point::kBackupKept, [&] { return os::move_durably(part, folder); });
  if (!done) {
    fs::remove_all(part, failed);
    return with_context(done.error(), "no backup was taken");
  }
  // It held the lock until it had its place: nobody else could begin in this folder.
  fs::remove(folder / kLock, failed);
  if (!line.json) return describe(*manifest, folder);
  json answer = to_json(*manifest);
  answer["folder"] = folder.string();
  return encode_json(answer) + '\n';
}

Result<BackupManifest> check_backup(const fs::path& folder, UnixMilliseconds now) {
  const auto text = os::read_file(folder / kManifest, kSmallFile);
  if (!text && text.error().code == ErrorCode::not_found) {
    return Error{ErrorCode::not_found, folder.string() + " is no backup: it has no " + kManifest +
                                           " (a backup that was cut off ends with .part)"};
  }
  if (!text) return text.error();
  auto manifest = parse_manifest(*text, folder / kManifest);
  if (!manifest) return manifest.error();
  bool has_database = false;
  for (const auto& file : manifest->files) {
    const auto found = describe_file(folder, file.name);
    if (!found) return with_context(found.error(), "the backup is not whole");
    if (found->digest != file.digest || found->bytes != file.bytes) {
      return Error{ErrorCode::corrupt,
                   (folder / file.name).string() +
                       " is not what was written when the backup was taken; use another backup"};
    }
    has_database |= file.name == "server.db";
  }
  if (!has_database) return Error{ErrorCode::corrupt, folder.string() + " holds no database"};
  const auto fingerprint = read_authority(folder / "authority");
  if (!fingerprint) return fingerprint.error();
  if (*fingerprint != manifest->authority_fingerprint) {
    return Error{ErrorCode::corrupt, folder.string() + " holds another authority than its manifest says"};
  }
  const auto contents = look_at_sqlite_store(folder / "server.db", now);
  if (!contents) return contents.error();
  manifest->contents = *contents;
  return manifest;
}

}  // namespace agenttask::server
