#include "server/store/streams.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "platform/protocol/task_json.hpp"
#include "server/store/changes.hpp"
#include "server/store/commit_points.hpp"
#include "server/store/lineage.hpp"
#include "server/store/tasks.hpp"

namespace agenttask::server {
namespace {

/// Less than the protocol allows: lines are made on the writer's thread, where nobody may be kept waiting for
/// long.
constexpr std::size_t kAnswerBytes = 2 * 1024 * 1024;
constexpr std::size_t kAll = 1'000'000'000;

/// An agent says it at each start; one that has changed and does not is too old to.
std::string workers_of(const NodeRecord& node, const PollRequest& request) {
  if (request.workers) return encode(*request.workers);
  return node.version == request.version ? node.workers : std::string();
}

std::string problem_of(const PollRequest& request) {
  return request.ledger ? encode(*request.ledger) : std::string();
}

/// Known by its code: the words may tell of another page each time.
bool is_known_problem(const NodeRecord& node, const LedgerProblem& problem) {
  if (node.ledger_problem.empty()) return false;
  const auto known = parse_json(node.ledger_problem);
  return known && known->is_object() && known->value("problem", std::string()) == problem.code;
}

bool facts_changed(const NodeRecord& node, const PollRequest& request, bool words_count = true) {
  return node.workers != workers_of(node, request) || node.version != request.version ||
         node.platform != request.platform || (!request.ledger && node.hold_reported != request.hold) ||
         (node.ledger_problem != problem_of(request) &&
          (words_count || !request.ledger || !is_known_problem(node, *request.ledger))) ||
         (!node.name_fixed && !request.name.empty() && node.name != request.name);
}

/// In quarantine nothing else of a poll counts: people look at it to see whether to release the device.
bool ends_problem(const NodeRecord& node, const PollRequest& request) {
  return !node.ledger_problem.empty() && !request.ledger;
}

void store_facts(NodeRecord& node, const PollRequest& request) {
  node.workers = workers_of(node, request);
  node.version = request.version;
  node.platform = request.platform;
  // Whether it is on hold stands in the ledger.
  if (!request.ledger) node.hold_reported = request.hold;
  node.ledger_problem = problem_of(request);
  if (!node.name_fixed && !request.name.empty()) node.name = request.name;
}

/// The device's past is not the server's: one of them was put back to an earlier state.
bool pasts_differ(const ReadStore& store, const NodeRecord& node, const PollRequest& request) {
  const Cursor& cursor = request.directives;
  if (request.epoch > node.epoch || cursor.sequence > node.offered.sequence ||
      request.reports.sequence > node.reports.sequence) {
    return true;
  }
  if (cursor.sequence == node.acknowledged.sequence) return cursor.chain != node.acknowledged.chain;
  const auto chain = store.directive_chain(node.id, cursor.sequence);
  return !chain || *chain != cursor.chain;
}

/// Whether anything of this epoch is acknowledged.
bool has_moved(const NodeRecord& node) {
  return node.acknowledged.sequence > 0 || node.reports.sequence > 0;
}

/// Its ledger was saved from a damaged one, and no epoch was opened for that yet.
bool needs_incomplete_epoch(const NodeRecord& node, const PollRequest& request, Lineage line) {
  if (!request.incomplete) return false;
  const bool was_opened = node.ledger_lost && request.epoch < node.epoch && !has_moved(node);
  // A message of a start that has moved on in its epoch is a late one.
  return !was_opened && (line == Lineage::follows || !has_moved(node));
}

/// The device has been further already: the poll is late, or the ledger was put back.
bool is_behind(const NodeRecord& node, const PollRequest& request) {
  if (request.epoch != node.epoch) return request.epoch < node.epoch && has_moved(node);
  return request.directives.sequence < node.acknowledged.sequence;
}

PollAnswer head(const NodeRecord& node, bool resync) {
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.epoch = node.epoch;
  answer.resync = resync;
  if (node.quarantined_at) {
    answer.quarantined = node.quarantine_reason;
  } else if (node.ledger_lost) {
    answer.quarantined = "the server waits for the snapshot of the device's ledger";
  }
  return answer;
}

/// What it means that the device has taken a task, or a deletion.
void note_taken(WriteStore& store, const DirectiveRecord& directive, UnixMilliseconds now) {
  if (directive.kind == DirectiveKind::task) {
    if (store.mark_sent(directive.task_id, now)) touch_task(store, directive.task_id);
  } else if (directive.kind == DirectiveKind::delete_) {
    auto record = store.task(directive.task_id, WithData::no);
    if (!record || record->task.state.deleted_at) return;
    record->task.state.deleted_at = now;
    save_state(store, *record, now);
  }
}

/// The device holds all up to its cursor: the tasks among them are `sent`, the deletions done. Should its
/// ledger be put back before it tells of them, they hold all the same.
void acknowledge(WriteStore& store, NodeRecord& node, const Cursor& cursor, UnixMilliseconds now) {
  for (const auto& directive : store.offered_directives(node.id, node.acknowledged.sequence, kAll)) {
    if (directive.sequence > cursor.sequence) break;
    note_taken(store, directive, now);
  }
  store.commits(commit_point::kDirectivesAcknowledged);
  store.remove_acknowledged(node.id, cursor.sequence);
  node.acknowledged = cursor;
  node.progressed_at = now;
}

std::size_t add_offered(const ReadStore& store, const NodeRecord& node, PollAnswer& answer) {
  std::size_t bytes = 0;
  for (const auto& directive :
       store.offered_directives(node.id, answer.after->sequence, limits::kDirectivesInPoll)) {
    std::string line = directive_line(store, directive);
    bytes += line.size() + 1;
    if (bytes > kAnswerBytes && !answer.lines.empty()) break;
    answer.lines.push_back(std::move(line));
  }
  return bytes;
}

/// Numbers what is queued and fits into this answer: more than is sent now is not decided now.
void offer(WriteStore& store, NodeRecord& node, PollAnswer& answer) {
  std::size_t bytes = add_offered(store, node, answer);
  const auto outstanding = static_cast<std::size_t>(node.offered.sequence - answer.after->sequence);
  if (outstanding >= limits::kDirectivesInPoll || answer.lines.size() < outstanding) return;
  for (auto& directive : store.queued_directives(node.id, limits::kDirectivesInPoll - outstanding)) {
    directive.sequence = node.offered.sequence + 1;
    std::string line = directive_line(store, directive);
    bytes += line.size() + 1;
    if (bytes > kAnswerBytes && !answer.lines.empty()) return;
    store.commits(commit_point::kDirectivesOffered);
    node.offered = agenttask::advance(node.offered, line);
    store.offer_directive(directive.position, node.offered);
    if (directive.kind == DirectiveKind::task) store.mark_offered(directive.task_id, directive.sequence);
    if (directive.kind == DirectiveKind::choose)
      store.mark_choice_offered(directive.task_id, directive.sequence);
    answer.lines.push_back(std::move(line));
  }
}

bool task_has_ended(const ReadStore& store, const std::string& task_id) {
  const auto record = store.task(task_id, WithData::no);
  return !record || has_ended(record->task.state.status);
}

/// All that the device has not acknowledged, in order.
std::vector<DirectiveRecord> all_directives(const ReadStore& store, const NodeRecord& node) {
  auto directives = store.offered_directives(node.id, 0, kAll);
  for (auto& queued : store.queued_directives(node.id, kAll)) directives.push_back(std::move(queued));
  return directives;
}

/// Requests that the device has not acknowledged, in order.
std::vector<DirectiveRecord> unanswered_requests(const ReadStore& store, const NodeRecord& node) {
  auto requests = all_directives(store, node);
  std::erase_if(requests, [&](const DirectiveRecord& directive) {
    return directive.kind == DirectiveKind::task ||
           (!directive.task_id.empty() && task_has_ended(store, directive.task_id));
  });
  return requests;
}

/// What a device may have been asked since, in the time that a restored database lost: an older one of these
/// would undo it. A cancel, a choice and a run can't be undone by an older one.
bool may_be_outdated(const DirectiveRecord& request) {
  switch (request.kind) {
    case DirectiveKind::update:
    case DirectiveKind::pause:
    case DirectiveKind::resume:
    case DirectiveKind::settings:
      return true;
    default:
      return false;
  }
}

std::optional<std::int64_t> number_in(const nlohmann::json& body, const char* name) {
  const auto found = body.find(name);
  if (found == body.end() || !found->is_number_integer()) return std::nullopt;
  return found->get<std::int64_t>();
}

ChooseDirective choose_directive(const DirectiveRecord& directive) {
  ChooseDirective message{directive.task_id, {}};
  const auto body = parse_json(directive.body);
  if (!body || !body->is_object()) return message;
  if (auto made = choice_made_from_json(body->value("choice", nlohmann::json::object()))) {
    message.made = std::move(*made);
  }
  message.occurrence = number_in(*body, "occurrence");
  message.runs = number_in(*body, "runs");
  return message;
}

RunDirective run_directive(const DirectiveRecord& directive) {
  const auto body = parse_json(directive.body);
  if (!body || !body->is_object()) return {directive.task_id};
  return {directive.task_id, number_in(*body, "runs"), body->value("request", std::string())};
}

/// What a poll means that comes from a start of the agent that the server knows, or that follows it.
enum class Meaning : std::uint8_t {
  goes_on,
  late,        ///< it was on its way for long: the device has been further
  incomplete,  ///< the ledger was saved from a damaged one
  behind,      ///< the ledger has lost what the server knows of
  differs,     ///< the device's past is not the server's
};

Meaning meaning_of(const ReadStore& store, const NodeRecord& node, const PollRequest& request, Lineage line,
                   UnixMilliseconds now) {
  const bool behind = is_behind(node, request);
  // A start that the server has not seen is no late message: its ledger has lost what the server knows of.
  if (behind && line == Lineage::same && may_be_late(node.progressed_at, now)) return Meaning::late;
  if (needs_incomplete_epoch(node, request, line)) return Meaning::incomplete;
  if (behind) return Meaning::behind;
  const bool differs = request.epoch >= node.epoch && (node.restored || pasts_differ(store, node, request));
  return differs ? Meaning::differs : Meaning::goes_on;
}

bool is_stranger(Lineage line) {
  return line != Lineage::same && line != Lineage::follows;
}

/// It knows a server that acknowledged starts which this one never saw: the server was put back.
bool was_heard_in_a_lost_time(const NodeRecord& node, const PollRequest& request, Lineage line) {
  return line == Lineage::unknown && request.epoch >= node.epoch && !is_behind(node, request);
}

/// An agent whose start does not follow the last one. Empty: it is taken nevertheless.
std::optional<PollAnswer> take_stranger(WriteStore& store, NodeRecord& node, const PollRequest& request,
                                        Lineage line, UnixMilliseconds now, Logger& logger) {
  if (node.released) {
    log_new_epoch(store, logger, LogLevel::info,
                  "a released device is taken with the ledger that it has: opening a new epoch", node,
                  request.epoch);
    node.released = false;
    store.remove_past_incarnations(node.id);
    node.incarnation = request.incarnation;
    store_facts(node, request);
    open_epoch(store, node, request.epoch, now, Doubt::offered_tasks);
    return head(node, true);
  }
  if (line == Lineage::past) return head(node, false);
  if (was_heard_in_a_lost_time(node, request, line)) {
    log_new_epoch(store, logger, LogLevel::warning,
                  "a device was heard by this server in a time that its database lost: opening a new epoch",
                  node, request.epoch);
    follow(store, node, request, now);
    store_facts(node, request);
    open_epoch(store, node, request.epoch, now);
    return head(node, true);
  }
  // It uses a ledger; whether that is the right one is the question now.
  node.ledger_problem.clear();
  quarantine(store, node,
             line == Lineage::copied
                 ? "two ledgers of this device exist (a copied disk, or a ledger from a backup)"
                 : "the device's ledger was lost or is an old one: it knows nothing of its last contact",
             now, logger);
  return head(node, false);
}

}  // namespace

void log_new_epoch(WriteStore& store, Logger& logger, LogLevel level, std::string_view why,
                   const NodeRecord& node, std::int64_t device_epoch) {
  store.after_commit([&logger, level, why, id = node.id, epoch = node.epoch, device_epoch] {
    logger.write(level, why, {{"node", id}, {"epoch", epoch}, {"device_epoch", device_epoch}});
  });
  if (!node.restored) return;
  const auto requests = unanswered_requests(store, node);
  const auto dropped = std::count_if(requests.begin(), requests.end(), may_be_outdated);
  if (dropped == 0) return;
  store.after_commit([&logger, dropped, id = node.id] {
    logger.warning(
        "updates, pauses, resumes and holds that waited in the restored database are not asked for again: "
        "what the device has may be newer, and counts",
        {{"node", id}, {"dropped", dropped}});
  });
}

std::string directive_line(const ReadStore& store, const DirectiveRecord& directive) {
  Directive message{directive.sequence, UnknownMessage{std::string(to_string(directive.kind)), {}}};
  switch (directive.kind) {
    case DirectiveKind::task:
      if (auto record = store.task(directive.task_id, WithData::yes)) {
        message.body = TaskDirective{std::move(record->task.spec), record->task.state.add_time};
      }
      break;
    case DirectiveKind::update:
      message.body = UpdateDirective{directive.task_id, directive.body};
      break;
    case DirectiveKind::cancel:
      message.body = CancelDirective{directive.task_id};
      break;
    case DirectiveKind::delete_:
      message.body = DeleteDirective{directive.task_id};
      break;
    case DirectiveKind::choose:
      message.body = choose_directive(directive);
      break;
    case DirectiveKind::pause:
      message.body = PauseDirective{directive.task_id};
      break;
    case DirectiveKind::resume:
      message.body = ResumeDirective{directive.task_id};
      break;
    case DirectiveKind::run:
      message.body = run_directive(directive);
      break;
    case DirectiveKind::settings: {
      SettingsDirective settings;
      if (const auto body = parse_json(directive.body); body && body->is_object() && body->contains("hold")) {
        settings.hold = (*body)["hold"] == true;
      }
      message.body = settings;
      break;
    }
  }
  return encode(message);
}

PollNeed examine_poll(const ReadStore& store, const NodeRecord& node, const PollRequest& request) {
  if (node.quarantined_at) return ends_problem(node, request) ? PollNeed::write : PollNeed::nothing;
  if (node.released || node.restored || request.incomplete || request.incarnation != node.incarnation)
    return PollNeed::write;
  if (request.epoch < node.epoch) {
    if (has_moved(node)) return PollNeed::write;
    return facts_changed(node, request) ? PollNeed::write : PollNeed::answer;
  }
  if (is_behind(node, request) || pasts_differ(store, node, request)) return PollNeed::write;
  if (request.directives.sequence > node.acknowledged.sequence || facts_changed(node, request))
    return PollNeed::write;
  if (node.ledger_lost) return PollNeed::nothing;
  if (node.offered.sequence > request.directives.sequence) {
    // What is on its way goes first: numbering more can wait for the next poll, unless this one can take it
    // too.
    const auto outstanding = static_cast<std::size_t>(node.offered.sequence - request.directives.sequence);
    if (outstanding >= limits::kDirectivesInPoll || store.queued_directives(node.id, 1).empty())
      return PollNeed::answer;
    return PollNeed::write;
  }
  return store.queued_directives(node.id, 1).empty() ? PollNeed::nothing : PollNeed::write;
}

PollAnswer answer_poll(const ReadStore& store, const NodeRecord& node, const PollRequest& request) {
  if (node.quarantined_at) return head(node, false);
  if (request.epoch < node.epoch) return head(node, true);
  PollAnswer answer = head(node, false);
  answer.after = request.directives;
  if (!node.ledger_lost) add_offered(store, node, answer);
  return answer;
}

PollNeed examine_ledger_problem(const NodeRecord& node, const PollRequest& request, bool words_count) {
  return facts_changed(node, request, words_count) ? PollNeed::write : PollNeed::nothing;
}

void apply_ledger_problem(WriteStore& store, NodeRecord node, const PollRequest& request, Logger& logger) {
  if (!is_known_problem(node, *request.ledger)) {
    store.after_commit([&logger, id = node.id, problem = *request.ledger] {
      logger.warning("a device can't use its ledger: it starts nothing until it can",
                     {{"node", id}, {"problem", problem.code}, {"detail", problem.detail}});
    });
  }
  store_facts(node, request);
  store.update_node(node);
}

PollAnswer answer_without_ledger(const NodeRecord& node) {
  return head(node, false);
}

bool opens_epoch(const ReadStore& store, const NodeRecord& node, const PollRequest& request,
                 UnixMilliseconds now) {
  if (node.quarantined_at) return false;
  const Lineage line = lineage(store, node, request, now);
  if (is_stranger(line)) return node.released || was_heard_in_a_lost_time(node, request, line);
  const Meaning meaning = meaning_of(store, node, request, line, now);
  return meaning != Meaning::goes_on && meaning != Meaning::late;
}

PollAnswer apply_poll(WriteStore& store, NodeRecord node, const PollRequest& request, UnixMilliseconds now,
                      Logger& logger) {
  if (node.quarantined_at) {
    if (ends_problem(node, request)) {
      node.ledger_problem.clear();
      store.update_node(node);
    }
    return head(node, false);
  }
  const Lineage line = lineage(store, node, request, now);
  if (is_stranger(line)) {
    if (auto answer = take_stranger(store, node, request, line, now, logger)) return *answer;
  }
  node.released = false;
  const Meaning meaning = meaning_of(store, node, request, line, now);
  if (meaning == Meaning::late) return head(node, false);
  follow(store, node, request, now);
  store_facts(node, request);
  if (meaning == Meaning::incomplete) {
    log_new_epoch(store, logger, LogLevel::warning,
                  "a device's ledger was saved from a damaged one: opening a new epoch", node, request.epoch);
    open_epoch(store, node, request.epoch, now, Doubt::offered_tasks);
    return head(node, true);
  }
  if (meaning == Meaning::behind) {
    log_new_epoch(store, logger, LogLevel::warning,
                  "a device's ledger is older than what it acknowledged: opening a new epoch", node,
                  request.epoch);
    open_epoch(store, node, request.epoch, now,
               line == Lineage::same ? Doubt::acknowledged_tasks : Doubt::offered_tasks);
    return head(node, true);
  }
  if (meaning == Meaning::differs) {
    log_new_epoch(store, logger, LogLevel::warning,
                  "a device's past is not the server's (was a database restored?): opening a new epoch", node,
                  request.epoch);
    open_epoch(store, node, request.epoch, now);
    return head(node, true);
  }
  node.restored = false;
  PollAnswer answer = head(node, request.epoch < node.epoch);
  if (!answer.resync) {
    if (request.directives.sequence > node.acknowledged.sequence)
      acknowledge(store, node, request.directives, now);
    answer.after = request.directives;
    if (!node.ledger_lost) offer(store, node, answer);
    if (node.hold_wanted && store.waiting_directives(node.id, DirectiveKind::settings, "").empty())
      node.hold_wanted.reset();
  }
  store.update_node(node);
  return answer;
}

void carry_out_deletions(WriteStore& store, const NodeRecord& node, UnixMilliseconds now) {
  for (const auto& directive : all_directives(store, node)) {
    if (directive.kind != DirectiveKind::delete_) continue;
    auto record = store.task(directive.task_id, WithData::no);
    if (record && has_ended(record->task.state.status)) (void)delete_task(store, std::move(*record), now);
  }
}

void open_epoch(WriteStore& store, NodeRecord& node, std::int64_t above, UnixMilliseconds now, Doubt doubt) {
  store.commits(commit_point::kEpochOpened);
  carry_out_deletions(store, node, now);
  auto requests = unanswered_requests(store, node);
  const bool ledger_lost = doubt == Doubt::acknowledged_tasks || doubt == Doubt::offered_tasks;
  if (ledger_lost) {
    // The ledger that may be lost may have done them, and this one can't know.
    std::erase_if(requests, [](const DirectiveRecord& one) {
      return one.kind == DirectiveKind::run && one.sequence != 0;
    });
  }
  // Another device in the place of this one has been asked for nothing yet.
  if (node.restored && doubt != Doubt::nothing_offered) {
    std::erase_if(requests, may_be_outdated);
    node.hold_wanted.reset();
  }
  store.remove_directives(node.id);
  if (ledger_lost) store.mark_in_doubt(node.id, doubt == Doubt::offered_tasks);
  if (doubt == Doubt::offered_tasks || doubt == Doubt::nothing_offered) {
    store.clear_directive_numbers(node.id);
  } else {
    store.mark_all_offered(node.id);
  }
  node.ledger_lost = ledger_lost;
  node.epoch = std::max(node.epoch, above) + 1;
  node.forked = true;
  node.snapshot = true;
  node.restored = false;
  node.offered = node.acknowledged = node.reports = Cursor{};
  const auto append = [&](DirectiveKind kind, std::string task_id, std::string body) {
    store.append_directive({0, node.id, kind, std::move(task_id), std::move(body), 0, {}});
  };
  for (const auto& [task_id, status] : store.tasks_for_epoch(node.id)) {
    append(has_ended(status) ? DirectiveKind::cancel : DirectiveKind::task, task_id, {});
  }
  // Those that an older ledger no longer knows of.
  for (const auto& task_id : store.deleted_tasks_going_on(node.id))
    append(DirectiveKind::delete_, task_id, {});
  for (const auto& request : requests) append(request.kind, request.task_id, request.body);
  store.update_node(node);
  store.touch("node:" + node.id);
}

}  // namespace agenttask::server
