#include "agent/console/schedule_text.hpp"

#include <algorithm>

#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"

namespace agenttask::console {

std::string describe_schedule(const TaskSchedule& schedule, UnixMilliseconds now) {
  std::string text;
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  if (schedule.update_interval) add("every " + format_interval(*schedule.update_interval));
  if (schedule.scheduled_for) {
    add((schedule.recurs() ? "from " : "at ") + format_time(*schedule.scheduled_for, now));
  }
  if (schedule.jitter != 0) add("jitter up to " + format_interval(schedule.jitter));
  if (schedule.overlap != Overlap::skip) {  // as the option spells it
    const bool replaces = schedule.overlap == Overlap::cancel_previous;
    add("overlap " + (replaces ? std::string("cancel-previous") : std::string(to_string(schedule.overlap))));
  }
  if (schedule.catch_up != CatchUp::once) add("catch up " + std::string(to_string(schedule.catch_up)));
  return text;
}

std::string describe_choices(const TaskSpec& spec) {
  std::size_t widest = 0;
  for (const Choice& choice : spec.choices) {
    widest = std::max(widest, display_width(printable(choice.name)));
  }
  std::string text;
  for (const Choice& choice : spec.choices) {
    const std::string name = printable(choice.name);
    std::string line = name;
    if (!choice.description.empty()) {
      line += std::string(widest - display_width(name) + 2, ' ') + printable(choice.description);
    }
    if (choice.name == spec.default_choice) line += " (default)";
    text += (text.empty() ? "" : "\n") + line;
  }
  return text;
}

std::string choice_names(const TaskSpec& spec) {
  std::string names;
  for (const Choice& choice : spec.choices) names += (names.empty() ? "" : "|") + shell_quoted(choice.name);
  return names;
}

std::string describe_choice_made(const ChoiceMade& made, UnixMilliseconds now) {
  return made.option + ", by " + made.by + " " + format_time(made.time, now);
}

std::string announce(const Task& task, UnixMilliseconds now, std::string_view verbs) {
  const TaskSpec& spec = task.spec;
  const TaskSchedule& schedule = spec.schedule;
  const bool asks = !spec.choices.empty();
  if (has_ended(task.state.status)) return {};
  if (!asks && !schedule.recurs() && !schedule.scheduled_for) return {};
  const auto first = task.state.next_run_at && *task.state.next_run_at > now ? task.state.next_run_at
                                                                             : schedule.scheduled_for;
  const std::string verb = asks ? "asks" : "runs";
  std::string text = verb + (schedule.recurs() ? " first " : " ");
  if (first && *first > now) {
    text += format_time(*first, now);
  } else if (schedule.scheduled_for) {
    text += "at once, as " + format_time(*schedule.scheduled_for, now) + " is past";
  } else {
    text += "at once";
  }
  if (schedule.recurs()) text += ", then every " + format_interval(*schedule.update_interval);
  if (asks) {
    text += "; choose with: " + std::string(verbs) + " choose " + spec.id + " " + choice_names(spec);
  }
  return text;
}

}  // namespace agenttask::console
