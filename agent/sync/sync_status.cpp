#include "agent/sync/sync_status.hpp"

#include <utility>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"

namespace agenttask::agent {

std::string_view to_string(LinkState state) {
  switch (state) {
    case LinkState::not_enrolled:
      return "not-enrolled";
    case LinkState::enrolling:
      return "enrolling";
    case LinkState::connecting:
      return "connecting";
    case LinkState::connected:
      return "connected";
    case LinkState::disconnected:
      return "disconnected";
    case LinkState::refused:
      return "refused";
  }
  return "not-enrolled";
}

std::string to_json(const SyncStatus& status) {
  nlohmann::json value = {{"state", to_string(status.state)},
                          {"enrolled", !status.node_id.empty()},
                          {"pollInterval", status.poll_interval}};
  const auto text = [&](const char* name, const std::string& field) {
    if (!field.empty()) value[name] = field;
  };
  const auto number = [&](const char* name, const std::optional<std::int64_t>& field) {
    if (field) value[name] = *field;
  };
  text("url", status.url);
  text("nodeId", status.node_id);
  text("name", status.name);
  number("lastContact", status.last_contact);
  text("lastError", status.last_error);
  text("lastErrorCode", status.last_error_code);
  number("lastErrorTime", status.last_error_time);
  number("nextAttempt", status.next_attempt);
  number("clockOffset", status.clock_offset);
  number("certificateExpires", status.certificate_expires);
  if (status.former) {
    value["formerNode"] = {{"nodeId", status.former->former_node},
                           {"cancelled", status.former->cancelled},
                           {"running", status.former->running},
                           {"unreported", status.former->unreported}};
  }
  if (status.enrollment) {
    nlohmann::json wish = {{"url", status.enrollment->url}, {"refused", status.enrollment->refused}};
    if (!status.enrollment->error.empty()) wish["error"] = status.enrollment->error;
    value["enrollment"] = std::move(wish);
  }
  return encode_json(value);
}

}  // namespace agenttask::agent
