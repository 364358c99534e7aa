#pragma once
#include <string>
#include <string_view>

#include "platform/base/clock.hpp"
#include "platform/protocol/task.hpp"

/// Schedules and choices in words.
namespace agenttask::console {

/// How people go on with a task: the verbs of this device, or of the fleet.
constexpr std::string_view kLocalVerbs = "agenttask";
constexpr std::string_view kFleetVerbs = "agenttask fleet";

/// `every 1d, jitter up to 5m, overlap queue, catch up all`; empty for a task that runs once and at once.
[[nodiscard]] std::string describe_schedule(const TaskSchedule& schedule, UnixMilliseconds now);

/// The choices below each other, each with its description and a mark at the default. Made printable.
[[nodiscard]] std::string describe_choices(const TaskSpec& spec);
/// `confirm|cancel`
[[nodiscard]] std::string choice_names(const TaskSpec& spec);
/// `confirm, by user:ann 2026-11-22 05:10:00 (3s ago)`
[[nodiscard]] std::string describe_choice_made(const ChoiceMade& made, UnixMilliseconds now);

/// What was understood of a task that does not simply start now: when it runs first and how it repeats, or
/// that it waits for a choice. Empty for one that starts at once.
[[nodiscard]] std::string announce(const Task& task, UnixMilliseconds now,
                                   std::string_view verbs = kLocalVerbs);

}  // namespace agenttask::console
