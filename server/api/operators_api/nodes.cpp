#include <nlohmann/json.hpp>

#include "platform/protocol/object_reader.hpp"
#include "server/api/credentials.hpp"
#include "server/api/handlers.hpp"
#include "server/api/render.hpp"
#include "server/store/enrollment.hpp"
#include "server/store/tasks.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

constexpr std::size_t kBatch =
    1000;  // rows read at once where presence, which is not in the table, restricts

struct NodeFilter {
  std::string name;
  Labels labels;
  std::optional<bool> online;
  bool nothing = false;  ///< no node can fit
};

Result<NodeFilter> read_filter(const Call& call) {
  NodeFilter filter;
  filter.name = call.parameter("name").value_or("");
  for (const auto& label : call.parameters("label")) {
    const auto equals = label.find('=');
    if (equals == std::string::npos || equals == 0) {
      return Error{ErrorCode::invalid, "label must be key=value", "label"};
    }
    const auto [at, fresh] = filter.labels.emplace(label.substr(0, equals), label.substr(equals + 1));
    if (!fresh && at->second != label.substr(equals + 1)) filter.nothing = true;
  }
  if (const auto presence = call.parameter("presence")) {
    if (*presence == "online" || *presence == "offline") {
      filter.online = *presence == "online";
    } else {
      filter.nothing = true;
    }
  }
  return filter;
}

/// One more than `limit`, where there are as many.
std::vector<NodeRecord> matching(const Call& call, const NodeFilter& filter, std::string before,
                                 std::size_t limit) {
  std::vector<NodeRecord> nodes;
  if (filter.nothing) return nodes;
  const std::size_t batch = filter.online ? kBatch : limit + 1;
  for (;;) {
    auto rows = call.store.nodes(before, batch, filter.name, filter.labels);
    const bool last = rows.size() < batch;
    for (auto& row : rows) {
      before = row.id;
      if (filter.online && call.context.presence.online(row.id) != *filter.online) continue;
      nodes.push_back(std::move(row));
      if (nodes.size() > limit) return nodes;
    }
    if (last) return nodes;
  }
}

struct NodeChanges {
  std::optional<Labels> labels;
  std::optional<bool> hold;
  std::optional<std::string> name;
};

/// Labels are laid over those of the node key by key; null removes one.
Result<Labels> merge_labels(Labels labels, const json& patch) {
  for (const auto& [key, value] : patch.items()) {
    if (value.is_null()) {
      labels.erase(key);
      continue;
    }
    if (!value.is_string())
      return Error{ErrorCode::invalid, "a label's value must be a string or null", "labels." + key};
    const auto text = value.get<std::string>();
    if (auto fits = check_label(key, text); !fits) return fits.error();
    labels[key] = text;
  }
  if (labels.size() > limits::kLabels) {
    return Error{ErrorCode::limit, "a node has at most " + std::to_string(limits::kLabels) + " labels",
                 "labels"};
  }
  return labels;
}

Result<NodeChanges> read_changes(const json& body, const NodeRecord& node) {
  ObjectReader reader(body, ObjectReader::Unknown::refuse);
  NodeChanges changes;
  changes.hold = reader.boolean("hold");
  changes.name = reader.text("name", limits::kNodeNameBytes, 1);
  if (const auto* patch = reader.object("labels")) {
    auto labels = merge_labels(node.labels, *patch);
    if (!labels) return labels.error();
    changes.labels = std::move(*labels);
  }
  if (auto error = reader.finish()) return *error;
  if (body.empty()) return Error{ErrorCode::invalid, "the update changes nothing: give labels, hold or name"};
  if (changes.name) {
    if (auto fits = check_node_name(*changes.name); !fits) return fits.error();
  }
  return changes;
}

}  // namespace

Outcome list_nodes(Call& call) {
  const auto filter = read_filter(call);
  if (!filter) return refuse(filter.error());
  const auto limit = call.number("limit", 1, limits::kPageMost, limits::kPageDefault);
  if (!limit) return refuse(limit.error());
  const auto most = static_cast<std::size_t>(*limit);
  auto nodes = matching(call, *filter, call.parameter("cursor").value_or(""), most);
  json next = nullptr;
  if (nodes.size() > most) {
    nodes.pop_back();
    next = nodes.back().id;
  }
  json list = json::array();
  for (auto& node : nodes) list.push_back(render_node(call, std::move(node)));
  return json_response(200, {{"nodes", std::move(list)}, {"nextCursor", std::move(next)}});
}

Outcome get_node(Call& call) {
  auto found = find_node(call.store, call.path[0]);
  return found.record ? json_response(200, render_node(call, std::move(*found.record))) : found.refusal;
}

Outcome change_node(Call& call) {
  const auto body = body_object(call);
  if (!body) return refuse(body.error());
  auto found = find_node(call.store, call.path[0]);
  if (!found.record) return found.refusal;
  NodeRecord& node = *found.record;
  auto changes = read_changes(*body, node);
  if (!changes) return refuse(changes.error());
  if (node.revoked_at)
    return refuse(Code::node_revoked, "node " + node.id + " was revoked and cannot be changed");
  if (call.writes == nullptr) return NeedsWrite{};
  if (changes->labels) node.labels = std::move(*changes->labels);
  if (changes->name) {
    node.name = *changes->name;
    node.name_fixed = true;
  }
  call.writes->update_node(node);
  const bool asked = changes->hold && set_hold(*call.writes, node, *changes->hold);
  return json_response(asked ? 202 : 200, render_node(call, std::move(node)));
}

Outcome revoke_node(Call& call) {
  auto found = find_node(call.store, call.path[0]);
  if (!found.record) return found.refusal;
  NodeRecord& node = *found.record;
  if (!node.revoked_at) {
    if (call.writes == nullptr) return NeedsWrite{};
    retire_node(*call.writes, node, call.now);
  }
  return json_response(200, render_node(call, std::move(node)));
}

}  // namespace agenttask::server
