#include "server/store/sqlite/writes.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "server/store/sqlite/rows.hpp"

// Operators, enrolment, nodes, directives, orphans, idempotency; tasks are in task_writes.cpp.
namespace agenttask::server::sqlite {

void SqliteWrites::insert_operator(const OperatorRecord& record) {
  database_.execute(
      "INSERT INTO operators(id, label, role, token_hash, created_at, created_by, expires_at, revoked_at) "
      "VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
      {record.id, record.label, to_string(record.role), record.token_hash, record.created_at,
       record.created_by, record.expires_at, record.revoked_at});
}

void SqliteWrites::revoke_operator(std::string_view id, UnixMilliseconds now) {
  database_.execute("UPDATE operators SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL", {id, now});
  touch("operator:" + std::string(id));
}

void SqliteWrites::insert_enrollment_token(const EnrollmentTokenRecord& record) {
  database_.execute(
      "INSERT INTO enrollment_tokens(id, label, secret_hash, uses, used, labels, replace_node, created_at, "
      "created_by, "
      "expires_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
      {record.id, record.label, record.secret_hash, record.uses, record.used, labels_text(record.labels),
       record.replace_node, record.created_at, record.created_by, record.expires_at});
}

void SqliteWrites::use_enrollment_token(std::string_view id) {
  database_.execute("UPDATE enrollment_tokens SET used = used + 1 WHERE id = ?1", {id});
}

void SqliteWrites::remove_enrollment_token(std::string_view id) {
  database_.execute("DELETE FROM enrollment_tokens WHERE id = ?1", {id});
}

void SqliteWrites::insert_enrollment(const EnrollmentRecord& record) {
  database_.execute(
      "INSERT INTO enrollments(token_id, key_digest, node_id, certificate, time) VALUES(?1, ?2, ?3, ?4, ?5)",
      {record.token_id, record.key_digest, record.node_id, record.certificate_pem, record.time});
}

void SqliteWrites::insert_node(const NodeRecord& record) {
  database_.execute(
      "INSERT INTO nodes(id, name, name_fixed, version, platform, labels, enrolled_at, last_seen, "
      "clock_offset, "
      "hold_wanted, hold_reported, revoked_at, incarnation, quarantined_at, quarantine_reason, epoch, "
      "forked, snapshot, "
      "offered_sequence, offered_chain, acknowledged_sequence, acknowledged_chain, report_sequence, "
      "report_chain) "
      "VALUES(?1, '', 0, '', '', '{}', 0, ?2, ?3, NULL, 0, NULL, '', NULL, '', 0, 0, 0, 0, '', 0, '', 0, '')",
      {record.id, record.last_seen, record.clock_offset});
  update_node(record);
}

void SqliteWrites::update_node(const NodeRecord& record) {
  database_.execute(
      "UPDATE nodes SET name = ?2, name_fixed = ?3, version = ?4, platform = ?5, labels = ?6, enrolled_at = "
      "?7, "
      "hold_wanted = ?8, hold_reported = ?9, revoked_at = ?10, incarnation = ?11, quarantined_at = ?12, "
      "quarantine_reason = ?13, epoch = ?14, forked = ?15, snapshot = ?16, offered_sequence = ?17, "
      "offered_chain = ?18, "
      "acknowledged_sequence = ?19, acknowledged_chain = ?20, report_sequence = ?21, report_chain = ?22, "
      "released = ?23, ledger_lost = ?24, progressed_at = ?25, workers = ?26, restored = ?27, "
      "ledger_problem = ?28 "
      "WHERE id = ?1",
      {record.id,
       record.name,
       record.name_fixed,
       record.version,
       record.platform,
       labels_text(record.labels),
       record.enrolled_at,
       record.hold_wanted,
       record.hold_reported,
       record.revoked_at,
       record.incarnation,
       record.quarantined_at,
       record.quarantine_reason,
       record.epoch,
       record.forked,
       record.snapshot,
       record.offered.sequence,
       record.offered.chain,
       record.acknowledged.sequence,
       record.acknowledged.chain,
       record.reports.sequence,
       record.reports.chain,
       record.released,
       record.ledger_lost,
       record.progressed_at,
       record.workers,
       record.restored,
       record.ledger_problem});
}

void SqliteWrites::set_last_seen(std::string_view id, UnixMilliseconds last_seen,
                                 std::optional<DurationMilliseconds> clock_offset) {
  database_.execute(
      "UPDATE nodes SET last_seen = ?2, clock_offset = coalesce(?3, clock_offset) WHERE id = ?1",
      {id, last_seen, clock_offset});
}

void SqliteWrites::insert_certificate(const CertificateRecord& record) {
  database_.execute(
      "INSERT INTO certificates(fingerprint, node_id, issued_at, expires_at, revoked_at) VALUES(?1, ?2, ?3, "
      "?4, ?5)",
      {record.fingerprint, record.node_id, record.issued_at, record.expires_at, record.revoked_at});
}

void SqliteWrites::revoke_certificates(std::string_view node_id, UnixMilliseconds now) {
  database_.execute("UPDATE certificates SET revoked_at = ?2 WHERE node_id = ?1 AND revoked_at IS NULL",
                    {node_id, now});
}

void SqliteWrites::insert_past_incarnation(std::string_view node_id, std::string_view incarnation,
                                           UnixMilliseconds replaced_at) {
  constexpr std::int64_t kKept = 1000;  // of a node; years of restarts
  database_.execute(
      "INSERT INTO past_incarnations(node_id, id, replaced_at) VALUES(?1, ?2, ?3) ON CONFLICT(node_id, id) "
      "DO UPDATE SET replaced_at = ?3",
      {node_id, incarnation, replaced_at});
  database_.execute(
      "DELETE FROM past_incarnations WHERE node_id = ?1 AND number <= (SELECT number FROM past_incarnations "
      "WHERE node_id = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
      {node_id, kKept});
}

void SqliteWrites::remove_past_incarnations(std::string_view node_id) {
  database_.execute("DELETE FROM past_incarnations WHERE node_id = ?1", {node_id});
}

void SqliteWrites::append_directive(const DirectiveRecord& record) {
  database_.execute("INSERT INTO directives(node_id, kind, task_id, body) VALUES(?1, ?2, ?3, ?4)",
                    {record.node_id, to_string(record.kind), record.task_id, record.body});
}

void SqliteWrites::set_directive_body(std::int64_t position, std::string_view body) {
  database_.execute("UPDATE directives SET body = ?2 WHERE position = ?1 AND sequence IS NULL",
                    {position, body});
}

void SqliteWrites::offer_directive(std::int64_t position, const Cursor& cursor) {
  database_.execute("UPDATE directives SET sequence = ?2, chain = ?3 WHERE position = ?1",
                    {position, cursor.sequence, cursor.chain});
}

void SqliteWrites::remove_directive(std::int64_t position) {
  database_.execute("DELETE FROM directives WHERE position = ?1", {position});
}

void SqliteWrites::remove_queued(std::string_view task_id) {
  database_.execute("DELETE FROM directives WHERE task_id = ?1 AND sequence IS NULL", {task_id});
}

void SqliteWrites::remove_acknowledged(std::string_view node_id, std::int64_t sequence) {
  database_.execute("DELETE FROM directives WHERE node_id = ?1 AND sequence <= ?2", {node_id, sequence});
}

void SqliteWrites::remove_directives(std::string_view node_id) {
  database_.execute("DELETE FROM directives WHERE node_id = ?1", {node_id});
}

void SqliteWrites::insert_orphan(const OrphanRecord& record) {
  database_.execute("INSERT INTO orphans(node_id, task_id, kind, line, time) VALUES(?1, ?2, ?3, ?4, ?5)",
                    {record.node_id, record.task_id, record.kind, record.line, record.time});
}

bool SqliteWrites::insert_message(const MessageRecord& record) {
  constexpr std::size_t kRowBytes = 256;  // what a row costs besides its content, about
  const RoomMessage& message = record.message;
  return database_.execute(
             "INSERT OR IGNORE INTO messages(poster, id, node_id, posted_by, room_id, world_id, task_id, "
             "run, content, time, bytes) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
             {record.poster, message.id, message.node_id, record.by, message.room_id, message.world_id,
              message.task_id, message.run, message.content, message.time,
              message.content.size() + kRowBytes}) > 0;
}

void SqliteWrites::trim_messages(std::string_view poster, const MessageBudget& budget) {
  constexpr int kAtOnce = 100;  // more than a few only after the budget was lowered
  for (int i = 0; i < kAtOnce; ++i) {
    {
      auto row = database_.query("SELECT count, bytes FROM message_totals WHERE poster = ?1", {poster});
      if (!row.step() || (row.integer(0) <= budget.count && row.integer(1) <= budget.bytes)) return;
    }
    database_.execute(
        "DELETE FROM messages WHERE sequence = (SELECT min(sequence) FROM messages WHERE poster = ?1)",
        {poster});
  }
}

std::size_t SqliteWrites::remove_messages_before(DurationMilliseconds before, std::size_t limit) {
  constexpr std::string_view kOldest =
      "(SELECT sequence FROM messages WHERE kept_since < ?1 ORDER BY kept_since LIMIT ?2)";
  std::size_t count = 0;
  {
    auto row = database_.query("SELECT count(*) FROM " + std::string(kOldest), {before, limit});
    if (row.step()) count = static_cast<std::size_t>(row.integer(0));
  }
  if (count == 0) return 0;
  database_.execute("DELETE FROM messages WHERE sequence IN " + std::string(kOldest), {before, limit});
  return count;
}

void SqliteWrites::insert_idempotency(const IdempotencyRecord& record) {
  database_.execute(
      "INSERT INTO idempotency_keys(operator_id, key, digest, task_id, time) VALUES(?1, ?2, ?3, ?4, ?5)",
      {record.operator_id, record.key, record.digest, record.task_id, record.time});
}

bool SqliteWrites::date_what_is_over(DurationMilliseconds lived, UnixMilliseconds now, std::size_t limit) {
  struct Dated {
    std::string_view table;
    std::string_view is_over;
  };
  static constexpr std::array<Dated, 7> kDated{{{"tasks", "status IN ('complete', 'failed', 'cancelled')"},
                                                {"tombstones", "1"},
                                                {"idempotency_keys", "1"},
                                                {"orphans", "1"},
                                                {"messages", "1"},
                                                {"enrollment_tokens", "expires_at < ?3"},
                                                {"certificates", "expires_at < ?3"}}};
  bool more = false;
  for (const auto& [table, is_over] : kDated) {
    const auto dated = database_.execute(
        fmt::format(
            "UPDATE {0} SET kept_since = ?1 WHERE rowid IN (SELECT rowid FROM {0} WHERE kept_since IS "
            "NULL AND {1} AND ?3 = ?3 LIMIT ?2)",
            table, is_over),
        {lived, limit, now});
    more |= dated == static_cast<std::int64_t>(limit);
  }
  return more;
}

void SqliteWrites::forget_before(DurationMilliseconds idempotency, DurationMilliseconds tombstones,
                                 DurationMilliseconds orphans, UnixMilliseconds now) {
  database_.execute("DELETE FROM idempotency_keys WHERE kept_since < ?1", {idempotency});
  database_.execute("DELETE FROM tombstones WHERE kept_since < ?1", {tombstones});
  database_.execute("DELETE FROM orphans WHERE kept_since < ?1", {orphans});
  database_.execute("DELETE FROM enrollment_tokens WHERE kept_since < ?1 AND expires_at < ?2",
                    {orphans, now});
  database_.execute(
      "DELETE FROM certificates WHERE kept_since < ?1 AND expires_at < ?2 AND (revoked_at IS NOT NULL OR "
      "EXISTS (SELECT 1 FROM nodes WHERE nodes.id = certificates.node_id AND nodes.last_seen > "
      "certificates.expires_at + ?3))",
      {orphans, now, limits::kDay});
}

void SqliteWrites::set_lived_time(const LivedTime& lived) {
  database_.execute(
      "INSERT OR REPLACE INTO lived_time(only_row, total, boot_id, since_boot, wall, latest_wall, at_latest, "
      "absence) VALUES(1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
      {lived.total, lived.boot_id, lived.since_boot, lived.wall, lived.latest_wall, lived.at_latest,
       lived.absence});
}

}  // namespace agenttask::server::sqlite
