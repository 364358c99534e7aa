#include <algorithm>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "server/api/handlers.hpp"
#include "server/api/render.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

constexpr std::size_t kFullTasks = 20;

struct Page {
  std::int64_t before = 0;
  std::size_t limit = limits::kPageDefault;
  Detail detail = Detail::summary;
};

Result<Page> read_page(const Call& call) {
  Page page;
  const auto before = call.number("cursor", 1, INT64_MAX, 0);
  if (!before) return before.error();
  const auto limit = call.number("limit", 1, limits::kPageMost, limits::kPageDefault);
  if (!limit) return limit.error();
  const auto full = call.flag("full");
  if (!full) return full.error();
  page.before = *before;
  page.limit = static_cast<std::size_t>(*limit);
  page.detail = *full ? Detail::full : Detail::summary;
  return page;
}

Response empty_list() {
  return json_response(200, {{"tasks", json::array()}, {"nextCursor", nullptr}});
}

/// The filters of the query. No filter in the end: some value can fit nothing, so that the list is empty.
std::optional<TaskFilter> read_filter(const Call& call, std::string node_id) {
  TaskFilter filter;
  filter.node_id = std::move(node_id);
  filter.type = call.parameter("type").value_or("");
  filter.tags = call.parameters("tag");
  filter.room_id = call.parameter("roomId").value_or("");
  filter.world_id = call.parameter("worldId").value_or("");
  if (const auto name = call.parameter("status")) {
    const auto status = parse_task_status(*name);
    if (!status) return std::nullopt;
    filter.status = *status;
  }
  if (const auto id = call.parameter("batch")) {
    filter.batch = call.store.batch(normalize_uuid(*id), WithData::no);
    if (!filter.batch) return std::nullopt;
  }
  return filter;
}

Result<Deleted> read_deleted(const Call& call) {
  if (call.parameter("deleted") == "any") return Deleted::shown;
  const auto only = call.flag("deleted");
  if (!only) return Error{ErrorCode::invalid, only.error().message + ", or any", "deleted"};
  return *only ? Deleted::only : Deleted::hidden;
}

Outcome list(const Call& call, std::string node_id) {
  const auto page = read_page(call);
  if (!page) return refuse(page.error());
  const auto deleted = read_deleted(call);
  if (!deleted) return refuse(deleted.error());
  if (call.parameters("tag").size() > limits::kTags) {
    return refuse(Code::limit, "at most " + std::to_string(limits::kTags) + " tags may be asked for", "tag");
  }
  auto filter = read_filter(call, std::move(node_id));
  if (!filter) return empty_list();
  filter->deleted = *deleted;
  const auto tasks = page_of_tasks(call, *filter);
  return tasks ? json_response(200, *tasks) : refuse(tasks.error());
}

}  // namespace

Result<json> page_of_tasks(const Call& call, const TaskFilter& filter) {
  const auto page = read_page(call);
  if (!page) return page.error();
  const auto with_data = page->detail == Detail::full ? WithData::yes : WithData::no;
  // Full tasks may be large: a page holds fewer of them then, and the cursor goes on from there.
  const std::size_t limit = page->detail == Detail::full ? std::min(page->limit, kFullTasks) : page->limit;
  auto records = call.store.tasks(filter, page->before, limit + 1, with_data);
  const bool more = records.size() > limit;
  if (more) records.pop_back();
  const json next = more ? json(std::to_string(records.back().sequence)) : json(nullptr);
  TaskRenderer renderer(call);
  json tasks = json::array();
  for (auto& record : records) tasks.push_back(renderer.render(std::move(record), page->detail));
  return json{{"tasks", std::move(tasks)}, {"nextCursor", next}};
}

Outcome get_task(Call& call) {
  const auto wait = call.number("wait", 0, limits::kWaitMost, 0);
  if (!wait) return refuse(wait.error());
  auto found = find_task(call.store, call.path[0], WithData::yes);
  if (!found.record) return found.refusal;
  if (!has_ended(found.record->task.state.status)) {
    if (auto parked =
            call.wait(*wait, {"task:" + found.record->task.spec.id, "operator:" + call.caller->id})) {
      return *parked;
    }
  }
  return json_response(200, render_task(call, std::move(*found.record)));
}

Outcome list_tasks(Call& call) {
  const auto name = call.parameter("node");
  if (!name) return list(call, {});
  auto found = find_node(call.store, *name);
  if (found.record) return list(call, found.record->id);
  if (found.refusal.status != 404) return found.refusal;
  const auto page = read_page(call);
  if (!page) return refuse(page.error());
  const auto deleted = read_deleted(call);
  return deleted ? empty_list() : refuse(deleted.error());
}

Outcome list_node_tasks(Call& call) {
  auto found = find_node(call.store, call.path[0]);
  return found.record ? list(call, found.record->id) : found.refusal;
}

Outcome list_runs(Call& call) {
  const auto page = read_page(call);
  if (!page) return refuse(page.error());
  auto found = find_task(call.store, call.path[0], WithData::no);
  if (!found.record) return found.refusal;
  // Runs with their output may be large: a page holds fewer of them then, and the cursor goes on from there.
  const std::size_t limit = page->detail == Detail::full ? std::min(page->limit, kFullTasks) : page->limit;
  const auto runs = call.store.runs_before(found.record->task.spec.id, page->before, limit + 1);
  std::size_t bytes = 0;
  json list = json::array();
  json next = nullptr;
  for (const auto& run : runs) {
    bytes += run.result.size();
    if (list.size() == limit || (bytes > kPageBytes && !list.empty())) {
      next = std::to_string(run.number + 1);
      break;
    }
    json value = run_to_json(run);
    const auto result = value.find("result");
    if (page->detail == Detail::full && found.record->task.spec.type == "command" && result != value.end() &&
        result->contains("data") && (*result)["data"].is_object()) {
      add_output(*result, call.store.output(run.task_id, run.number));
    }
    list.push_back(std::move(value));
  }
  return json_response(200, {{"runs", std::move(list)}, {"nextCursor", std::move(next)}});
}

}  // namespace agenttask::server
