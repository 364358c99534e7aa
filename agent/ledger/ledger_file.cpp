#include "agent/ledger/ledger_file.hpp"

#include <string>
#include <system_error>

#include "agent/ledger/commit_points.hpp"
#include "agent/ledger/detail_text.hpp"
#include "agent/ledger/schema.hpp"

namespace agenttask::agent {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& file) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(file, ignored));
}

std::string_view remedy(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid:
      return "put the right file in its place, or begin anew with: agenttaskd ledger reset";
    case ErrorCode::corrupt:
      return "what can be read is saved by: agenttaskd ledger salvage";
    case ErrorCode::newer:
      return "install the newer version of agenttaskd again, which goes on with it";
    case ErrorCode::limit:
      return "make room on the disk; the agent goes on by itself";
    case ErrorCode::denied:
      return "give the agent the right to write the file and its folder; it goes on by itself";
    case ErrorCode::conflict:
    case ErrorCode::unavailable:
      return "the agent goes on by itself when the other program has ended";
    default:
      return "see to the disk and the file system; the agent goes on by itself";
  }
}

}  // namespace

Result<os::FileLock> hold_ledger(const fs::path& file) {
  return os::FileLock::acquire(file.parent_path() / "ledger.lock");
}

fs::path saved_ledger(const fs::path& file) {
  fs::path name = file;
  return name += ".saved";
}

Result<void> remove_log(const fs::path& file) {
  for (const char* part : {"-wal", "-shm"}) {
    fs::path log = file;
    if (auto removed = os::remove_file(log += part); !removed) return removed;
  }
  return {};
}

Result<void> finish_salvage(const fs::path& file) {
  if (is_there(file)) return {};
  // A log without its database is of the one that was put away, and kept beside that.
  if (auto removed = remove_log(file); !removed) return removed;
  if (!is_there(saved_ledger(file))) return {};
  return commit_at(commit_point::kSavedLedgerTaken,
                   [&] { return os::move_durably(saved_ledger(file), file); });
}

Result<storage::Database> open_ledger_file(const fs::path& file, std::optional<std::int64_t> max_page_count) {
  if (auto finished = finish_salvage(file); !finished) return finished.error();
  storage::OpenOptions how;
  how.exclusive = true;
  how.busy_timeout = std::chrono::milliseconds(0);
  how.max_page_count = max_page_count;
  auto database = storage::Database::open(file, ledger_schema(), how);
  if (!database && database.error().code == ErrorCode::unavailable) {
    return Error{ErrorCode::unavailable, "cannot open the agent's ledger " + file.string() +
                                             ": another program holds it; is the agent running already?"};
  }
  // This one goes on from here: what was saved of it once must never take its place.
  if (database && is_there(saved_ledger(file))) {
    if (auto removed = os::remove_file(saved_ledger(file)); !removed) return removed.error();
  }
  return database;
}

LedgerProblem describe_ledger_problem(const Error& error) {
  std::string words = error.message;
  // What storage advises holds for databases of which there are backups, and for any program.
  for (const std::string_view advice : {"; restore it from a backup", "; use the newer version"}) {
    const auto found = words.find(advice);
    if (found == std::string::npos) continue;
    words.resize(found);
    words += error.code == ErrorCode::newer ? ". Nothing was changed" : "";
  }
  return {std::string(to_string(error.code)), to_detail(words + "; " + std::string(remedy(error.code)))};
}

}  // namespace agenttask::agent
