#include "server/store/streams.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "server/store/changes.hpp"

namespace agenttask::server {
namespace {

/// Less than the protocol allows: lines are made on the writer's thread, where nobody may be kept waiting for
/// long.
constexpr std::size_t kAnswerBytes = 2 * 1024 * 1024;
constexpr std::size_t kAll = 1'000'000'000;

bool facts_changed(const NodeRecord& node, const PollRequest& request) {
  return node.incarnation != request.incarnation || node.version != request.version ||
         node.platform != request.platform || node.hold_reported != request.hold ||
         (!node.name_fixed && !request.name.empty() && node.name != request.name);
}

void store_facts(NodeRecord& node, const PollRequest& request) {
  node.incarnation = request.incarnation;
  node.version = request.version;
  node.platform = request.platform;
  node.hold_reported = request.hold;
  if (!node.name_fixed && !request.name.empty()) node.name = request.name;
}

/// The device's past is not the server's: one of them was put back to an earlier state.
bool pasts_differ(const ReadStore& store, const NodeRecord& node, const PollRequest& request) {
  const Cursor& cursor = request.directives;
  if (request.epoch > node.epoch || cursor.sequence > node.offered.sequence ||
      request.reports.sequence > node.reports.sequence) {
    return true;
  }
  if (cursor.sequence < node.acknowledged.sequence)
    return false;  // late: what was there is not known any more
  if (cursor.sequence == node.acknowledged.sequence) return cursor.chain != node.acknowledged.chain;
  const auto chain = store.directive_chain(node.id, cursor.sequence);
  return !chain || *chain != cursor.chain;
}

bool is_late(const NodeRecord& node, const PollRequest& request) {
  return request.directives.sequence < node.acknowledged.sequence;
}

PollAnswer head(const NodeRecord& node, bool resync) {
  PollAnswer answer;
  answer.protocol = protocol_version();
  answer.epoch = node.epoch;
  answer.resync = resync;
  return answer;
}

/// The device holds all up to its cursor: the tasks among them are `sent`.
void acknowledge(WriteStore& store, NodeRecord& node, const Cursor& cursor, UnixMilliseconds now) {
  for (const auto& directive : store.offered_directives(node.id, node.acknowledged.sequence, kAll)) {
    if (directive.sequence > cursor.sequence) break;
    if (directive.kind != DirectiveKind::task) continue;
    auto record = store.task(directive.task_id, WithData::no);
    if (!record || record->task.state.status != TaskStatus::pending) continue;
    record->task.state.status = TaskStatus::sent;
    record->task.state.sent_time = now;
    save_state(store, *record, now);
  }
  store.remove_acknowledged(node.id, cursor.sequence);
  node.acknowledged = cursor;
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
    node.offered = agenttask::advance(node.offered, line);
    store.offer_directive(directive.position, node.offered);
    if (directive.kind == DirectiveKind::task) store.mark_offered(directive.task_id, directive.sequence);
    answer.lines.push_back(std::move(line));
  }
}

bool task_has_ended(const ReadStore& store, const std::string& task_id) {
  const auto record = store.task(task_id, WithData::no);
  return !record || has_ended(record->task.state.status);
}

/// Requests that the device has not acknowledged, in order.
std::vector<DirectiveRecord> unanswered_requests(const ReadStore& store, const NodeRecord& node) {
  auto requests = store.offered_directives(node.id, 0, kAll);
  for (auto& queued : store.queued_directives(node.id, kAll)) requests.push_back(std::move(queued));
  std::erase_if(requests, [&](const DirectiveRecord& directive) {
    return directive.kind == DirectiveKind::task ||
           (!directive.task_id.empty() && task_has_ended(store, directive.task_id));
  });
  return requests;
}

}  // namespace

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
  if (request.epoch < node.epoch) return facts_changed(node, request) ? PollNeed::write : PollNeed::answer;
  if (pasts_differ(store, node, request)) return PollNeed::write;
  if (is_late(node, request)) return PollNeed::answer;
  if (request.directives.sequence > node.acknowledged.sequence || facts_changed(node, request))
    return PollNeed::write;
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
  if (request.epoch < node.epoch) return head(node, true);
  PollAnswer answer = head(node, false);
  if (is_late(node, request)) return answer;
  answer.after = request.directives;
  add_offered(store, node, answer);
  return answer;
}

PollAnswer apply_poll(WriteStore& store, NodeRecord node, const PollRequest& request, UnixMilliseconds now,
                      Logger& logger) {
  if (request.epoch >= node.epoch && pasts_differ(store, node, request)) {
    logger.warning("a device's past is not the server's (was a database restored?): opening a new epoch",
                   {{"node", node.id}, {"epoch", node.epoch}, {"device_epoch", request.epoch}});
    store_facts(node, request);
    open_epoch(store, node, request.epoch);
    return head(node, true);
  }
  if (request.epoch >= node.epoch && is_late(node, request)) return head(node, false);
  store_facts(node, request);
  PollAnswer answer = head(node, request.epoch < node.epoch);
  if (!answer.resync) {
    if (request.directives.sequence > node.acknowledged.sequence)
      acknowledge(store, node, request.directives, now);
    answer.after = request.directives;
    offer(store, node, answer);
    if (node.hold_wanted && store.waiting_directives(node.id, DirectiveKind::settings, "").empty())
      node.hold_wanted.reset();
  }
  store.update_node(node);
  return answer;
}

void open_epoch(WriteStore& store, NodeRecord& node, std::int64_t above) {
  const auto requests = unanswered_requests(store, node);
  store.remove_directives(node.id);
  store.mark_all_offered(node.id);
  node.epoch = std::max(node.epoch, above) + 1;
  node.forked = true;
  node.snapshot = true;
  node.offered = node.acknowledged = node.reports = Cursor{};
  const auto append = [&](DirectiveKind kind, std::string task_id, std::string body) {
    store.append_directive({0, node.id, kind, std::move(task_id), std::move(body), 0, {}});
  };
  for (const auto& [task_id, status] : store.tasks_for_epoch(node.id)) {
    append(has_ended(status) ? DirectiveKind::cancel : DirectiveKind::task, task_id, {});
  }
  for (const auto& request : requests) append(request.kind, request.task_id, request.body);
  store.update_node(node);
  store.touch("node:" + node.id);
}

}  // namespace agenttask::server
