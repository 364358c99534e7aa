#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "agent/workers/task_worker.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/task.hpp"

namespace agenttask::agent {

/// What the recorder of a run outside the agent's service has to do.
struct OutlivingRequest {
  std::string task_id;
  std::string run_id;
  std::int64_t run = 1;
  std::string data;                  ///< of the command, JSON text
  std::string option;                ///< the choice that it runs with; empty: none
  DurationMilliseconds timeout = 0;  ///< 0: none
  std::int64_t keep = 0;             ///< bytes of each stream
};

/// How such a run ended, as its recorder says.
struct OutlivingEnd {
  WorkResult result;
  UnixMilliseconds ended_at = 0;
};

/// How far such a run is.
enum class OutlivingStage : std::uint8_t {
  missing,    ///< there is no such folder: it never began
  waiting,    ///< its recorder has not come yet
  withdrawn,  ///< nobody will begin it any more
  live,       ///< its recorder is there
  ended,      ///< its recorder has said how it ended
  lost,       ///< its recorder is gone and has said nothing
};

/// The folder of one run outside the agent's service: what the agent and the run's recorder tell each other,
/// across the end of either. In the spool, named TASK.RUN.outliving: its request, both streams, the record of
/// its processes, who began it, whether it shall stop, and how it ended.
///
/// A run begins at most once, however often a recorder is started for it: whoever holds the folder's lock
/// claims the run, durably, or withdraws it. The recorder holds the lock for as long as it lives, so that
/// anybody sees whether it does, also when it was killed. Threads: any; the lock is the process's. Crash:
/// each file is there whole or not at all.
class OutlivingFolder {
 public:
  explicit OutlivingFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  static constexpr std::string_view kSuffix = ".outliving";
  static constexpr std::string_view kPrepared = ".outliving-new";  ///< nobody's yet
  /// Where that of a run is.
  [[nodiscard]] static OutlivingFolder of(const std::filesystem::path& spool, std::string_view task_id,
                                          std::string_view run_id);
  /// Makes one for a task whose start is not on disk yet, with room for the streams' beginning, for who takes
  /// it, for a stop and for the end: `limit` where the disk has none. It is nobody's until it was moved.
  [[nodiscard]] static Result<OutlivingFolder> prepare(const std::filesystem::path& spool,
                                                       std::string_view task_id, std::int64_t keep);
  /// It becomes that of this run.
  [[nodiscard]] Result<void> move_to(const OutlivingFolder& place);
  /// Removes it with all that is in it, for recorders in one step: they find all of it or nothing.
  void remove() const;
  /// This is what a remove() that was cut off has left; nobody looks into it any more.
  [[nodiscard]] bool is_removed() const;

  [[nodiscard]] Result<void> write(const OutlivingRequest& request) const;
  [[nodiscard]] Result<OutlivingRequest> request() const;

  /// For the recorder: the run is its own from now on, once. Nothing: it was begun or withdrawn before.
  [[nodiscard]] Result<std::optional<os::FileLock>> claim() const;
  /// Where it stands. `withdraw`: a run that nobody has begun is withdrawn. An error: it can't be told now.
  [[nodiscard]] Result<OutlivingStage> stage(bool withdraw = false) const;

  /// Asks its recorder to stop it, for the first cause that is told.
  [[nodiscard]] Result<void> ask_to_stop(StopCause cause) const;
  [[nodiscard]] std::optional<StopCause> asked_to_stop() const;

  /// Says how it ended, durably, with all of its output. Takes the room that was kept for it.
  [[nodiscard]] Result<void> write(const OutlivingEnd& end) const;
  [[nodiscard]] bool has_end() const;
  /// `corrupt`, `limit` and `invalid` where it will never be understood; anything else may pass.
  [[nodiscard]] Result<OutlivingEnd> end() const;

  [[nodiscard]] std::filesystem::path stream(OutputStream stream) const;
  /// Where the run's processes are noted down.
  [[nodiscard]] std::filesystem::path processes() const { return folder_ / "processes"; }
  [[nodiscard]] std::filesystem::path stop_file() const { return folder_ / "stop"; }
  [[nodiscard]] const std::filesystem::path& path() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

}  // namespace agenttask::agent
