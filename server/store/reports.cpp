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

ReportAnswer open_for(WriteStore& store, NodeRecord& node, std::int64_t epoch, UnixMilliseconds now,
                      Logger& logger) {
  log_new_epoch(store, logger, LogLevel::warning,
                "a device's reports do not follow those that the server has (was a database restored?): "
                "opening a new epoch",
                node, epoch);
  open_epoch(store, node, epoch, now);
  return resync(node);
}

bool is_known_agent(const NodeRecord& node, const ReportBatch& batch) {
  return node.incarnation.empty() || batch.incarnation == node.incarnation;
}

/// It begins after reports that the server does not have.
bool begins_elsewhere(const NodeRecord& node, const ReportBatch& batch) {
  return batch.epoch > node.epoch || batch.after.sequence > node.reports.sequence ||
         (batch.after.sequence == node.reports.sequence && batch.after.chain != node.reports.chain);
}

}  // namespace

bool opens_epoch(const NodeRecord& node, const ReportBatch& batch) {
  if (node.quarantined_at || !is_known_agent(node, batch) || batch.epoch < node.epoch) return false;
  if (begins_elsewhere(node, batch)) return true;
  Cursor cursor = batch.after;
  for (const auto& line : batch.lines) {
    if (cursor.sequence >= node.reports.sequence) break;
    cursor = agenttask::advance(cursor, line);
  }
  return cursor.sequence == node.reports.sequence && cursor.chain != node.reports.chain;
}

ReceivedReports::ReceivedReports(ReportBatch received) : batch(std::move(received)) {
  reports.reserve(batch.lines.size());
  for (const auto& line : batch.lines) reports.push_back(decode_report(line));
}

Result<ReportAnswer> apply_reports(WriteStore& store, NodeRecord node, const ReceivedReports& received,
                                   UnixMilliseconds now, Logger& logger, const HistoryLimits& limits) {
  const ReportBatch& batch = received.batch;
  const Cursor& after = batch.after;
  // Its poll decides first whether this start of the agent is the device's.
  if (node.quarantined_at || !is_known_agent(node, batch)) return nothing_taken(batch);
  if (batch.epoch < node.epoch) {
    return node.acknowledged.sequence > 0 || node.reports.sequence > 0 ? nothing_taken(batch) : resync(node);
  }
  if (begins_elsewhere(node, batch)) return open_for(store, node, batch.epoch, now, logger);
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
      return open_for(store, node, batch.epoch, now, logger);
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
