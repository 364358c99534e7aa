#include "server/store/sqlite/reads.hpp"

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "server/store/sqlite/rows.hpp"

// Operators, enrolment, nodes, directives, orphans, idempotency; tasks are in task_reads.cpp.
namespace agenttask::server::sqlite {
namespace {

std::string select(std::string_view columns, std::string_view rest) {
  return "SELECT " + std::string(columns) + " FROM " + std::string(rest);
}

template <class Record>
std::optional<Record> one(Database& database, Statement row, Record (*read)(Database&, const Statement&)) {
  if (!row.step()) return std::nullopt;
  return read(database, row);
}

template <class Record>
std::vector<Record> all(Database& database, Statement row, Record (*read)(Database&, const Statement&)) {
  std::vector<Record> records;
  while (row.step()) records.push_back(read(database, row));
  return records;
}

}  // namespace

std::optional<OperatorRecord> SqliteReads::operator_by_hash(std::string_view token_hash) const {
  static const std::string sql = select(kOperatorColumns, "operators WHERE token_hash = ?1");
  return one(database_, database_.query(sql, {token_hash}), read_operator);
}

std::optional<OperatorRecord> SqliteReads::operator_by_id(std::string_view id) const {
  return one(database_, database_.query(select(kOperatorColumns, "operators WHERE id = ?1"), {id}),
             read_operator);
}

std::vector<OperatorRecord> SqliteReads::operators() const {
  return all(database_, database_.query(select(kOperatorColumns, "operators ORDER BY rowid DESC")),
             read_operator);
}

std::optional<EnrollmentTokenRecord> SqliteReads::enrollment_token_by_hash(
    std::string_view secret_hash) const {
  return one(
      database_,
      database_.query(select(kTokenColumns, "enrollment_tokens WHERE secret_hash = ?1"), {secret_hash}),
      read_token);
}

std::optional<EnrollmentTokenRecord> SqliteReads::enrollment_token_by_id(std::string_view id) const {
  return one(database_, database_.query(select(kTokenColumns, "enrollment_tokens WHERE id = ?1"), {id}),
             read_token);
}

std::vector<EnrollmentTokenRecord> SqliteReads::enrollment_tokens() const {
  return all(database_, database_.query(select(kTokenColumns, "enrollment_tokens ORDER BY rowid DESC")),
             read_token);
}

std::optional<EnrollmentRecord> SqliteReads::enrollment(std::string_view token_id,
                                                        std::string_view key_digest) const {
  auto row = database_.query(
      "SELECT token_id, key_digest, node_id, certificate, time FROM enrollments WHERE token_id = ?1 AND "
      "key_digest = ?2",
      {token_id, key_digest});
  if (!row.step()) return std::nullopt;
  return EnrollmentRecord{row.text(0), row.text(1), row.text(2), row.text(3), row.integer(4)};
}

bool SqliteReads::is_lost_time(UnixMilliseconds issued) const {
  constexpr DurationMilliseconds kRounding = 2000;  // certificates know seconds only
  auto row = database_.query("SELECT 1 FROM restores WHERE taken_at - ?2 <= ?1 AND ?1 <= restored_at",
                             {issued, kRounding});
  return row.step();
}

std::optional<NodeRecord> SqliteReads::node(std::string_view id) const {
  static const std::string sql = select(kNodeColumns, "nodes WHERE id = ?1");
  return one(database_, database_.query(sql, {id}), read_node);
}

std::vector<NodeRecord> SqliteReads::nodes_by_name(std::string_view name) const {
  return all(database_,
             database_.query(select(kNodeColumns, "nodes WHERE name = ?1 AND revoked_at IS NULL ORDER BY id"),
                             {name}),
             read_node);
}

std::vector<NodeRecord> SqliteReads::nodes(std::string_view before, std::size_t limit, std::string_view name,
                                           const Labels& labels) const {
  // Labels are matched key by key against the row's object: a fleet's worth of rows is read in order of the
  // id.
  auto row = database_.query(
      select(kNodeColumns,
             "nodes WHERE (?1 = '' OR id < ?1) AND revoked_at IS NULL AND (?2 = '' OR name = ?2) AND NOT "
             "EXISTS ("
             "SELECT 1 FROM json_each(?3) wanted WHERE NOT EXISTS (SELECT 1 FROM json_each(nodes.labels) "
             "present "
             "WHERE present.key = wanted.key AND present.value = wanted.value)) ORDER BY id DESC LIMIT ?4"),
      {before, name, labels_text(labels), limit});
  std::vector<NodeRecord> records;
  while (row.step()) records.push_back(read_node(database_, row));
  return records;
}

std::vector<std::string> SqliteReads::nodes_with(const Labels& labels) const {
  auto row = database_.query(
      "SELECT id FROM nodes WHERE revoked_at IS NULL AND (?1 = '{}' OR NOT EXISTS (SELECT 1 FROM "
      "json_each(?1) "
      "wanted WHERE NOT EXISTS (SELECT 1 FROM json_each(nodes.labels) present WHERE present.key = wanted.key "
      "AND "
      "present.value = wanted.value))) ORDER BY id",
      {labels_text(labels)});
  std::vector<std::string> ids;
  while (row.step()) ids.push_back(row.text(0));
  return ids;
}

std::vector<std::string> SqliteReads::revoked_among(const std::vector<std::string>& ids) const {
  // By the few that were revoked: the rows of a thousand nodes are not looked at for it.
  auto row = database_.query(
      "SELECT id FROM nodes INDEXED BY nodes_revoked WHERE revoked_at IS NOT NULL AND id IN (SELECT value "
      "FROM "
      "json_each(?1))",
      {encode_json(nlohmann::json(ids))});
  std::vector<std::string> revoked;
  while (row.step()) revoked.push_back(row.text(0));
  return revoked;
}

std::optional<CertificateRecord> SqliteReads::certificate(std::string_view fingerprint) const {
  auto row = database_.query(
      "SELECT fingerprint, node_id, issued_at, expires_at, revoked_at FROM certificates WHERE fingerprint = "
      "?1",
      {fingerprint});
  if (!row.step()) return std::nullopt;
  return CertificateRecord{row.text(0), row.text(1), row.integer(2), row.integer(3), row.optional_integer(4)};
}

std::optional<UnixMilliseconds> SqliteReads::incarnation_replaced_at(std::string_view node_id,
                                                                     std::string_view incarnation) const {
  auto row = database_.query("SELECT replaced_at FROM past_incarnations WHERE node_id = ?1 AND id = ?2",
                             {node_id, incarnation});
  if (!row.step()) return std::nullopt;
  return row.integer(0);
}

std::vector<DirectiveRecord> SqliteReads::queued_directives(std::string_view node_id,
                                                            std::size_t limit) const {
  static const std::string sql = select(
      kDirectiveColumns, "directives WHERE node_id = ?1 AND sequence IS NULL ORDER BY position LIMIT ?2");
  return all(database_, database_.query(sql, {node_id, limit}), read_directive);
}

std::vector<DirectiveRecord> SqliteReads::offered_directives(std::string_view node_id, std::int64_t after,
                                                             std::size_t limit) const {
  static const std::string sql =
      select(kDirectiveColumns, "directives WHERE node_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3");
  return all(database_, database_.query(sql, {node_id, after, limit}), read_directive);
}

std::optional<std::string> SqliteReads::directive_chain(std::string_view node_id,
                                                        std::int64_t sequence) const {
  auto row = database_.query("SELECT chain FROM directives WHERE node_id = ?1 AND sequence = ?2",
                             {node_id, sequence});
  if (!row.step()) return std::nullopt;
  return row.text(0);
}

std::vector<DirectiveRecord> SqliteReads::waiting_directives(std::string_view node_id, DirectiveKind kind,
                                                             std::string_view task_id) const {
  // By what few directives have in common: the task, or, of the node's own, the node.
  const std::string_view from =
      task_id.empty() ? "directives WHERE node_id = ?1 AND kind = ?2 AND +task_id = ?3 ORDER BY position"
                      : "directives WHERE +node_id = ?1 AND kind = ?2 AND task_id = ?3 ORDER BY position";
  return all(database_, database_.query(select(kDirectiveColumns, from), {node_id, to_string(kind), task_id}),
             read_directive);
}

std::vector<DirectiveKind> SqliteReads::requests_about(std::string_view task_id) const {
  auto row = database_.query(
      "SELECT kind FROM directives WHERE task_id = ?1 AND kind <> 'task' GROUP BY kind ORDER BY "
      "min(position)",
      {task_id});
  std::vector<DirectiveKind> kinds;
  while (row.step()) {
    const std::string name = row.text(0);
    for (const auto kind : kDirectiveKinds) {
      if (name == to_string(kind)) kinds.push_back(kind);
    }
  }
  return kinds;
}

DeviceTotals SqliteReads::device_totals(std::string_view node_id) const {
  auto row = database_.query(
      "SELECT orphans, orphan_bytes, tasks, task_bytes FROM device_totals WHERE node_id = ?1", {node_id});
  if (!row.step()) return {};
  return {row.integer(0), row.integer(1), row.integer(2), row.integer(3)};
}

std::vector<OrphanRecord> SqliteReads::orphans(std::string_view node_id) const {
  auto row = database_.query(
      "SELECT node_id, task_id, kind, line, time FROM orphans WHERE node_id = ?1 ORDER BY id", {node_id});
  std::vector<OrphanRecord> records;
  while (row.step()) records.push_back({row.text(0), row.text(1), row.text(2), row.text(3), row.integer(4)});
  return records;
}

std::optional<IdempotencyRecord> SqliteReads::idempotency(std::string_view operator_id,
                                                          std::string_view key) const {
  auto row = database_.query(
      "SELECT operator_id, key, digest, task_id, time FROM idempotency_keys WHERE operator_id = ?1 AND key = "
      "?2",
      {operator_id, key});
  if (!row.step()) return std::nullopt;
  return IdempotencyRecord{row.text(0), row.text(1), row.text(2), row.text(3), row.integer(4)};
}

std::optional<LivedTime> SqliteReads::lived_time() const {
  auto row = database_.query(
      "SELECT total, boot_id, since_boot, wall, latest_wall, at_latest, absence FROM lived_time");
  if (!row.step()) return std::nullopt;
  return LivedTime{row.integer(0), row.text(1),    row.integer(2), row.integer(3),
                   row.integer(4), row.integer(5), row.integer(6)};
}

}  // namespace agenttask::server::sqlite
