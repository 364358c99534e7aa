#include "agent/console/fleet/server_api.hpp"

#include <optional>

#include <nlohmann/json.hpp>

#include "agent/console/json_access.hpp"
#include "platform/base/ids.hpp"
#include "platform/net/http_client.hpp"
#include "platform/net/url.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::console {
namespace {

using agent::Answer;
using nlohmann::json;

constexpr std::chrono::milliseconds kTick{100};
constexpr std::chrono::milliseconds kPatience = std::chrono::milliseconds(limits::kWaitMost + 30'000);
constexpr std::size_t kAnswerBytes = 256 * 1024 * 1024;
constexpr std::size_t kLineBytes = 8 * 1024 * 1024;
constexpr std::size_t kShortest = 4;  ///< of an id that is looked up

Answer problem(int status, std::string code, std::string detail) {
  return {{}, Problem{status, std::move(code), std::move(detail)}};
}

Answer unreachable(const net::HttpError& error) {
  constexpr int kUnavailable = 503;
  std::string detail = error.error.message;
  if (error.failure == net::HttpFailure::tls_untrusted) {
    detail += "; log in again with the server's present --authority or --fingerprint";
  }
  return problem(kUnavailable, std::string(to_string(error.failure)), std::move(detail));
}

Answer to_answer(const net::HttpResult& result) {
  if (!result) return unreachable(result.error());
  if (result->ok()) return {result->body.empty() ? "{}" : result->body, std::nullopt};
  Problem refused = decode_problem(result->status, result->body);
  constexpr int kUnauthorized = 401;
  if (result->status == kUnauthorized) {
    refused.detail =
        "the server does not accept this token: it is unknown, expired or revoked; log in with a valid one: "
        "agenttask fleet login URL";
  }
  return {{}, std::move(refused)};
}

}  // namespace

struct ServerApi::State {
  Profile profile;
  net::HttpClient client;

  [[nodiscard]] net::HttpRequest request(std::string_view method, const std::string& path,
                                         const Query& query) const {
    net::HttpRequest request;
    request.method = std::string(method);
    request.url = profile.server + path;
    char separator = '?';
    for (const auto& [name, value] : query) {
      request.url += separator + net::percent_encode(name) + "=" + net::percent_encode(value);
      separator = '&';
    }
    request.headers.emplace_back("Authorization", "Bearer " + profile.token);
    request.timeout = kPatience;
    request.max_response_bytes = kAnswerBytes;
    return request;
  }
};

ServerApi::ServerApi(const Profile& profile)
    : state_(std::make_unique<State>(State{profile, net::HttpClient(client_settings(profile))})) {}
ServerApi::~ServerApi() = default;
ServerApi::ServerApi(ServerApi&&) noexcept = default;
ServerApi& ServerApi::operator=(ServerApi&&) noexcept = default;

Answer ServerApi::call(std::string_view method, const std::string& path, const Query& query,
                       const std::string& body, const Query& headers) {
  net::HttpRequest request = state_->request(method, path, query);
  request.body = body;
  for (const auto& header : headers) request.headers.push_back(header);
  return to_answer(state_->client.fetch(std::move(request)));
}

Answer ServerApi::follow(const std::string& path, const Query& query,
                         const std::function<bool(std::string_view line)>& on_line) {
  net::HttpRequest request = state_->request("GET", path, query);
  request.timeout = std::chrono::milliseconds(0);
  std::string rest;
  bool left = false;
  request.on_body = [&](std::string_view piece) {
    rest += piece;
    for (std::size_t end = rest.find('\n'); end != std::string::npos && !left; end = rest.find('\n')) {
      const std::string line = rest.substr(0, end);
      rest.erase(0, end + 1);
      if (!line.empty() && !on_line(line)) left = true;
    }
    return !left && rest.size() <= kLineBytes;
  };
  std::optional<net::HttpResult> result;
  const auto transfer = state_->client.start(std::move(request),
                                             [&](net::HttpResult done) { result.emplace(std::move(done)); });
  while (!result && !left) {
    state_->client.wait(kTick);
    if (!result && !left && !on_line({})) left = true;
  }
  if (!result) state_->client.cancel(transfer);
  if (left) return {"{}", std::nullopt};
  return to_answer(*result);
}

Answer ServerApi::resolve(const std::string& text, std::string& id) {
  return resolve_in("tasks", "task", text, id);
}

Answer ServerApi::resolve_batch(const std::string& text, std::string& id) {
  return resolve_in("batches", "batch", text, id);
}

Answer ServerApi::resolve_in(const char* list_name, const std::string& what, const std::string& text,
                             std::string& id) {
  constexpr int kBadRequest = 400;
  constexpr int kNotFound = 404;
  constexpr int kConflict = 409;
  id = normalize_uuid(text);
  if (is_uuid(text)) return {"{}", std::nullopt};
  const bool last = text == "@last";
  if (!last && text.size() < kShortest) {
    return problem(kBadRequest, "invalid",
                   "give at least " + std::to_string(kShortest) + " characters of an id, or @last");
  }
  Answer answer =
      call("GET", api_path({list_name}), {{"limit", last ? "1" : std::to_string(limits::kPageMost)}});
  if (!answer.ok()) return answer;
  const auto list = parse_json(answer.json);
  const json* entries = list ? member_of(*list, list_name) : nullptr;
  std::vector<std::string> found;
  for (const json& entry : entries != nullptr && entries->is_array() ? *entries : json::array()) {
    const std::string candidate = text_of(entry, "id");
    if (last || candidate.ends_with(id)) found.push_back(candidate);
  }
  if (found.empty()) {
    return problem(kNotFound, "unknown-" + what,
                   last ? "the server has no " + what + " yet"
                        : "no " + what + " among the newest " + std::to_string(limits::kPageMost) +
                              " ends with " + text + "; agenttask fleet " +
                              (what == "task" ? "list" : list_name) + " shows them");
  }
  if (found.size() > 1) {
    std::string detail = "several " + std::string(list_name) + " end with " + text + ":";
    for (const std::string& candidate : found) detail += "\n  " + candidate;
    return {{},
            Problem{kConflict, "ambiguous-" + what, detail, {}, encode_json(json{{"candidates", found}})}};
  }
  id = found.front();
  return {"{}", std::nullopt};
}

std::string api_path(std::initializer_list<std::string_view> parts) {
  std::string path = "/v1";
  for (const std::string_view part : parts) path += "/" + net::percent_encode(part);
  return path;
}

}  // namespace agenttask::console
