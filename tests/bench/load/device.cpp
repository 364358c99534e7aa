#include "tests/bench/load/device.hpp"

#include <algorithm>
#include <utility>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"
#include "platform/protocol/limits.hpp"

namespace agenttask::bench {
namespace {

constexpr Milliseconds kFirstRetry{5'000};  // as in agent/sync
constexpr Milliseconds kLongestRetry{300'000};
constexpr Milliseconds kShortestPoll{1'000};

UnixMilliseconds wall() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

}  // namespace

Device::Device(DeviceSurroundings& surroundings, std::string node, std::string name, TlsIdentity identity)
    : surroundings_(surroundings),
      node_(std::move(node)),
      name_(std::move(name)),
      incarnation_(hex_encode(random_bytes(16))),
      identity_(std::move(identity)),
      polls_(surroundings.loop, surroundings.tls, surroundings.port, &identity_, surroundings.handshakes),
      backoff_(kFirstRetry, kLongestRetry, random_fraction) {
  polls_.on_lost([this] {
    if (wanted_) failed({0, {}, "the server ended a connection that was kept"});
  });
}

void Device::hold() {
  wanted_ = true;
  polls_.use_port(surroundings_.port);
  if (surroundings_.mute) {
    poll_mutely();
  } else {
    poll();
  }
}

void Device::drop(bool forget) {
  wanted_ = answered_ = holding_ = reporting_ = false;
  ++life_;
  polls_.close();
  reports_.reset();
  if (forget) identity_.session.reset();
}

void Device::poll() {
  PollRequest request;
  request.protocol = protocol_version();
  request.version = "0.1.0";
  request.platform = "linux-x86_64";
  request.name = name_;
  request.epoch = epoch_;
  request.directives = directives_;
  request.reports = acknowledged_;
  request.incarnation = incarnation_;
  // The first is not held, as the agent's: it is known at once whether the server is there.
  request.wait = answered_ ? surroundings_.wait : 0;
  request.time = wall();
  std::function<void()> sent;
  if (answered_ && !holding_) {
    sent = while_here([this] {
      holding_ = true;
      surroundings_.watcher.holds(*this);
    });
  }
  polls_.send(request_text("POST", "/v1/device/poll", {}, encode(request)),
              while_here([this, begin = now()](const Answer& answer) { polled(answer, begin); }),
              std::move(sent));
}

void Device::poll_mutely() {
  polls_.send(request_text("POST", "/v1/device/poll", {}, "{}"),
              while_here([](const Answer&) {}),  // what it is answered, if anything, is no matter
              while_here([this] {
                holding_ = true;
                surroundings_.watcher.holds(*this);
              }));
}

void Device::polled(const Answer& answer, Time sent) {
  if (answer.status != 200) return failed(answer);
  const Time arrived = now();
  const auto read = decode_poll_answer(answer.body);
  if (!read) {
    surroundings_.watcher.wrong(*this, read.error().message);
    return failed(answer);
  }
  if (!read->quarantined.empty()) surroundings_.watcher.wrong(*this, "it was put in quarantine");
  if (read->resync) {
    begin_epoch(read->epoch);
    queue({0, SnapshotEndReport{0}});
    return send_reports(polls_, true);
  }
  const bool held = std::exchange(answered_, true);
  backoff_.reset();
  if (!take(*read, arrived)) return failed(answer);
  const bool early = read->lines.empty() && held && arrived - sent < kShortestPoll;
  if (early) {
    if (std::exchange(holding_, false)) surroundings_.watcher.released(*this);
    poll_after(kShortestPoll / 2 + Milliseconds(static_cast<std::int64_t>(random_fraction() * 1000)));
  } else {
    poll();
  }
  if (!outbox_.empty()) send_reports(reports_connection(), false);
}

void Device::begin_epoch(std::int64_t epoch) {
  epoch_ = epoch;
  directives_ = acknowledged_ = newest_ = {};
  outbox_.clear();
}

/// False where it is not what follows: nothing of it counts then.
bool Device::take(const PollAnswer& answer, Time time) {
  if (answer.lines.empty()) return true;
  if (!answer.after || *answer.after != directives_) {
    surroundings_.watcher.wrong(*this, "directives that do not follow what came before");
    return false;
  }
  for (const auto& line : answer.lines) {
    auto directive = decode_directive(line);
    directives_ = agenttask::advance(directives_, line);
    if (!directive || directive->sequence != directives_.sequence) {
      surroundings_.watcher.wrong(*this, "a directive without its number");
      continue;
    }
    if (auto* task = std::get_if<TaskDirective>(&directive->body)) {
      surroundings_.watcher.delivered(*this, task->spec, time);
      run(task->spec, task->add_time);
    }
  }
  return true;
}

void Device::run(const TaskSpec& task, UnixMilliseconds add_time) {
  const UnixMilliseconds time = wall();
  queue({0, StartedReport{task.id, 1, time}});
  EndedReport end;
  end.task_id = task.id;
  end.run =
      Run{task.id, 1, RunStatus::complete, {}, time, time, R"({"success":true,"data":)" + task.data + "}"};
  end.state.status = TaskStatus::complete;
  end.state.add_time = add_time;
  end.state.start_time = end.state.end_time = time;
  end.state.updated_at = time;
  end.state.run_count = 1;
  queue({0, std::move(end)});
}

void Device::queue(Report report) {
  report.sequence = newest_.sequence + 1;
  const bool is_end = std::holds_alternative<EndedReport>(report.body);
  outbox_.push_back({encode(report), is_end});
  newest_ = agenttask::advance(newest_, outbox_.back().line);
}

HttpsConnection& Device::reports_connection() {
  if (!reports_) {
    reports_ = std::make_unique<HttpsConnection>(surroundings_.loop, surroundings_.tls, surroundings_.port,
                                                 &identity_, surroundings_.handshakes);
  }
  return *reports_;
}

void Device::send_reports(HttpsConnection& over, bool poll_afterwards) {
  if (std::exchange(reporting_, true)) return;
  ReportBatch batch{protocol_version(), epoch_, incarnation_, acknowledged_, {}};
  Cursor end = acknowledged_;
  const std::size_t count = std::min<std::size_t>(outbox_.size(), limits::kReportsInPost);
  for (std::size_t i = 0; i < count; ++i) {
    end = agenttask::advance(end, outbox_[i].line);
    batch.lines.push_back(outbox_[i].line);
  }
  over.send(request_text("POST", "/v1/device/reports", {}, encode(batch)),
            while_here([this, end, count, poll_afterwards](const Answer& answer) {
              reported(answer, end, count, poll_afterwards);
            }));
}

void Device::reported(const Answer& answer, const Cursor& end, std::size_t lines, bool poll_afterwards) {
  reporting_ = false;
  if (answer.status != 200) return failed(answer);
  const auto read = decode_report_answer(answer.body);
  if (!read || read->resync || read->reports != end) {
    surroundings_.watcher.wrong(*this, "reports were not taken as they were sent");
    return failed(answer);
  }
  acknowledged_ = end;
  const auto done = outbox_.begin() + static_cast<std::ptrdiff_t>(lines);
  const auto ends = std::count_if(outbox_.begin(), done, [](const Waiting& one) { return one.is_end; });
  outbox_.erase(outbox_.begin(), done);
  if (ends > 0) surroundings_.watcher.stored(*this, ends);
  if (poll_afterwards) {
    poll();
  } else if (!outbox_.empty()) {
    send_reports(reports_connection(), false);
  }
}

/// The server is away or busy: later again, as agents do. Whatever was under way is asked anew.
void Device::failed(const Answer& answer) {
  ++life_;
  answered_ = reporting_ = false;
  const bool held = std::exchange(holding_, false);
  polls_.close();
  reports_.reset();
  surroundings_.watcher.lost(*this, answer, held);
  if (wanted_ && !surroundings_.mute) poll_after(backoff_.next());
}

void Device::poll_after(Milliseconds time) {
  surroundings_.loop.after(time, while_here([this] { poll(); }));
}

}  // namespace agenttask::bench
