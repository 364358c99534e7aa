#include <utility>

#include "server/store/changes.hpp"
#include "server/store/report_applier.hpp"
#include "server/store/streams.hpp"

// The other stream: what devices report.
namespace agenttask::server {
namespace {

ReportAnswer resync(const NodeRecord& node) {
  return {node.epoch, true, node.reports};
}

/// The device keeps them.
ReportAnswer nothing_taken(const ReportBatch& batch) {
  return {batch.epoch, false, batch.after};
}

ReportAnswer open_for(WriteStore& store, NodeRecord& node, std::int64_t epoch, Logger& logger) {
  log_new_epoch(store, logger, LogLevel::warning,
                "a device's reports do not follow those that the server has (was a database restored?): "
                "opening a new epoch",
                node, epoch);
  open_epoch(store, node, epoch);
  return resync(node);
}

}  // namespace

ReceivedReports::ReceivedReports(ReportBatch received) : batch(std::move(received)) {
  reports.reserve(batch.lines.size());
  for (const auto& line : batch.lines) reports.push_back(decode_report(line));
}

Result<ReportAnswer> apply_reports(WriteStore& store, NodeRecord node, const ReceivedReports& received,
                                   UnixMilliseconds now, Logger& logger, const HistoryLimits& limits) {
  const ReportBatch& batch = received.batch;
  const Cursor& after = batch.after;
  // Its poll decides first whether this start of the agent is the device's.
  const bool known_agent = node.incarnation.empty() || batch.incarnation == node.incarnation;
  if (node.quarantined_at || !known_agent) return nothing_taken(batch);
  if (batch.epoch < node.epoch) {
    return node.acknowledged.sequence > 0 || node.reports.sequence > 0 ? nothing_taken(batch) : resync(node);
  }
  if (batch.epoch > node.epoch || after.sequence > node.reports.sequence ||
      (after.sequence == node.reports.sequence && after.chain != node.reports.chain)) {
    return open_for(store, node, batch.epoch, logger);
  }
  ReportApplier applier(store, node, now, limits);
  Cursor cursor = after;
  const Cursor known = node.reports;
  for (std::size_t i = 0; i < batch.lines.size(); ++i) {
    const std::string& line = batch.lines[i];
    const auto& report = received.reports[i];
    if (!report) return report.error();
    if (report->sequence != cursor.sequence + 1) {
      return Error{ErrorCode::invalid, "report " + std::to_string(report->sequence) + " follows number " +
                                           std::to_string(cursor.sequence) +
                                           ": sequences must not leave gaps"};
    }
    cursor = agenttask::advance(cursor, line);
    if (cursor.sequence > known.sequence) {
      applier.apply(*report, line);
      node.reports = cursor;
    } else if (cursor.sequence == known.sequence && cursor.chain != known.chain) {
      return open_for(store, node, batch.epoch, logger);
    }
  }
  if (applier.troubles().any()) {
    store.after_commit([&logger, id = node.id, troubles = applier.troubles()] { troubles.log(logger, id); });
  }
  if (node.reports.sequence != known.sequence) {
    if (known.sequence == 0) node.progressed_at = now;
    store.update_node(node);
  }
  return ReportAnswer{node.epoch, false, node.reports};
}

}  // namespace agenttask::server
