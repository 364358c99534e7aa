#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "platform/base/error.hpp"
#include "server/api/outcome.hpp"
#include "server/api/problems.hpp"
#include "server/api/router.hpp"
#include "server/store/records.hpp"
#include "server/store/store.hpp"

/// What a handler gets. Inside server/api only.
namespace agenttask::server {

/// One evaluation of a request: on a reader (`writes` is null), or on the writer.
struct Call {
  const ApiContext& context;
  const Request& request;
  const ReadStore& store;
  WriteStore* writes = nullptr;
  std::vector<std::string> path;         ///< what stands for the `{…}` of the route
  std::optional<OperatorRecord> caller;  ///< who asks, on operators' routes
  std::optional<NodeRecord> device;      ///< who asks, on devices' routes
  UnixMilliseconds now = 0;
  bool admitted = false;  ///< the device was unknown, as the server was put back, and was made a node now

  /// A query parameter that the route knows; repeated ones are refused before.
  [[nodiscard]] std::optional<std::string> parameter(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> parameters(std::string_view name) const;
  /// A whole number from `least` to `most`; `fallback` where it is absent. `invalid` names the parameter.
  [[nodiscard]] Result<std::int64_t> number(std::string_view name, std::int64_t least, std::int64_t most,
                                            std::int64_t fallback) const;
  /// `1`, `true`, `0`, `false`; absent is false.
  [[nodiscard]] Result<bool> flag(std::string_view name) const;
  [[nodiscard]] std::string header(std::string_view name) const;

  /// Waits for a touch of `keys` for `wait` from the request's arrival; empty when that time is over.
  [[nodiscard]] std::optional<Wait> wait(std::int64_t milliseconds, std::vector<std::string> keys) const;
};

using Handler = Outcome (*)(Call&);

/// The body as one JSON object. An empty body counts as `{}` only where `empty_is_object`.
[[nodiscard]] Result<nlohmann::json> body_object(const Call& call, bool empty_is_object = false);

/// The key of `Idempotency-Key`, checked; empty where there is none.
[[nodiscard]] Result<std::string> idempotency_key(const Call& call);

/// `operator:LABEL`, or with the id where the operator has no label.
[[nodiscard]] std::string caller_name(const Call& call);

[[nodiscard]] Response json_response(int status, const nlohmann::json& body);

/// What `find_…` gives: the record, or the response that says why not.
template <class Record>
struct Found {
  std::optional<Record> record;
  Response refusal;
};
/// A node by id or name. `field`: which one the refusal names.
[[nodiscard]] Found<NodeRecord> find_node(const ReadStore& store, const std::string& text,
                                          const std::string& field = {});
[[nodiscard]] Found<BatchRecord> find_batch(const ReadStore& store, const std::string& id,
                                            WithData with_data);
[[nodiscard]] Found<TaskRecord> find_task(const ReadStore& store, const std::string& id, WithData with_data);

}  // namespace agenttask::server
