#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/console/fleet/profile.hpp"
#include "agent/console_api/console_client.hpp"
#include "platform/base/error.hpp"

namespace agenttask::console {

/// The operators' API of a task server (contract section 8), as the fleet verbs call it. Threads: one owner.
class ServerApi {
 public:
  using Query = std::vector<std::pair<std::string, std::string>>;

  explicit ServerApi(const Profile& profile);
  ~ServerApi();
  ServerApi(ServerApi&&) noexcept;
  ServerApi& operator=(ServerApi&&) noexcept;

  /// One exchange. `path` begins with a slash and is encoded already; `body`: JSON text, or empty. What is
  /// not 2xx, and a server that can't be reached, is a problem. An answer without a body is `{}`.
  [[nodiscard]] agent::Answer call(std::string_view method, const std::string& path, const Query& query = {},
                                   const std::string& body = {}, const Query& headers = {});

  /// A body that goes on, line by line; `on_line` gets an empty line about every 100 ms without one. It ends
  /// when the server ends it, or `on_line` says false.
  [[nodiscard]] agent::Answer follow(const std::string& path, const Query& query,
                                     const std::function<bool(std::string_view line)>& on_line);

  /// The id of a task that `text` means: a whole id, the unique end of one among the 1000 newest tasks (at
  /// least 4 characters), or `@last`, the newest task of the server.
  [[nodiscard]] agent::Answer resolve(const std::string& text, std::string& id);
  /// The same of a batch.
  [[nodiscard]] agent::Answer resolve_batch(const std::string& text, std::string& id);

 private:
  /// `what` in the singular, as its list is called in the plural.
  [[nodiscard]] agent::Answer resolve_in(const char* list, const std::string& what, const std::string& text,
                                         std::string& id);
  struct State;
  std::unique_ptr<State> state_;
};

/// `/v1/nodes/web%201/tasks`: the parts, each encoded, behind /v1.
[[nodiscard]] std::string api_path(std::initializer_list<std::string_view> parts);

}  // namespace agenttask::console
