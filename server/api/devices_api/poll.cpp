#include <algorithm>
#include <memory>
#include <utility>

#include "platform/protocol/message.hpp"
#include "server/api/credentials.hpp"
#include "server/api/handlers.hpp"
#include "server/store/streams.hpp"

namespace agenttask::server {
namespace {

constexpr std::chrono::seconds kFresh{2};  // older, the device's time says nothing about its clock

void note_presence(const Call& call, const PollRequest& request) {
  const bool fresh = call.context.clock.monotonic() - call.request.received < kFresh;
  call.context.presence.seen(call.device->id, call.request.received,
                             fresh ? std::optional(request.time) : std::nullopt);
}

/// What a device calls itself counts while no operator gave it a name, and only where it is a name and not
/// that of another node: it takes nobody's place. Returns the name that the device shall go by, where it is
/// another.
std::string settle_name(const Call& call, PollRequest& request) {
  const NodeRecord& node = *call.device;
  if (request.name == node.name) return {};
  if (node.name_fixed) return node.name;
  const std::string asked = std::exchange(request.name, {});
  if (asked.empty()) return node.name;
  if (check_node_name(asked) && call.store.nodes_by_name(asked).empty()) {
    request.name = asked;
    return {};
  }
  if (call.context.presence.refuse_name(node.id)) {
    call.context.logger.warning(
        "a device asks for a name that is none or that of another node; it keeps its own",
        {{"node", node.id}, {"name", node.name}, {"asked", asked}});
  }
  return node.name;
}

Response to_response(const Call& call, PollAnswer answer, std::vector<std::string> watched,
                     std::string name) {
  answer.time = call.now;
  answer.watch = std::move(watched);
  answer.name = std::move(name);
  return {200, "application/x-ndjson", encode(answer), {}};
}

/// A device that the restored server did not know shows who it is, so that people can tell whether it
/// belongs.
void name_admitted(WriteStore& store, NodeRecord& node, const PollRequest& request) {
  if (!request.name.empty()) node.name = request.name;
  node.version = request.version;
  node.platform = request.platform;
  store.update_node(node);
}

struct PreparedPoll final : Prepared {
  explicit PreparedPoll(PollRequest read) : request(std::move(read)) {}
  const PollRequest request;
};

/// Read once: it is looked at again each time when it waits and something happens, mostly on the writer.
Result<std::shared_ptr<const PreparedPoll>> read_poll(const Request& request) {
  if (auto prepared = std::dynamic_pointer_cast<const PreparedPoll>(request.prepared)) return prepared;
  auto poll = decode_poll_request(request.body);
  if (!poll) return poll.error();
  std::sort(poll->watching.begin(), poll->watching.end());
  return std::make_shared<const PreparedPoll>(std::move(*poll));
}

/// The device can't use its ledger: it is there, and is given nothing. Held like any other poll.
Outcome poll_without_ledger(Call& call, const PollRequest& request, const std::string& name) {
  Presence& presence = call.context.presence;
  const bool words_count = presence.wait_before(call.device->id, Presence::Dear::words).count() == 0;
  if (examine_ledger_problem(*call.device, request, words_count) == PollNeed::write) {
    if (call.writes == nullptr) return NeedsWrite{call.request.prepared};
    presence.got(call.device->id, Presence::Dear::words);
    apply_ledger_problem(*call.writes, *call.device, request, call.context.logger);
  }
  if (auto wait = call.wait(std::min(request.wait, limits::kWaitMost), {"node:" + call.device->id}))
    return *wait;
  return to_response(call, answer_without_ledger(*call.device), {}, name);
}

}  // namespace

Outcome poll(Call& call) {
  const auto prepared = read_poll(call.request);
  if (!prepared) return refuse(prepared.error());
  PollRequest request = (*prepared)->request;
  if (!understands_protocol(request.protocol)) {
    return refuse(Code::unsupported_protocol, "this server speaks protocol " + protocol_version() +
                                                  " and cannot understand " + request.protocol);
  }
  if (auto refusal = refuse_epoch(call, request.epoch)) return *refusal;
  note_presence(call, request);
  const std::string name = settle_name(call, request);
  if (call.admitted && call.writes != nullptr) name_admitted(*call.writes, *call.device, request);
  if (request.ledger) return poll_without_ledger(call, request, name);
  auto watched = call.context.live.watched(call.device->id);
  if (call.device->quarantined_at) watched.clear();
  const auto hold_back = [&](const PollAnswer& answer) -> std::optional<Wait> {
    if (answer.resync || !answer.lines.empty() || request.watching != watched) return std::nullopt;
    if (request.quarantined == answer.quarantined.empty()) return std::nullopt;
    auto wait = call.wait(std::min(request.wait, limits::kWaitMost), {"node:" + call.device->id});
    if (!wait) return std::nullopt;
    // What comes is mostly a directive to number.
    wait->prepared = *prepared;
    wait->then_writes = true;
    return wait;
  };
  const PollNeed need = examine_poll(call.store, *call.device, request);
  if (need == PollNeed::write) {
    if (opens_epoch(call.store, *call.device, request, call.now)) {
      if (auto refusal = refuse_too_often(call, Presence::Dear::epoch)) return *refusal;
      if (call.writes != nullptr) call.context.presence.got(call.device->id, Presence::Dear::epoch);
    }
    if (call.writes == nullptr) return NeedsWrite{*prepared};
  }
  auto answer = need == PollNeed::write
                    ? apply_poll(*call.writes, *call.device, request, call.now, call.context.logger)
                    : answer_poll(call.store, *call.device, request);
  // What it acknowledged is stored; there may be nothing to say yet.
  if (need != PollNeed::answer) {
    if (auto wait = hold_back(answer)) return *wait;
  }
  return to_response(call, std::move(answer), std::move(watched), name);
}

}  // namespace agenttask::server
