#include "server/store/batches.hpp"

#include <memory>

#include <nlohmann/json.hpp>

#include "platform/protocol/json.hpp"
#include "server/api/handlers.hpp"
#include "server/api/render.hpp"

// What came of one task for many devices, and its end.
namespace agenttask::server {
namespace {

using nlohmann::json;

/// Says on the reader that this very request asked for the cancel already.
struct PreparedCancel final : Prepared {};

Response refuse_over(const BatchRecord& batch) {
  return refuse(Code::already_ended, "all tasks of batch " + batch.id + " have ended already", "",
                encode_json({{"batch", batch_to_json(batch, Detail::summary)}}));
}

/// Once every task of it was cancelled or asked; with `wait`, once all of them have ended.
Outcome answer_cancel(const Call& call, const BatchRecord& batch, std::int64_t wait) {
  const auto park = [&](std::int64_t milliseconds) {
    return call.wait(milliseconds, {"batch:" + batch.id, "operator:" + call.caller->id});
  };
  const bool over = is_over(batch);
  if (!over || is_carried_on(batch)) {
    if (auto parked = park(is_carried_on(batch) ? limits::kWaitMost : wait)) return *parked;
  }
  return json_response(over ? 200 : 202, batch_to_json(batch, Detail::summary));
}

}  // namespace

Outcome list_batches(Call& call) {
  const auto before = call.number("cursor", 1, INT64_MAX, 0);
  if (!before) return refuse(before.error());
  const auto most = call.number("limit", 1, limits::kPageMost, limits::kPageDefault);
  if (!most) return refuse(most.error());
  const auto limit = static_cast<std::size_t>(*most);
  auto batches = call.store.batches(*before, limit + 1);
  json next = nullptr;
  if (batches.size() > limit) {
    batches.pop_back();
    next = std::to_string(batches.back().sequence);
  }
  json list = json::array();
  for (const auto& batch : batches) list.push_back(batch_to_json(batch, Detail::summary));
  return json_response(200, {{"batches", std::move(list)}, {"nextCursor", std::move(next)}});
}

/// With a page of its tasks, also of those that were deleted: they are counted.
Outcome get_batch(Call& call) {
  const auto wait = call.number("wait", 0, limits::kWaitMost, 0);
  if (!wait) return refuse(wait.error());
  auto found = find_batch(call.store, call.path[0], WithData::yes);
  if (!found.record) return found.refusal;
  const BatchRecord& batch = *found.record;
  TaskFilter filter;
  filter.deleted = Deleted::shown;
  filter.batch = batch;
  bool nothing = false;
  if (const auto name = call.parameter("status")) {
    const auto status = parse_task_status(*name);
    nothing = !status;
    if (status) filter.status = *status;
  }
  auto page = page_of_tasks(call, filter);
  if (!page) return refuse(page.error());
  if (!is_over(batch)) {
    if (auto parked = call.wait(*wait, {"batch:" + batch.id, "operator:" + call.caller->id})) return *parked;
  }
  json value = batch_to_json(batch, Detail::full);
  value["tasks"] = nothing ? json::array() : std::move((*page)["tasks"]);
  value["nextCursor"] = nothing ? json(nullptr) : std::move((*page)["nextCursor"]);
  return json_response(200, value);
}

Outcome cancel_batch(Call& call) {
  const auto wait = call.number("wait", 0, limits::kWaitMost, 0);
  if (!wait) return refuse(wait.error());
  const auto body = body_object(call, true);
  if (!body) return refuse(body.error());
  if (!body->empty()) return refuse(Code::invalid, "a cancel has no fields", body->begin().key());
  auto found = find_batch(call.store, call.path[0], WithData::no);
  if (!found.record) return found.refusal;
  BatchRecord& batch = *found.record;
  const bool was_asked = call.writes == nullptr && call.request.prepared != nullptr;
  if (was_asked) return answer_cancel(call, batch, *wait);
  if (is_over(batch)) return refuse_over(batch);
  if (call.writes == nullptr) return NeedsWrite{std::make_shared<const PreparedCancel>()};
  cancel_batch(*call.writes, batch, call.now);
  if (is_carried_on(batch)) call.writes->after_commit(call.context.carry_batches_on);
  call.writes->after_commit([&logger = call.context.logger, id = batch.id, by = caller_name(call)] {
    logger.info("a task for many devices is being cancelled", {{"batch", id}, {"by", by}});
  });
  return answer_cancel(call, batch, *wait);
}

}  // namespace agenttask::server
