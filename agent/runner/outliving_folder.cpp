#include "agent/runner/outliving_folder.hpp"

#include <array>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

#include <nlohmann/json.hpp>

#include "agent/ledger/commit_points.hpp"
#include "agent/runner/spool.hpp"
#include "platform/base/filesystem_error.hpp"
#include "platform/os/reserved_room.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"
#include "platform/protocol/object_reader.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kRemoved = ".outliving-gone";
constexpr const char* kRequest = "request.json";
constexpr const char* kClaim = "claim";
constexpr const char* kEnd = "end.json";
constexpr std::size_t kMostClaim = 64;
constexpr std::size_t kMostEnd = limits::kDataBytes + 256 * 1024;
constexpr std::size_t kMostRequest = 2 * limits::kDataBytes + 64 * 1024;
constexpr std::int64_t kVersion = 1;
/// Whoever looks at a run holds its lock for a moment.
constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kLookAgain{5};
/// A recorder that has told the end of its run goes in a moment. Where programs run from files that can't be
/// moved meanwhile (Windows), its folder waits for that.
constexpr std::chrono::seconds kRecorderGoes{1};
constexpr std::string_view kBegun = "begun\n";
constexpr std::string_view kWithdrawn = "withdrawn\n";
constexpr std::array kCauses{StopCause::timeout, StopCause::cancel, StopCause::replaced, StopCause::shutdown};

/// Room for one file of the folder on the day when the disk has no other.
os::ReservedRoom room_for(const fs::path& file) {
  constexpr std::int64_t kForWord = 8 * 1024;
  constexpr std::int64_t kForEnd = 64 * 1024;  // more than an end takes
  fs::path room = file;
  room += ".room";
  return {std::move(room), file.filename() == kEnd ? kForEnd : kForWord};
}

/// Writes a file that has room of its own, and takes that where there is no other.
Result<void> write_in_room(const fs::path& file, std::string_view text) {
  auto written = os::write_file(file, text, os::Readable::by_owner);
  if (!written && room_for(file).give_up()) written = os::write_file(file, text, os::Readable::by_owner);
  return written;
}

bool is_there(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(folder, ignored));
}

bool move_away(const fs::path& folder, const fs::path& removed) {
  const auto until = std::chrono::steady_clock::now() + kRecorderGoes;
  while (is_there(folder)) {
    std::error_code failed;
    fs::rename(folder, removed, failed);
    if (!failed) return true;
    if (std::chrono::steady_clock::now() >= until) break;
    std::this_thread::sleep_for(kLookAgain);
  }
  return false;
}

/// What was moved away and could not be removed then.
void remove_leftovers(const fs::path& spool) {
  std::error_code failed;
  std::error_code ignored;
  for (fs::directory_iterator entry(spool, failed), last; !failed && entry != last; entry.increment(failed)) {
    if (entry->path().extension() == kRemoved) fs::remove_all(entry->path(), ignored);
  }
}

/// Who has taken the run; empty: nobody yet. What can't be read at this moment is not nobody.
Result<std::string> claim_in(const fs::path& folder) {
  auto text = os::read_file(folder / kClaim, kMostClaim);
  if (!text && text.error().code == ErrorCode::not_found) return std::string();
  return text;
}

/// An error where it can't be found out.
Result<bool> look_for(const fs::path& file) {
  std::error_code problem;
  const auto status = fs::symlink_status(file, problem);
  if (status.type() == fs::file_type::none)
    return filesystem_error("cannot look for " + file.string(), problem);
  return fs::exists(status);
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
  remove_leftovers(spool);
  if (auto made = os::create_folder(folder.path(), os::Readable::by_owner); !made) return made.error();
  for (const auto stream : {OutputStream::standard_output, OutputStream::standard_error}) {
    if (const auto spool_file = Spool::create(folder.stream(stream), keep); !spool_file)
      return spool_file.error();
  }
  // Whatever happens to the disk meanwhile: it can be begun or withdrawn, stopped, and told how it ended.
  for (const fs::path& file : {folder.path() / kClaim, folder.stop_file(), folder.path() / kEnd}) {
    if (auto taken = room_for(file).take(); !taken) return taken.error();
  }
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
  // In one step nothing has the name any more that a recorder was given: one that comes late must not find
  // the claim gone and the request still there.
  std::error_code ignored;  // what can't be removed now is before the next such run, or at the next start
  fs::path removed = folder_;
  if (!is_removed()) {
    removed += kRemoved;
    fs::remove_all(removed, ignored);
    if (!move_away(folder_, removed)) removed = folder_;
  }
  fs::remove(removed / kRequest, ignored);
  fs::remove_all(removed, ignored);
}

bool OutlivingFolder::is_removed() const {
  return folder_.extension() == kRemoved;
}

fs::path OutlivingFolder::stream(OutputStream stream) const {
  return folder_ / to_string(stream);
}

Result<void> OutlivingFolder::write(const OutlivingRequest& request) const {
  const json value = {{"version", kVersion},        {"taskId", request.task_id}, {"runId", request.run_id},
                      {"run", request.run},         {"data", request.data},      {"option", request.option},
                      {"timeout", request.timeout}, {"keep", request.keep}};
  return commit_at(commit_point::kOutlivingRequested, [&] {
    return os::write_file(folder_ / kRequest, encode_json(value), os::Readable::by_owner);
  });
}

Result<OutlivingRequest> OutlivingFolder::request() const {
  const fs::path file = folder_ / kRequest;
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
    const auto claimed = claim_in(folder_);
    if (lock) {
      if (!claimed) return claimed.error();
      if (!claimed->empty()) return std::optional<os::FileLock>();
      auto written =
          commit_at(commit_point::kOutlivingClaimed, [&] { return write_in_room(folder_ / kClaim, kBegun); });
      if (!written) return written.error();
      return std::optional<os::FileLock>(*std::move(lock));
    }
    if (lock.error().code == ErrorCode::not_found) return std::optional<os::FileLock>();  // it was removed
    if (lock.error().code != ErrorCode::conflict) return lock.error();
    // Another recorder, or the agent that looks for a moment whether there is one.
    if ((claimed && !claimed->empty()) || std::chrono::steady_clock::now() >= until)
      return std::optional<os::FileLock>();
    std::this_thread::sleep_for(kLookAgain);
  }
}

Result<OutlivingStage> OutlivingFolder::stage(bool withdraw) const {
  const auto there = look_for(folder_);
  if (!there) return there.error();
  if (!*there) return OutlivingStage::missing;
  const auto lock = os::FileLock::acquire(folder_ / "lock");
  // Looked at while the lock is ours: what the recorder wrote before it went is all there is.
  const auto ended = look_for(folder_ / kEnd);
  if (!ended) return ended.error();
  if (*ended) return OutlivingStage::ended;
  if (!lock && lock.error().code == ErrorCode::conflict) return OutlivingStage::live;
  if (!lock) return lock.error();
  const auto claimed = claim_in(folder_);
  if (!claimed) return claimed.error();
  if (*claimed == kWithdrawn) return OutlivingStage::withdrawn;
  if (!claimed->empty()) return OutlivingStage::lost;
  if (!withdraw) return OutlivingStage::waiting;
  auto written = commit_at(commit_point::kOutlivingWithdrawn,
                           [&] { return write_in_room(folder_ / kClaim, kWithdrawn); });
  if (!written) return written.error();
  return OutlivingStage::withdrawn;
}

Result<void> OutlivingFolder::ask_to_stop(StopCause cause) const {
  if (asked_to_stop()) return {};
  return commit_at(commit_point::kOutlivingStopAsked,
                   [&] { return write_in_room(stop_file(), to_string(cause)); });
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
    auto synced = os::sync_file(this->stream(stream));
    if (!synced && synced.error().code != ErrorCode::not_found) return synced;
  }
  return commit_at(commit_point::kOutlivingEnded,
                   [&] { return write_in_room(folder_ / kEnd, encode_json(value)); });
}

bool OutlivingFolder::has_end() const {
  const auto there = look_for(folder_ / kEnd);
  return there && *there;
}

Result<OutlivingEnd> OutlivingFolder::end() const {
  const fs::path file = folder_ / kEnd;
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
