#include "tests/model/protocol.hpp"

#include <algorithm>

namespace agenttask::model {

namespace {

/// What the server shows once the device says `held`.
Shown shown_for(Held held) {
  switch (held) {
    case Held::unknown:
      return Shown::unknown;
    case Held::waiting:
      return Shown::sent;
    case Held::started:
      return Shown::running;
    case Held::complete:
      return Shown::complete;
    case Held::interrupted:
      return Shown::interrupted;
    case Held::cancelled:
      return Shown::cancelled;
  }
  return Shown::unknown;
}

}  // namespace

bool agree(Shown shown, Held held) {
  if (shown == Shown::cancelled_alone) return held == Held::unknown || held == Held::cancelled;
  return shown == shown_for(held);
}

// ---- positions

Position Protocol::advance(Position position, const Message& message) {
  ++position.sequence;
  if (!parts_.chain) return position;
  const auto content = static_cast<std::uint16_t>(static_cast<int>(message.kind) | message.task << 3 |
                                                  static_cast<int>(message.state) << 5 |
                                                  static_cast<int>(message.chosen) << 8 | message.runs << 10);
  const auto next = static_cast<std::uint16_t>(chains_.size() + 1);
  position.chain = chains_.try_emplace({position.chain, content}, next).first->second;
  return position;
}

Position Protocol::advance(Position position, const std::vector<Message>& messages) {
  for (const Message& one : messages) position = advance(position, one);
  return position;
}

bool Protocol::same(Position left, Position right) const {
  return left.sequence == right.sequence && (!parts_.chain || left.chain == right.chain);
}

// ---- the operator's

void Protocol::enqueue(Server& server, std::uint8_t task) {
  server.tasks[task] = Shown::queued;
  queue(server, {.kind = Message::Kind::task, .task = task});
}

void Protocol::cancel(Server& server, std::uint8_t task) {
  const Shown shown = server.tasks[task];
  if (shown != Shown::queued && (shown != Shown::offered || parts_.offered_before_sent)) {
    server.cancel_asked[task] = true;
    queue(server, {.kind = Message::Kind::cancel, .task = task});
    return;
  }
  server.tasks[task] = Shown::cancelled_alone;
  server.choice_asked[task] = false;
  const auto about = [task](const Message& one) { return one.task == task; };
  std::erase_if(server.queued, about);
  if (parts_.numbered_when_offered) {
    std::erase_if(server.offered, about);
  } else {
    for (Message& one : server.offered)
      if (about(one)) one.kind = Message::Kind::hole;
  }
}

void Protocol::choose(Server& server, std::uint8_t task) {
  server.choice_asked[task] = true;
  queue(server, {.kind = Message::Kind::choose, .task = task});
}

bool Protocol::run(Server& server, std::uint8_t task, std::uint8_t request) {
  if (is_waiting(server, Message::Kind::run, task)) return false;
  queue(server, {.kind = Message::Kind::run, .task = task, .runs = request});
  return true;
}

// ---- the server's transactions

void Protocol::queue(Server& server, Message message) {
  server.queued.push_back(message);
  if (parts_.numbered_when_offered) return;
  // Without that part it has its number at once, and is still the server's to take back.
  server.offered.push_back(message);
  server.queued.pop_back();
}

void Protocol::offer(Server& server) {
  for (const Message& one : server.queued) {
    server.offered.push_back(one);
    Shown& shown = server.tasks[one.task];
    if (one.kind == Message::Kind::task && shown == Shown::queued) shown = Shown::offered;
  }
  server.queued.clear();
}

void Protocol::open_epoch(Server& server, std::uint8_t above) {
  server.epoch = static_cast<std::uint8_t>(std::max(server.epoch, above) + 1);
  std::vector<Message> requests = server.offered;
  requests.insert(requests.end(), server.queued.begin(), server.queued.end());
  server.snapshot = true;
  server.queued.clear();
  server.offered.clear();
  server.acknowledged = server.reports = {};
  for (std::uint8_t task = 0; task < kMostTasks; ++task) {
    Shown& shown = server.tasks[task];
    if (shown == Shown::unknown) continue;
    if (!has_ended(shown)) {
      // In the time that is lost it may have been offered: only the device may say from now on what became of
      // it.
      if (shown == Shown::queued) shown = Shown::offered;
      if (parts_.queued_again) queue(server, {.kind = Message::Kind::task, .task = task});
      if (server.cancel_asked[task] && parts_.asked_again)
        queue(server, {.kind = Message::Kind::cancel, .task = task});
    } else if (shown == Shown::cancelled_alone && parts_.cancelled_again) {
      server.cancel_asked[task] = true;
      queue(server, {.kind = Message::Kind::cancel, .task = task});
    }
  }
  for (const Message& one : requests) {
    if (has_ended(server.tasks[one.task])) continue;
    if (one.kind == Message::Kind::run || one.kind == Message::Kind::choose) queue(server, one);
  }
}

/// Whether the device's position is one that this server offered and has not forgotten.
bool Protocol::knows(const Server& server, Position directives) {
  Position ours = server.acknowledged;
  if (same(ours, directives)) return true;
  for (const Message& one : server.offered) {
    ours = advance(ours, one);
    if (same(ours, directives)) return true;
  }
  return false;
}

Answer Protocol::take_poll(Server& server, const Poll& poll) {
  const auto resync = [&] { return Answer{.epoch = server.epoch, .resync = true}; };
  // In an epoch that the device has moved on in, an older one can only be late.
  const bool moved = server.acknowledged.sequence > 0 || server.reports.sequence > 0;
  if (poll.epoch < server.epoch) return moved ? Answer{.epoch = server.epoch} : resync();
  const bool early = poll.epoch == server.epoch && poll.directives.sequence < server.acknowledged.sequence;
  const bool reports_are_ahead =
      parts_.reports_cursor_in_poll && poll.reports.sequence > server.reports.sequence;
  if (poll.epoch > server.epoch || reports_are_ahead || (!early && !knows(server, poll.directives))) {
    open_epoch(server, poll.epoch);
    return resync();
  }
  if (early) return {.epoch = server.epoch};

  while (!server.offered.empty() && server.acknowledged.sequence < poll.directives.sequence) {
    const Message first = server.offered.front();
    Shown& shown = server.tasks[first.task];
    if (first.kind == Message::Kind::task && (shown == Shown::offered || shown == Shown::queued))
      shown = Shown::sent;
    server.acknowledged = advance(server.acknowledged, first);
    server.offered.erase(server.offered.begin());
  }
  offer(server);
  if (!parts_.numbered_when_offered)
    for (const Message& one : server.offered)
      if (server.tasks[one.task] == Shown::queued) server.tasks[one.task] = Shown::offered;
  return {.epoch = server.epoch,
          .first = static_cast<std::uint8_t>(server.acknowledged.sequence + 1),
          .directives = server.offered};
}

Answer Protocol::take_batch(Server& server, const Batch& batch) {
  if (batch.epoch < server.epoch) {
    const bool moved = server.acknowledged.sequence > 0 || server.reports.sequence > 0;
    if (moved) return {.epoch = batch.epoch, .reports = batch.after};
    return {.epoch = server.epoch, .resync = true};
  }
  const bool ahead = batch.after.sequence > server.reports.sequence ||
                     (batch.after.sequence == server.reports.sequence && !same(batch.after, server.reports));
  if (batch.epoch > server.epoch || (ahead && parts_.reports_follow_a_cursor)) {
    open_epoch(server, batch.epoch);
    return {.epoch = server.epoch, .resync = true};
  }
  Position position = batch.after;
  for (const Message& one : batch.reports) {
    position = advance(position, one);
    if (position.sequence <= server.reports.sequence) continue;
    take_report(server, one);
    server.reports = position;
  }
  return {.epoch = server.epoch, .reports = server.reports};
}

void Protocol::take_report(Server& server, const Message& report) {
  if (report.kind == Message::Kind::snapshot_end) return end_snapshot(server);
  if (report.kind == Message::Kind::refused) {
    if (report.runs == 0) server.choice_asked[report.task] = false;
    server.refused_runs[report.task] += report.runs;
    return;
  }
  Shown& shown = server.tasks[report.task];
  const bool stands = report.kind == Message::Kind::snapshot && parts_.device_is_right;
  if (has_ended(shown) && !stands) return;
  shown = shown_for(report.state);
  server.chosen[report.task] = report.chosen;
  if (has_ended(shown) || report.chosen != Chosen::nobody) server.choice_asked[report.task] = false;
}

bool Protocol::is_waiting(const Server& server, Message::Kind kind, std::uint8_t task) {
  const auto about = [&](const Message& one) { return one.kind == kind && one.task == task; };
  return std::any_of(server.queued.begin(), server.queued.end(), about) ||
         std::any_of(server.offered.begin(), server.offered.end(), about);
}

void Protocol::end_snapshot(Server& server) {
  if (!server.snapshot) return;
  server.snapshot = false;
  for (std::uint8_t task = 0; task < kMostTasks; ++task)
    if (!is_waiting(server, Message::Kind::choose, task)) server.choice_asked[task] = false;
}

// ---- the device's transactions

void Protocol::report(Device& device, std::uint8_t task, Held state, Message::Kind kind) {
  device.tasks[task] = state;
  device.outbox.push_back(
      {.kind = kind, .task = task, .state = state, .chosen = device.chosen[task], .runs = device.runs[task]});
}

void Protocol::choose(Device& device, std::uint8_t task) {
  device.chosen[task] = Chosen::user;
  report(device, task, device.tasks[task]);
}

void Protocol::take_directive(Device& device, const Message& directive) {
  Held& held = device.tasks[directive.task];
  if (directive.kind == Message::Kind::task) {
    if (held == Held::unknown) held = Held::waiting;
  } else if (directive.kind == Message::Kind::choose) {
    const bool open = device.chosen[directive.task] == Chosen::nobody || !parts_.first_answer_counts;
    if (held == Held::waiting && open) {
      device.chosen[directive.task] = Chosen::operator_;
      report(device, directive.task, held);
    } else {
      device.outbox.push_back({.kind = Message::Kind::refused, .task = directive.task});
    }
  } else if (directive.kind == Message::Kind::run) {
    auto& answered = device.requests[directive.task];
    const auto request = static_cast<std::uint8_t>(1U << directive.runs);
    const bool is_known = (answered & request) != 0 && parts_.requests_are_remembered;
    answered = static_cast<std::uint8_t>(answered | request);
    if (held != Held::waiting || is_known) {
      device.outbox.push_back({.kind = Message::Kind::refused, .task = directive.task, .runs = 1});
      return;
    }
    ++device.runs[directive.task];
    report(device, directive.task, held);
  } else if (held == Held::unknown) {
    report(device, directive.task, Held::cancelled);
  } else if (!has_ended(held)) {
    report(device, directive.task, Held::cancelled);
    device.working[directive.task] = false;
  }
}

void Protocol::take_directives(Device& device, const Answer& answer) {
  std::uint8_t sequence = answer.first;
  for (const Message& one : answer.directives) {
    if (one.kind == Message::Kind::hole) return;
    if (sequence++ != device.directives.sequence + 1) continue;
    take_directive(device, one);
    device.directives = advance(device.directives, one);
  }
}

void Protocol::adopt(Device& device, std::uint8_t epoch) {
  device.epoch = epoch;
  device.directives = device.reported = {};
  if (!parts_.snapshot) {
    // Without a snapshot only what waits in the outbox is said again, under new numbers.
    return;
  }
  device.outbox.clear();
  for (std::uint8_t task = 0; task < kMostTasks; ++task)
    if (device.tasks[task] != Held::unknown)
      report(device, task, device.tasks[task], Message::Kind::snapshot);
  if (requests_) device.outbox.push_back({.kind = Message::Kind::snapshot_end});
}

void Protocol::start(Device& device, std::uint8_t task) {
  if (parts_.start_before_work) report(device, task, Held::started);
  device.working[task] = true;
}

void Protocol::finish(Device& device, std::uint8_t task) {
  device.working[task] = false;
  report(device, task, Held::complete);
}

/// Also the next start: what had begun and not ended is interrupted, and said so.
void Protocol::kill(Device& device) {
  device.working = {};
  for (std::uint8_t task = 0; task < kMostTasks; ++task)
    if (device.tasks[task] == Held::started) report(device, task, Held::interrupted);
}

/// An answer to a batch: what is stored leaves the outbox.
void Protocol::take_stored(Device& device, Position stored) {
  if (stored.sequence <= device.reported.sequence) return;
  const auto count = std::min<std::size_t>(stored.sequence - device.reported.sequence, device.outbox.size());
  device.outbox.erase(device.outbox.begin(), device.outbox.begin() + static_cast<std::ptrdiff_t>(count));
  device.reported = stored;
}

void Protocol::take_answer(Device& device, const Answer& answer) {
  if (answer.resync) {
    if (answer.epoch > device.epoch) adopt(device, answer.epoch);
  } else if (answer.epoch == device.epoch) {
    take_directives(device, answer);
    take_stored(device, answer.reports);
  }
}

}  // namespace agenttask::model
