#include <algorithm>
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

/// The device can't use its ledger: it is there, and is given nothing. Held like any other poll.
Outcome poll_without_ledger(Call& call, const PollRequest& request, const std::string& name) {
  Presence& presence = call.context.presence;
  const bool words_count = presence.wait_before(call.device->id, Presence::Dear::words).count() == 0;
  if (examine_ledger_problem(*call.device, request, words_count) == PollNeed::write) {
    if (call.writes == nullptr) return NeedsWrite{};
    presence.got(call.device->id, Presence::Dear::words);
    apply_ledger_problem(*call.writes, *call.device, request, call.context.logger);
  }
  if (auto wait = call.wait(std::min(request.wait, limits::kWaitMost), {"node:" + call.device->id}))
    return *wait;
  return to_response(call, answer_without_ledger(*call.device), {}, name);
}

}  // namespace

Outcome poll(Call& call) {
  auto request = decode_poll_request(call.request.body);
  if (!request) return refuse(request.error());
  if (!understands_protocol(request->protocol)) {
    return refuse(Code::unsupported_protocol, "this server speaks protocol " + protocol_version() +
                                                  " and cannot understand " + request->protocol);
  }
  if (auto refusal = refuse_epoch(call, request->epoch)) return *refusal;
  note_presence(call, *request);
  const std::string name = settle_name(call, *request);
  if (call.admitted && call.writes != nullptr) name_admitted(*call.writes, *call.device, *request);
  if (request->ledger) return poll_without_ledger(call, *request, name);
  auto watched = call.context.live.watched(call.device->id);
  std::sort(request->watching.begin(), request->watching.end());
  if (call.device->quarantined_at) watched.clear();
  const auto hold_back = [&](const PollAnswer& answer) -> std::optional<Wait> {
    if (answer.resync || !answer.lines.empty() || request->watching != watched) return std::nullopt;
    if (request->quarantined == answer.quarantined.empty()) return std::nullopt;
    return call.wait(std::min(request->wait, limits::kWaitMost), {"node:" + call.device->id});
  };
  const auto open_epoch = [&]() -> std::optional<Response> {
    if (!opens_epoch(call.store, *call.device, *request, call.now)) return std::nullopt;
    if (auto refusal = refuse_too_often(call, Presence::Dear::epoch)) return refusal;
    if (call.writes != nullptr) call.context.presence.got(call.device->id, Presence::Dear::epoch);
    return std::nullopt;
  };
  if (call.writes != nullptr) {
    if (auto refusal = open_epoch()) return *refusal;
    auto answer = apply_poll(*call.writes, *call.device, *request, call.now, call.context.logger);
    // What it acknowledged is stored; there may be nothing to say yet.
    if (auto wait = hold_back(answer)) return *wait;
    return to_response(call, std::move(answer), std::move(watched), name);
  }
  const PollNeed need = examine_poll(call.store, *call.device, *request);
  if (need == PollNeed::write) {
    if (auto refusal = open_epoch()) return *refusal;
    return NeedsWrite{};
  }
  auto answer = answer_poll(call.store, *call.device, *request);
  if (need == PollNeed::nothing) {
    if (auto wait = hold_back(answer)) return *wait;
  }
  return to_response(call, std::move(answer), std::move(watched), name);
}

}  // namespace agenttask::server
