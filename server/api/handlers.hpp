#pragma once
#include "server/api/call.hpp"

/// The handlers, one for each line of the router's table. Inside server/api only.
namespace agenttask::server {

/// A page of tasks: `tasks` and `nextCursor`, by the call's `cursor`, `limit` and `full`. `invalid` names the
/// parameter.
[[nodiscard]] Result<nlohmann::json> page_of_tasks(const Call& call, const TaskFilter& filter);

// operators_api/tasks_create.cpp
Outcome add_task(Call& call);
// operators_api/batches_create.cpp
Outcome add_batch(Call& call);
// operators_api/batches.cpp
Outcome list_batches(Call& call);
Outcome get_batch(Call& call);
Outcome cancel_batch(Call& call);
// operators_api/tasks_read.cpp
Outcome get_task(Call& call);
Outcome list_tasks(Call& call);
Outcome list_node_tasks(Call& call);
Outcome list_runs(Call& call);
// operators_api/tasks_change.cpp
Outcome change_task(Call& call);
Outcome remove_task(Call& call);
Outcome cancel(Call& call);
// operators_api/tasks_steer.cpp
Outcome choose(Call& call);
Outcome pause(Call& call);
Outcome resume(Call& call);
Outcome run_now(Call& call);
// operators_api/messages.cpp
Outcome list_messages(Call& call);
Outcome post_message(Call& call);
// operators_api/output.cpp
Outcome get_output(Call& call);
// operators_api/nodes.cpp
Outcome list_nodes(Call& call);
Outcome get_node(Call& call);
Outcome change_node(Call& call);
Outcome revoke_node(Call& call);
// operators_api/release.cpp
Outcome release_node(Call& call);
// operators_api/administration.cpp
Outcome add_enrollment_token(Call& call);
Outcome list_enrollment_tokens(Call& call);
Outcome remove_enrollment_token(Call& call);
Outcome add_operator(Call& call);
Outcome list_operators(Call& call);
Outcome revoke_operator(Call& call);
// operators_api/operations.cpp
Outcome get_health(Call& call);
Outcome get_readiness(Call& call);
Outcome get_openapi(Call& call);

// devices_api/refusals.cpp: what is refused to devices, whatever else they ask
/// 400 where the device speaks of an epoch that no past of this server leads to.
[[nodiscard]] std::optional<Response> refuse_epoch(const Call& call, std::int64_t epoch);
/// 429 where the device got the same a moment ago.
[[nodiscard]] std::optional<Response> refuse_too_often(const Call& call, Presence::Dear what);

// devices_api/poll.cpp
Outcome poll(Call& call);
// devices_api/reports.cpp
Outcome take_reports(Call& call);
Outcome take_live_output(Call& call);
// devices_api/enroll.cpp
Outcome get_authority(Call& call);
Outcome enroll(Call& call);
Outcome renew(Call& call);

}  // namespace agenttask::server
