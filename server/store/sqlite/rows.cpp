#include "server/store/sqlite/rows.hpp"

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"

namespace agenttask::server::sqlite {
namespace {

/// What most nodes have: every call of a device reads its node.
constexpr std::string_view kNoLabels = "{}";

void corrupt(Database& database, std::string_view what, const std::string& why) {
  database.fail(
      Error{ErrorCode::corrupt, std::string(what) + " is not readable in the server's database: " + why});
}

/// What `parse` makes of the text, or the default where it is damaged.
template <class Value>
Value named(Database& database, const Statement& row, int column, Result<Value> (*parse)(std::string_view)) {
  auto value = parse(row.text(column));
  if (value) return *value;
  corrupt(database, "a value", value.error().message);
  return Value{};
}

Labels read_labels(Database& database, const std::string& text) {
  Labels labels;
  if (text == kNoLabels) return labels;
  const auto value = parse_json(text);
  if (!value || !value->is_object()) {
    corrupt(database, "a set of labels", value ? "not an object" : value.error().message);
    return labels;
  }
  for (const auto& [key, label] : value->items()) {
    if (label.is_string()) labels[key] = label.get<std::string>();
  }
  return labels;
}

Result<DirectiveKind> parse_directive_kind(std::string_view name) {
  for (const DirectiveKind kind : kDirectiveKinds) {
    if (name == to_string(kind)) return kind;
  }
  return Error{ErrorCode::invalid, "no such kind of directive"};
}

std::optional<ChoiceMade> read_choice(Database& database, const std::string& text) {
  if (text.empty()) return std::nullopt;
  const auto value = parse_json(text);
  auto made = value ? choice_made_from_json(*value) : Result<ChoiceMade>(value.error());
  if (made) return std::move(*made);
  corrupt(database, "a choice", made.error().message);
  return std::nullopt;
}

}  // namespace

std::string choice_text(const std::optional<ChoiceMade>& made) {
  return made ? encode_json(choice_made_to_json(*made)) : std::string();
}

std::string labels_text(const Labels& labels) {
  if (labels.empty()) return std::string(kNoLabels);
  return encode_json(nlohmann::json(labels));
}

std::string spec_text(TaskSpec spec) {
  spec.data = "{}";
  return encode_json(spec_to_json(spec));
}

TaskSpec read_spec(Database& database, const std::string& text, const std::string& id,
                   const std::string& node_id) {
  auto value = parse_json(text, limits::kJsonDepth + 8);
  if (value && value->is_object()) {
    (*value)["id"] = id;
    (*value)["nodeId"] = node_id;
  }
  auto spec = value ? spec_from_json(*value) : Result<TaskSpec>(value.error());
  if (spec) return std::move(*spec);
  corrupt(database, "task or batch " + id, spec.error().message);
  return {};
}

OperatorRecord read_operator(Database& database, const Statement& row) {
  OperatorRecord record;
  record.id = row.text(0);
  record.label = row.text(1);
  record.role = named<Role>(database, row, 2, parse_role);
  record.token_hash = row.text(3);
  record.created_at = row.integer(4);
  record.created_by = row.text(5);
  record.expires_at = row.optional_integer(6);
  record.revoked_at = row.optional_integer(7);
  return record;
}

EnrollmentTokenRecord read_token(Database& database, const Statement& row) {
  EnrollmentTokenRecord record;
  record.id = row.text(0);
  record.label = row.text(1);
  record.secret_hash = row.text(2);
  record.uses = row.integer(3);
  record.used = row.integer(4);
  record.labels = read_labels(database, row.text(5));
  record.replace_node = row.text(6);
  record.created_at = row.integer(7);
  record.created_by = row.text(8);
  record.expires_at = row.integer(9);
  return record;
}

NodeRecord read_node(Database& database, const Statement& row) {
  NodeRecord record;
  record.id = row.text(0);
  record.name = row.text(1);
  record.name_fixed = row.integer(2) != 0;
  record.version = row.text(3);
  record.platform = row.text(4);
  record.labels = read_labels(database, row.text(5));
  record.enrolled_at = row.integer(6);
  record.last_seen = row.optional_integer(7);
  record.clock_offset = row.optional_integer(8);
  if (const auto hold = row.optional_integer(9)) record.hold_wanted = *hold != 0;
  record.hold_reported = row.integer(10) != 0;
  record.revoked_at = row.optional_integer(11);
  record.incarnation = row.text(12);
  record.quarantined_at = row.optional_integer(13);
  record.quarantine_reason = row.text(14);
  record.epoch = row.integer(15);
  record.forked = row.integer(16) != 0;
  record.snapshot = row.integer(17) != 0;
  record.offered = {row.integer(18), row.text(19)};
  record.acknowledged = {row.integer(20), row.text(21)};
  record.reports = {row.integer(22), row.text(23)};
  record.released = row.integer(24) != 0;
  record.ledger_lost = row.integer(25) != 0;
  record.progressed_at = row.integer(26);
  record.workers = row.text(27);
  record.restored = row.integer(28) != 0;
  record.ledger_problem = row.text(29);
  return record;
}

TaskRecord read_task(Database& database, const Statement& row) {
  TaskRecord record;
  record.sequence = row.integer(0);
  record.batch = row.integer(31);
  record.batch_id = row.text(32);
  record.task.spec = read_spec(database, row.text(2), row.text(1), row.text(30));
  TaskState& state = record.task.state;
  state.status = named<TaskStatus>(database, row, 3, parse_task_status);
  state.reason = row.text(4);
  state.detail = row.text(5);
  state.paused = row.integer(6) != 0;
  state.add_time = row.integer(7);
  state.sent_time = row.optional_integer(8);
  state.start_time = row.optional_integer(9);
  state.end_time = row.optional_integer(10);
  state.updated_at = row.integer(11);
  state.next_run_at = row.optional_integer(12);
  state.run_count = row.integer(13);
  state.missed_count = row.integer(14);
  state.cancel_requested_at = row.optional_integer(15);
  state.deleted_at = row.optional_integer(16);
  record.digest = row.text(17);
  record.created_by = row.text(18);
  record.offered = row.integer(19) != 0;
  record.decided_alone = row.integer(20) != 0;
  record.directive = row.integer(21);
  record.in_doubt = row.integer(22) != 0;
  state.occurrence = row.integer(23);
  state.chosen = read_choice(database, row.text(24));
  state.choice_requested = read_choice(database, row.text(25));
  if (row.integer(26) >= 0) record.choice_occurrence = row.integer(26);
  record.choice_directive = row.integer(27);
  record.trimmed_runs = row.integer(28);
  record.choice_runs = row.optional_integer(29);
  return record;
}

Run read_run(Database& database, const Statement& row) {
  Run run;
  run.task_id = row.text(0);
  run.number = row.integer(1);
  run.status = named<RunStatus>(database, row, 2, parse_run_status);
  run.reason = row.text(3);
  run.start_time = row.integer(4);
  run.end_time = row.optional_integer(5);
  run.result = row.text(6);
  run.occurrence = row.integer(7);
  run.option = row.text(8);
  return run;
}

MessageRecord read_message(const Statement& row) {
  MessageRecord record;
  record.sequence = row.integer(0);
  record.poster = row.text(1);
  record.message.id = row.text(2);
  record.message.node_id = row.text(3);
  record.by = row.text(4);
  record.message.room_id = row.text(5);
  record.message.world_id = row.text(6);
  record.message.task_id = row.text(7);
  record.message.run = row.integer(8);
  record.message.content = row.text(9);
  record.message.time = row.integer(10);
  return record;
}

DirectiveRecord read_directive(Database& database, const Statement& row) {
  DirectiveRecord record;
  record.position = row.integer(0);
  record.node_id = row.text(1);
  record.kind = named<DirectiveKind>(database, row, 2, parse_directive_kind);
  record.task_id = row.text(3);
  record.body = row.text(4);
  record.sequence = row.integer(5);
  record.chain = row.text(6);
  return record;
}

}  // namespace agenttask::server::sqlite
