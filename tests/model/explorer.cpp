#include "tests/model/explorer.hpp"

#include <deque>
#include <unordered_map>

namespace agenttask::model {
namespace {

/// Bytes that are equal exactly when two worlds are.
class Key {
 public:
  explicit Key(const World& world) {
    put(world.server);
    put(world.device);
    put(world.poll);
    put(world.post);
    byte(world.copy ? 1 : 0);
    if (world.copy) put(*world.copy);
    for (int number : {world.enqueued, world.created, world.cancels, world.kills, world.restores})
      byte(number);
    for (int starts : world.starts) byte(starts);
    for (int number : {world.choices, world.user_choices, world.runs}) byte(number);
    for (int asked : world.runs_asked) byte(asked);
    for (Chosen one : world.chosen) byte(static_cast<int>(one));
  }
  std::string take() { return std::move(bytes_); }

 private:
  void byte(int value) { bytes_.push_back(static_cast<char>(value)); }
  void put(Position position) {
    byte(position.sequence);
    byte(position.chain & 0xff);
    byte(position.chain >> 8);
  }
  void put(const std::vector<Message>& messages) {
    byte(static_cast<int>(messages.size()));
    for (const Message& one : messages) {
      byte(static_cast<int>(one.kind) | one.task << 3 | static_cast<int>(one.state) << 5);
      byte(static_cast<int>(one.chosen) | one.runs << 2);
    }
  }
  void put(const Server& server) {
    byte(server.epoch);
    put(server.queued);
    put(server.acknowledged);
    put(server.offered);
    put(server.reports);
    for (Shown one : server.tasks) byte(static_cast<int>(one));
    for (bool one : server.cancel_asked) byte(one);
    byte(server.snapshot);
    for (std::size_t task = 0; task < kMostTasks; ++task)
      byte(static_cast<int>(server.chosen[task]) | (server.choice_asked[task] ? 4 : 0) |
           server.refused_runs[task] << 3);
  }
  void put(const Device& device) {
    byte(device.epoch);
    put(device.directives);
    put(device.reported);
    put(device.outbox);
    for (Held one : device.tasks) byte(static_cast<int>(one));
    for (bool one : device.working) byte(one);
    for (std::size_t task = 0; task < kMostTasks; ++task)
      byte(static_cast<int>(device.chosen[task]) | device.runs[task] << 2 | device.requests[task] << 4);
  }
  void put(const Poll& poll) {
    byte(poll.epoch);
    put(poll.directives);
    put(poll.reports);
  }
  void put(const Batch& batch) {
    byte(batch.epoch);
    put(batch.after);
    put(batch.reports);
  }
  void put(const Answer& answer) {
    byte(answer.epoch);
    byte(answer.resync);
    byte(answer.first);
    put(answer.directives);
    put(answer.reports);
  }
  template <class Request>
  void put(const Connection<Request>& connection) {
    byte(connection.request ? 1 : connection.answer ? 2 : 0);
    if (connection.request) put(*connection.request);
    if (connection.answer) put(*connection.answer);
    byte(static_cast<int>(connection.late.size()));
    for (const Request& one : connection.late) put(one);
  }

  std::string bytes_;
};

template <class Request>
void hang_up(Connection<Request>& connection, bool request_arrives_later) {
  if (connection.request && request_arrives_later) connection.late.push_back(*connection.request);
  connection.request.reset();
  connection.answer.reset();
}

Poll poll_of(const Device& device) {
  return {device.epoch, device.directives, device.reported};
}

Batch batch_of(const Device& device) {
  return {device.epoch, device.reported, device.outbox};
}

std::string name(std::string_view what, std::size_t task) {
  return std::string(what) + " " + std::to_string(task + 1);
}

}  // namespace

// ---- what may happen next

void Explorer::operator_steps(const World& world, Steps& out) {
  if (world.enqueued < bounds_.tasks) {
    World next = world;
    const std::uint8_t task = next.enqueued++;
    protocol_.enqueue(next.server, task);
    out.emplace_back(name("enqueue", task), std::move(next));
  }
  for (std::uint8_t task = 0; task < kMostTasks && world.cancels < bounds_.cancels; ++task) {
    const Shown shown = world.server.tasks[task];
    if (shown == Shown::unknown || has_ended(shown) || world.server.cancel_asked[task]) continue;
    World next = world;
    ++next.cancels;
    protocol_.cancel(next.server, task);
    out.emplace_back(name("cancel", task), std::move(next));
  }
}

void Explorer::request_steps(const World& world, Steps& out) {
  for (std::uint8_t task = 0; task < kMostTasks; ++task) {
    const Shown shown = world.server.tasks[task];
    const bool open = shown != Shown::unknown && !has_ended(shown);
    if (open && world.choices < bounds_.choices && world.server.chosen[task] == Chosen::nobody &&
        !world.server.choice_asked[task]) {
      World next = world;
      ++next.choices;
      protocol_.choose(next.server, task);
      out.emplace_back(name("an operator chooses for", task), std::move(next));
    }
    if (open && world.runs < bounds_.runs) {
      World next = world;
      ++next.runs;
      if (protocol_.run(next.server, task, next.runs)) ++next.runs_asked[task];
      out.emplace_back(name("run now", task), std::move(next));
    }
    if (world.user_choices < bounds_.user_choices && world.device.tasks[task] == Held::waiting &&
        world.device.chosen[task] == Chosen::nobody) {
      World next = world;
      ++next.user_choices;
      protocol_.choose(next.device, task);
      out.emplace_back(name("somebody on the device chooses for", task), std::move(next));
    }
  }
}

bool Explorer::may_start(const World& world, std::size_t task) const {
  return world.device.tasks[task] == Held::waiting &&
         (!bounds_.questions || world.device.chosen[task] != Chosen::nobody);
}

void Explorer::device_steps(const World& world, Steps& out) {
  if (world.created < bounds_.local_tasks) {
    World next = world;
    const auto task = static_cast<std::uint8_t>(bounds_.tasks + next.created++);
    protocol_.create(next.device, task);
    out.emplace_back(name("create on the device", task), std::move(next));
  }
  for (std::uint8_t task = 0; task < kMostTasks; ++task) {
    if (world.device.working[task]) {
      World next = world;
      protocol_.finish(next.device, task);
      out.emplace_back(name("end", task), std::move(next));
    } else if (may_start(world, task)) {
      World next = world;
      protocol_.start(next.device, task);
      ++next.starts[task];
      out.emplace_back(name("start", task), std::move(next));
    }
  }
  if (!world.poll.request && !world.poll.answer) {
    World next = world;
    next.poll.request = poll_of(world.device);
    out.emplace_back("poll", std::move(next));
  }
  if (!world.post.request && !world.post.answer && !world.device.outbox.empty()) {
    World next = world;
    next.post.request = batch_of(world.device);
    out.emplace_back("post reports", std::move(next));
  }
}

/// Requests reach the server, answers the device, in any order.
template <class Request, class Take>
void Explorer::connection_steps(const World& world, Connection<Request> World::*which, const char* what,
                                Take take, Steps& out) {
  const Connection<Request>& now = world.*which;
  if (now.request) {
    World next = world;
    (next.*which).answer = take(next.server, *now.request);
    (next.*which).request.reset();
    out.emplace_back(std::string(what) + " arrives", std::move(next));
  }
  if (now.answer) {
    World next = world;
    (next.*which).answer.reset();
    protocol_.take_answer(next.device, *now.answer);
    out.emplace_back(std::string("answer to ") + what + " arrives", std::move(next));
  }
  for (std::size_t i = 0; i < now.late.size(); ++i) {
    World next = world;
    (next.*which).late.erase((next.*which).late.begin() + static_cast<std::ptrdiff_t>(i));
    take(next.server, now.late[i]);
    out.emplace_back(std::string("late ") + what + " arrives", std::move(next));
  }
  if (now.request || now.answer) {
    World next = world;
    hang_up(next.*which, false);
    out.emplace_back(std::string(what) + " breaks off", std::move(next));
  }
  if (now.request && may_be_late(world)) {
    World next = world;
    hang_up(next.*which, true);
    out.emplace_back(std::string(what) + " is late", std::move(next));
  }
}

bool Explorer::may_be_late(const World& world) const {
  return world.poll.late.size() + world.post.late.size() < static_cast<std::size_t>(bounds_.late_requests);
}

void Explorer::network_steps(const World& world, Steps& out) {
  connection_steps(
      world, &World::poll, "poll",
      [this](Server& server, const Poll& poll) { return protocol_.take_poll(server, poll); }, out);
  connection_steps(
      world, &World::post, "batch of reports",
      [this](Server& server, const Batch& batch) { return protocol_.take_batch(server, batch); }, out);
}

/// The agent dies: its requests may still arrive, while there is room for late ones.
void Explorer::kill_agent(World& world) {
  ++world.kills;
  protocol_.kill(world.device);
  hang_up(world.poll, may_be_late(world));
  hang_up(world.post, may_be_late(world));
}

void Explorer::fault_steps(const World& world, Steps& out) {
  if (world.kills < bounds_.kills) {
    World next = world;
    kill_agent(next);
    out.emplace_back("kill the agent", std::move(next));
    if (!parts_.cursor_with_message && world.poll.answer && world.poll.answer->epoch == world.device.epoch) {
      next = world;
      protocol_.take_cursor_alone(next.device, *world.poll.answer);
      kill_agent(next);
      out.emplace_back("kill the agent between cursor and message", std::move(next));
    }
  }
  if (world.restores < bounds_.restores) {
    World next = world;
    if (world.copy) {
      next.server = *world.copy;
      ++next.restores;
    } else {
      next.copy = world.server;
    }
    out.emplace_back(world.copy ? "restore the database" : "copy the database", std::move(next));
  }
}

Explorer::Steps Explorer::steps(const World& world) {
  Steps out;
  operator_steps(world, out);
  request_steps(world, out);
  device_steps(world, out);
  network_steps(world, out);
  fault_steps(world, out);
  for (auto& [step, next] : out) {
    for (std::size_t task = 0; task < kMostTasks; ++task)
      if (next.chosen[task] == Chosen::nobody) next.chosen[task] = next.device.chosen[task];
  }
  return out;
}

// ---- what must hold

std::string Explorer::wrong_now(const World& world) const {
  for (std::size_t task = 0; task < kMostTasks; ++task) {
    if (world.starts[task] > 1) return name("started twice: task", task);
    if (world.device.runs[task] > world.runs_asked[task])
      return name("ran more often than somebody asked: task", task);
    if (world.device.chosen[task] != world.chosen[task])
      return name("another answer than the first: task", task);
    if (world.restores > 0) continue;  // an old database knows no better; what counts then is how it ends
    const Shown shown = world.server.tasks[task];
    const Held held = world.device.tasks[task];
    if (shown == Shown::sent && held == Held::unknown)
      return name("called sent, and the device does not have it: task", task);
    if (shown == Shown::running && held < Held::started)
      return name("called running, and it has not started: task", task);
    if (has_ended(shown) && !agree(shown, held))
      return name("the server is wrong about the end of task", task);
    if (world.server.chosen[task] != Chosen::nobody && world.server.chosen[task] != world.chosen[task])
      return name("the server is wrong about who chose for task", task);
  }
  return {};
}

/// One round without faults. False when nothing changed.
bool Explorer::settle_once(World& world, bool work_ends) {
  const World before = world;
  Device& device = world.device;
  protocol_.take_answer(device, protocol_.take_poll(world.server, poll_of(device)));
  if (!device.outbox.empty())
    protocol_.take_answer(device, protocol_.take_batch(world.server, batch_of(device)));
  for (std::uint8_t task = 0; task < kMostTasks; ++task) {
    if (device.working[task]) {
      if (work_ends) protocol_.finish(device, task);
    } else if (may_start(world, task)) {
      protocol_.start(device, task);
      ++world.starts[task];
    }
  }
  return !(before.server == world.server && before.device == world.device);
}

std::string Explorer::wrong_request(const World& world, std::size_t task) const {
  const Server& server = world.server;
  const Device& device = world.device;
  if (server.choice_asked[task]) return name("an answer is on its way for ever: task", task);
  if (device.tasks[task] == Held::unknown) return {};
  if (server.chosen[task] != device.chosen[task])
    return name("they differ for ever about who chose: task", task);
  if (device.runs[task] > world.runs_asked[task])
    return name("ran in the end more often than somebody asked: task", task);
  if (world.restores > 0 || has_ended(device.tasks[task])) return {};
  // Nothing was put back, so nothing that was asked for may be lost.
  if (device.tasks[task] == Held::waiting &&
      device.runs[task] + server.refused_runs[task] != world.runs_asked[task])
    return name("a run that was asked for is lost: task", task);
  if (world.choices > 0 && bounds_.tasks == 1 && device.chosen[task] == Chosen::nobody)
    return name("an answer is lost: task", task);
  return {};
}

/// No more faults: messages flow. `work_ends` false: tasks run for ever, and only a cancel ends them.
std::string Explorer::wrong_at_last(World world, bool work_ends) {
  world.poll = {};
  world.post = {};
  auto asked = world.server.cancel_asked;
  for (std::size_t task = 0; task < kMostTasks; ++task)
    asked[task] |= world.server.tasks[task] == Shown::cancelled_alone;
  int rounds = 0;
  while (settle_once(world, work_ends))
    if (++rounds > 50) return "they never come to rest";
  for (std::size_t task = 0; task < kMostTasks; ++task) {
    const Shown shown = world.server.tasks[task];
    const Held held = world.device.tasks[task];
    if (world.starts[task] > 1) return name("started twice in the end: task", task);
    if (shown == Shown::unknown && held == Held::unknown) continue;
    if (std::string what = wrong_request(world, task); !what.empty()) return what;
    // Nobody chose: it waits.
    if (held == Held::waiting && !may_start(world, task) && !asked[task]) continue;
    if (!work_ends && !asked[task] && !has_ended(shown)) continue;
    if (!has_ended(shown))
      return name(work_ends ? "never ends: task" : "its cancel is forgotten: task", task);
    if (!agree(shown, held)) return name("they differ for ever about task", task);
  }
  return {};
}

std::string Explorer::wrong(const World& world) {
  std::string what = wrong_now(world);
  if (what.empty()) what = wrong_at_last(world, true);
  if (what.empty() && bounds_.cancels > 0) what = wrong_at_last(world, false);
  return what;
}

Exploration Explorer::run() {
  struct Seen {
    const std::string* before;  ///< key of the state from which it was reached
    std::string step;
  };
  std::unordered_map<std::string, Seen> seen;
  std::deque<std::pair<World, const std::string*>> open;
  const auto first = seen.emplace(Key(World{}).take(), Seen{nullptr, {}}).first;
  open.emplace_back(World{}, &first->first);
  while (!open.empty()) {
    const auto [world, key] = std::move(open.front());
    open.pop_front();
    for (auto& [step, next] : steps(world)) {
      const auto [found, is_new] = seen.emplace(Key(next).take(), Seen{key, {}});
      if (!is_new) continue;
      found->second.step = std::move(step);
      std::string what = wrong(next);
      if (!what.empty()) {
        Finding finding{std::move(what), {}};
        for (const Seen* at = &found->second; at->before != nullptr; at = &seen.at(*at->before))
          finding.story.insert(finding.story.begin(), at->step);
        return {seen.size(), std::move(finding)};
      }
      open.emplace_back(std::move(next), &found->first);
    }
  }
  return {seen.size(), std::nullopt};
}

}  // namespace agenttask::model
