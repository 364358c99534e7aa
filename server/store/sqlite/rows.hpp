#pragma once
#include <optional>
#include <string>

#include "platform/storage/database.hpp"
#include "server/store/store.hpp"

/// Columns from and to records. Each `read_…` expects the columns of the list beside it, in its order. A
/// value that no writer of ours wrote makes the connection fail with `corrupt`.
namespace agenttask::server::sqlite {

using storage::Database;
using storage::Statement;

constexpr std::string_view kOperatorColumns =
    "id, label, role, token_hash, created_at, created_by, expires_at, revoked_at";
constexpr std::string_view kTokenColumns =
    "id, label, secret_hash, uses, used, labels, replace_node, created_at, created_by, expires_at";
constexpr std::string_view kNodeColumns =
    "id, name, name_fixed, version, platform, labels, enrolled_at, last_seen, clock_offset, hold_wanted, "
    "hold_reported, "
    "revoked_at, incarnation, quarantined_at, quarantine_reason, epoch, forked, snapshot, offered_sequence, "
    "offered_chain, "
    "acknowledged_sequence, acknowledged_chain, report_sequence, report_chain, released, ledger_lost, "
    "progressed_at, workers, restored, ledger_problem";
/// A task of a batch has its spec there, unless somebody changed it.
constexpr std::string_view kTaskColumns =
    "sequence, id, CASE WHEN spec <> '' THEN spec ELSE (SELECT spec FROM batch_bodies WHERE "
    "batch_bodies.sequence = tasks.batch) END, status, reason, detail, paused, add_time, sent_time, "
    "start_time, end_time, "
    "updated_at, next_run_at, "
    "run_count, missed_count, cancel_requested_at, deleted_at, digest, created_by, offered, decided_alone, "
    "directive, in_doubt, occurrence, chosen, choice_requested, choice_occurrence, choice_directive, "
    "trimmed_runs, choice_runs, node_id, batch, CASE WHEN batch IS NOT NULL THEN (SELECT batches.id FROM "
    "batches "
    "WHERE batches.sequence = tasks.batch) ELSE '' END";
constexpr std::string_view kRunColumns =
    "task_id, number, status, reason, start_time, end_time, result, occurrence, option";
constexpr std::string_view kMessageColumns =
    "sequence, poster, id, node_id, posted_by, room_id, world_id, task_id, run, content, time";
constexpr std::string_view kDirectiveColumns = "position, node_id, kind, task_id, body, sequence, chain";

[[nodiscard]] OperatorRecord read_operator(Database& database, const Statement& row);
[[nodiscard]] EnrollmentTokenRecord read_token(Database& database, const Statement& row);
[[nodiscard]] NodeRecord read_node(Database& database, const Statement& row);
/// What `spec_text` made, for this id and node.
[[nodiscard]] TaskSpec read_spec(Database& database, const std::string& text, const std::string& id,
                                 const std::string& node_id);
/// Without `data` and `result`.
[[nodiscard]] TaskRecord read_task(Database& database, const Statement& row);
[[nodiscard]] Run read_run(Database& database, const Statement& row);
[[nodiscard]] DirectiveRecord read_directive(Database& database, const Statement& row);
[[nodiscard]] MessageRecord read_message(const Statement& row);

[[nodiscard]] std::string labels_text(const Labels& labels);
/// JSON text, or empty where there is none.
[[nodiscard]] std::string choice_text(const std::optional<ChoiceMade>& made);
/// The spec's JSON without data. Of a batch: without id and node, too.
[[nodiscard]] std::string spec_text(TaskSpec spec);

}  // namespace agenttask::server::sqlite
