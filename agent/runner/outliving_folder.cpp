#include "agent/runner/outliving_folder.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/ledger/commit_points.hpp"
#include "agent/runner/spool.hpp"
#include "platform/os/reserved_room.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/object_reader.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::int64_t kReserve = 64 * 1024;  ///< more than an end takes
constexpr std::size_t kMostClaim = 64;
constexpr std::size_t kMostEnd = limits::kDataBytes + 256 * 1024;
constexpr std::size_t kMostRequest = 2 * limits::kDataBytes + 64 * 1024;
constexpr std::int64_t kVersion = 1;
/// Whoever looks at a run holds its lock for a moment.
constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kLookAgain{5};
constexpr std::string_view kBegun = "begun\n";
constexpr std::string_view kWithdrawn = "withdrawn\n";
constexpr std::array kCauses{StopCause::timeout, StopCause::cancel, StopCause::replaced, StopCause::shutdown};

os::ReservedRoom room_in(const fs::path& folder) {
  return {folder / "reserve", kReserve};
}

/// Who has taken the run; empty: nobody yet.
std::string claim_in(const fs::path& folder) {
  const auto text = os::read_file(folder / "claim", kMostClaim);
  return text ? *text : std::string();
}

bool is_there(const fs::path& file) {
  std::error_code unknown;
  return fs::exists(fs::symlink_status(file, unknown));
}

Result<json> read_object(const fs::path& file, std::size_t most) {
  const auto text = os::read_file(file, most);
  if (!text) return text.error();
  auto value = parse_json(*text, limits::kJsonDepth + 8);
  if (!value || !value->is_object())
    return Error{ErrorCode::corrupt, file.string() + " is not what a run's recorder writes"};
  return value;
}

Error not_understood(const fs::path& file, const Error& why) {
  return {ErrorCode::corrupt, file.string() + " can't be understood: " + why.message};
}

}  // namespace

OutlivingFolder OutlivingFolder::of(const fs::path& spool, std::string_view task_id,
                                    std::string_view run_id) {
  return OutlivingFolder(spool / (std::string(task_id) + "." + std::string(run_id) + std::string(kSuffix)));
}

Result<OutlivingFolder> OutlivingFolder::prepare(const fs::path& spool, std::string_view task_id,
                                                 std::int64_t keep) {
  OutlivingFolder folder(spool / (std::string(task_id) + std::string(kPrepared)));
  folder.remove();
  if (auto made = os::create_folder(folder.path(), os::Readable::by_owner); !made) return made.error();
  for (const auto stream : {OutputStream::standard_output, OutputStream::standard_error}) {
    if (const auto spool_file = Spool::create(folder.stream(stream), keep); !spool_file)
      return spool_file.error();
  }
  if (auto taken = room_in(folder.path()).take(); !taken) return taken.error();
  // A block of its own, as the run's processes must be noted down before their first instruction.
  if (auto written = os::write_file(folder.processes(), "\n", os::Readable::by_owner); !written)
    return written.error();
  return folder;
}

Result<void> OutlivingFolder::move_to(const OutlivingFolder& place) {
  if (auto moved = os::move_durably(folder_, place.path()); !moved) return moved;
  folder_ = place.path();
  return {};
}

void OutlivingFolder::remove() const {
  std::error_code ignored;  // what can't be removed now is at the next start
  fs::remove_all(folder_, ignored);
}

fs::path OutlivingFolder::stream(OutputStream stream) const {
  return folder_ / to_string(stream);
}

Result<void> OutlivingFolder::write(const OutlivingRequest& request) const {
  const json value = {{"version", kVersion},        {"taskId", request.task_id}, {"runId", request.run_id},
                      {"run", request.run},         {"data", request.data},      {"option", request.option},
                      {"timeout", request.timeout}, {"keep", request.keep}};
  return commit_at(commit_point::kOutlivingRequested, [&] {
    return os::write_file(folder_ / "request.json", encode_json(value), os::Readable::by_owner);
  });
}

Result<OutlivingRequest> OutlivingFolder::request() const {
  const fs::path file = folder_ / "request.json";
  const auto value = read_object(file, kMostRequest);
  if (!value) return value.error();
  ObjectReader reader(*value, ObjectReader::Unknown::ignore);
  OutlivingRequest request;
  for (const char* name : {"taskId", "runId", "run", "data", "timeout", "keep"}) reader.require(name);
  request.task_id = reader.text("taskId", 36, 1).value_or("");
  request.run_id = reader.text("runId", 36, 1).value_or("");
  request.run = reader.integer("run", 1, INT64_MAX).value_or(1);
  request.data = reader.text("data", limits::kDataBytes).value_or("");
  request.option = reader.text("option", limits::kChoiceNameBytes).value_or("");
  request.timeout = reader.integer("timeout", 0, limits::kTimeoutMilliseconds).value_or(0);
  request.keep = reader.integer("keep", 0, limits::kMaxOutputBytes).value_or(0);
  if (const auto error = reader.finish()) return not_understood(file, *error);
  return request;
}

Result<std::optional<os::FileLock>> OutlivingFolder::claim() const {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    auto lock = os::FileLock::acquire(folder_ / "lock");
    if (lock) {
      if (!claim_in(folder_).empty()) return std::optional<os::FileLock>();
      auto written = commit_at(commit_point::kOutlivingClaimed, [&] {
        return os::write_file(folder_ / "claim", kBegun, os::Readable::by_owner);
      });
      if (!written) return written.error();
      return std::optional<os::FileLock>(*std::move(lock));
    }
    if (lock.error().code != ErrorCode::conflict) return lock.error();
    // Another recorder, or the agent that looks for a moment whether there is one.
    if (!claim_in(folder_).empty() || std::chrono::steady_clock::now() >= until)
      return std::optional<os::FileLock>();
    std::this_thread::sleep_for(kLookAgain);
  }
}

Result<OutlivingStage> OutlivingFolder::stage(bool withdraw) const {
  if (!is_there(folder_)) return OutlivingStage::missing;
  const auto lock = os::FileLock::acquire(folder_ / "lock");
  // Looked at while the lock is ours: what the recorder wrote before it went is all there is.
  if (has_end()) return OutlivingStage::ended;
  if (!lock && lock.error().code == ErrorCode::conflict) return OutlivingStage::live;
  if (!lock) return lock.error();
  const std::string claimed = claim_in(folder_);
  if (claimed == kWithdrawn) return OutlivingStage::withdrawn;
  if (!claimed.empty()) return OutlivingStage::lost;
  if (!withdraw) return OutlivingStage::waiting;
  auto written = commit_at(commit_point::kOutlivingWithdrawn, [&] {
    return os::write_file(folder_ / "claim", kWithdrawn, os::Readable::by_owner);
  });
  if (!written) return written.error();
  return OutlivingStage::withdrawn;
}

Result<void> OutlivingFolder::ask_to_stop(StopCause cause) const {
  if (is_there(stop_file())) return {};
  return commit_at(commit_point::kOutlivingStopAsked,
                   [&] { return os::write_file(stop_file(), to_string(cause), os::Readable::by_owner); });
}

std::optional<StopCause> OutlivingFolder::asked_to_stop() const {
  const auto text = os::read_file(stop_file(), kMostClaim);
  if (!text) return std::nullopt;
  for (const StopCause cause : kCauses) {
    if (to_string(cause) == *text) return cause;
  }
  return std::nullopt;
}

Result<void> OutlivingFolder::write(const OutlivingEnd& end) const {
  const WorkResult& result = end.result;
  const json value = {{"version", kVersion},
                      {"status", to_string(result.status)},
                      {"reason", result.reason},
                      {"code", result.code},
                      {"detail", result.detail},
                      {"data", result.data},
                      {"nothingSurvives", result.nothing_survives},
                      {"endedAt", end.ended_at}};
  // What it says of the output has to be there when it is.
  for (const auto stream : {OutputStream::standard_output, OutputStream::standard_error}) {
    if (!is_there(this->stream(stream))) continue;
    if (auto synced = os::sync_file(this->stream(stream)); !synced) return synced;
  }
  const auto write = [&] {
    return os::write_file(folder_ / "end.json", encode_json(value), os::Readable::by_owner);
  };
  return commit_at(commit_point::kOutlivingEnded, [&] {
    auto written = write();
    if (!written && room_in(folder_).give_up()) written = write();
    return written;
  });
}

bool OutlivingFolder::has_end() const {
  return is_there(folder_ / "end.json");
}

Result<OutlivingEnd> OutlivingFolder::end() const {
  const fs::path file = folder_ / "end.json";
  const auto value = read_object(file, kMostEnd);
  if (!value) return value.error();
  ObjectReader reader(*value, ObjectReader::Unknown::ignore);
  OutlivingEnd end;
  WorkResult& result = end.result;
  for (const char* name : {"status", "data", "endedAt"}) reader.require(name);
  const auto status = parse_run_status(reader.text("status", 32).value_or(""));
  if (status && *status != RunStatus::running) {
    result.status = *status;
  } else {
    reader.refuse("status", "is no end");
  }
  result.reason = reader.text("reason", 64).value_or("");
  result.code = reader.text("code", 256).value_or("");
  result.detail = reader.explanation("detail", 4096).value_or("");
  result.data = reader.text("data", limits::kDataBytes).value_or("{}");
  result.nothing_survives = reader.boolean("nothingSurvives").value_or(false);
  end.ended_at = reader.integer("endedAt", 0, limits::kLatestTime).value_or(0);
  if (const auto error = reader.finish()) return not_understood(file, *error);
  return end;
}

}  // namespace agenttask::agent
