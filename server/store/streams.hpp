#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"
#include "platform/base/log.hpp"
#include "platform/protocol/message.hpp"
#include "server/store/store.hpp"

/// The server's side of the two streams (docs/protocol.md; tests/model and the randomized test explore it).
/// Plain functions over a store, so that every body of it behaves alike. Failures of the storage are the
/// caller's to check (store.hpp).
namespace agenttask::server {

/// How far a device's epoch may be ahead of the server's: further than any backup is behind. The next epoch
/// goes above it, and must stay one that agents can read.
constexpr std::int64_t kEpochsAhead = 1 << 20;

/// What a poll asks for, as far as reading can tell.
enum class PollNeed : std::uint8_t {
  nothing,  ///< nothing to acknowledge, and nothing to say but what the device knows already: it may wait
  answer,   ///< `answer_poll` gives the whole answer without writing
  write,    ///< `apply_poll` has to
};
[[nodiscard]] PollNeed examine_poll(const ReadStore& store, const NodeRecord& node,
                                    const PollRequest& request);

/// The answer to a poll that needs no writing: resync, quarantine, or directives that were offered before and
/// not applied yet.
[[nodiscard]] PollAnswer answer_poll(const ReadStore& store, const NodeRecord& node,
                                     const PollRequest& request);

/// Acknowledges, numbers what is queued, and answers; opens a new epoch where the device's past is not the
/// server's, and quarantines the node where its agent follows another than the last (lineage.hpp). Also
/// stores what the poll says of the device (version, platform, name, hold, incarnation).
[[nodiscard]] PollAnswer apply_poll(WriteStore& store, NodeRecord node, const PollRequest& request,
                                    UnixMilliseconds now, Logger& logger);

/// Whether applying it opens a new epoch, in which all tasks of the device are queued again.
[[nodiscard]] bool opens_epoch(const ReadStore& store, const NodeRecord& node, const PollRequest& request,
                               UnixMilliseconds now);
[[nodiscard]] bool opens_epoch(const NodeRecord& node, const ReportBatch& batch);

/// The same for a poll of a device that can't use its ledger: what it says of itself is stored, nothing is
/// compared, acknowledged or offered. `words_count`: whether other words for the problem that is known are
/// worth writing; they may tell of another page with each poll.
[[nodiscard]] PollNeed examine_ledger_problem(const NodeRecord& node, const PollRequest& request,
                                              bool words_count);
void apply_ledger_problem(WriteStore& store, NodeRecord node, const PollRequest& request, Logger& logger);
[[nodiscard]] PollAnswer answer_without_ledger(const NodeRecord& node);

/// A batch with its reports read: that needs no store, and is done before the writer's turn.
struct ReceivedReports {
  ReceivedReports(ReportBatch received);  // NOLINT(google-explicit-constructor): a batch is one, once read
  ReportBatch batch;
  std::vector<Result<Report>> reports;  ///< of each line
};

/// Applies a batch of reports with its cursor. `invalid` when the batch is no stream at all: sequences that
/// do not follow each other, lines that are no reports.
[[nodiscard]] Result<ReportAnswer> apply_reports(WriteStore& store, NodeRecord node,
                                                 const ReceivedReports& received, UnixMilliseconds now,
                                                 Logger& logger, const HistoryLimits& limits = {});

/// The line of an offered directive: the same bytes whenever it is made.
[[nodiscard]] std::string directive_line(const ReadStore& store, const DirectiveRecord& directive);

/// Which tasks a device may have lost together with its ledger. They are not queued again, as they may have
/// been started: what the snapshot does not have ends as `failed`, `interrupted`.
enum class Doubt : std::uint8_t {
  none,                ///< the ledger is the one that took them
  nothing_offered,     ///< another device begins: what is open was offered to none, and stays the server's
  acknowledged_tasks,  ///< those that the device acknowledged
  offered_tasks,       ///< those that were offered: it may have got them without a word
};

/// Before the node's directives are forgotten: what was accepted as a deletion is one, also where the task
/// ended before its device was told.
void carry_out_deletions(WriteStore& store, const NodeRecord& node, UnixMilliseconds now);

/// Begins a new epoch above the server's and `above`, because the pasts differ: all that has not ended and is
/// not in doubt is queued again, a cancel for what the server cancelled alone, and requests that the device
/// did not acknowledge: the device sees from the runs that they name whether it did them already. From now on
/// the device's truth stands. Stores the node.
void open_epoch(WriteStore& store, NodeRecord& node, std::int64_t above, UnixMilliseconds now,
                Doubt doubt = Doubt::none);

}  // namespace agenttask::server
