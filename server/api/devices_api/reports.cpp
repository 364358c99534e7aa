#include <memory>
#include <utility>

#include <nlohmann/json.hpp>

#include "platform/base/ids.hpp"
#include "platform/protocol/json.hpp"
#include "platform/protocol/message.hpp"
#include "platform/protocol/object_reader.hpp"
#include "platform/protocol/task_json.hpp"
#include "server/api/handlers.hpp"
#include "server/store/streams.hpp"

namespace agenttask::server {
namespace {

using nlohmann::json;

constexpr std::size_t kLiveChunks = 1000;

struct LiveOutputPost {
  std::string task_id;
  std::int64_t run = 1;
  std::vector<LiveChunk> chunks;
};

Result<LiveOutputPost> read_live_output(const std::string& body) {
  const auto value = parse_json(body);
  if (!value) return value.error();
  ObjectReader reader(*value, ObjectReader::Unknown::ignore);
  LiveOutputPost post;
  for (const char* name : {"taskId", "run", "chunks"}) reader.require(name);
  post.task_id = normalize_uuid(reader.text("taskId", 36).value_or(""));
  post.run = reader.integer("run", 1, INT64_MAX).value_or(1);
  if (const auto* chunks = reader.array("chunks", kLiveChunks)) {
    for (const auto& item : *chunks) {
      auto chunk = chunk_from_json(item);
      if (!chunk) return with_context(chunk.error(), "chunks");
      if (chunk->offset > INT64_MAX - static_cast<std::int64_t>(chunk->bytes.size()))
        return Error{ErrorCode::invalid, "chunks: an offset is past the end of any stream", "chunks.offset"};
      if (!chunk->bytes.empty()) post.chunks.push_back({post.run, std::move(*chunk)});
    }
  }
  if (auto error = reader.finish()) return *error;
  return post;
}

struct PreparedReports final : Prepared {
  explicit PreparedReports(ReportBatch batch) : received(std::move(batch)) {}
  ReceivedReports received;
};

/// Megabytes of JSON are read once, and not while everybody waits for the writer.
Result<std::shared_ptr<const PreparedReports>> read_reports(const Request& request) {
  if (auto prepared = std::dynamic_pointer_cast<const PreparedReports>(request.prepared)) return prepared;
  auto batch = decode_report_batch(request.body);
  if (!batch) return batch.error();
  return std::make_shared<const PreparedReports>(std::move(*batch));
}

}  // namespace

Outcome take_reports(Call& call) {
  const auto prepared = read_reports(call.request);
  if (!prepared) return refuse(prepared.error());
  const ReceivedReports& received = (*prepared)->received;
  if (!understands_protocol(received.batch.protocol)) {
    return refuse(Code::unsupported_protocol, "this server speaks protocol " + protocol_version() +
                                                  " and cannot understand " + received.batch.protocol);
  }
  if (auto refusal = refuse_epoch(call, received.batch.epoch)) return *refusal;
  call.context.presence.heard(call.device->id);
  const bool opens = opens_epoch(*call.device, received.batch);
  if (opens) {
    if (auto refusal = refuse_too_often(call, Presence::Dear::epoch)) return *refusal;
  }
  if (call.writes == nullptr) return NeedsWrite{*prepared};
  if (opens) call.context.presence.got(call.device->id, Presence::Dear::epoch);
  const auto answer = apply_reports(*call.writes, *call.device, received, call.now, call.context.logger,
                                    call.context.history);
  if (!answer) return refuse(answer.error());
  return Response{200, "application/json", encode(*answer), {}};
}

Outcome take_live_output(Call& call) {
  auto post = read_live_output(call.request.body);
  if (!post) return refuse(post.error());
  const auto record = call.store.task(post->task_id, WithData::no);
  // Another device's task and none at all look alike: a device learns nothing about others.
  if (!record || record->task.spec.node_id != call.device->id) {
    return refuse(Code::unknown_task, "this device has no such task");
  }
  // Of another run than the one that goes on there is nothing to follow. Its start may be on its way, beside
  // this.
  const std::int64_t last = record->task.state.run_count;
  if (post->run != last && post->run - 1 != last) post->chunks.clear();
  bool watched = false;
  if (!has_ended(record->task.state.status) && !call.device->quarantined_at) {
    watched = call.context.live.publish(call.device->id, post->task_id, std::move(post->chunks));
  }
  return json_response(200, {{"watched", watched}});
}

}  // namespace agenttask::server
