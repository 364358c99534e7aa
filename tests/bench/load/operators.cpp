#include "tests/bench/load/operators.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace agenttask::bench {
namespace {

using nlohmann::json;

constexpr std::size_t kWaiting = 8;  // connections that wait for results

std::string authorization(const OperatorSurroundings& surroundings) {
  return "Authorization: Bearer " + surroundings.token + "\r\n";
}

std::string replace_number(std::string text, std::int64_t number) {
  if (const auto at = text.find("$N"); at != std::string::npos) text.replace(at, 2, std::to_string(number));
  return text;
}

std::string post_text(const OperatorSurroundings& surroundings, const Order& order, std::int64_t number) {
  const auto& node = order.nodes[static_cast<std::size_t>(number) % order.nodes.size()];
  return request_text(
      "POST", "/v1/nodes/" + node + "/tasks", authorization(surroundings),
      R"({"type":")" + order.type + R"(","data":)" + replace_number(order.data, number) + "}");
}

std::string wait_text(const OperatorSurroundings& surroundings, const std::string& id) {
  return request_text("GET", "/v1/tasks/" + id + "?wait=55000", authorization(surroundings), {});
}

std::string text_of(const Answer& answer, const char* name) {
  const auto read = json::parse(answer.body, nullptr, false);
  return read.is_object() ? read.value(name, std::string()) : std::string();
}

std::string problem_of(const Answer& answer) {
  return answer.status == 0 ? answer.problem
                            : "status " + std::to_string(answer.status) + ": " + answer.body.substr(0, 200);
}

std::unique_ptr<HttpsConnection> connect(OperatorSurroundings& surroundings) {
  return std::make_unique<HttpsConnection>(surroundings.loop, surroundings.tls, surroundings.port,
                                           &surroundings.identity, surroundings.handshakes);
}

}  // namespace

EnqueueJob::EnqueueJob(OperatorSurroundings& surroundings, Plan plan)
    : surroundings_(surroundings), plan_(std::move(plan)) {}

void EnqueueJob::start(JobDone done) {
  done_ = std::move(done);
  begun_ = now();
  for (std::size_t i = 0; i < std::max<std::size_t>(plan_.connections, 1); ++i) {
    connections_.push_back(connect(surroundings_));
    ++open_;
  }
  for (const auto& connection : connections_) post(*connection);
}

bool EnqueueJob::over() const {
  return (plan_.tasks > 0 && number_ >= plan_.tasks) ||
         (plan_.time.count() > 0 && now() - begun_ >= plan_.time);
}

void EnqueueJob::post(HttpsConnection& connection) {
  if (over()) {
    if (--open_ > 0) return;
    const double seconds = seconds_between(begun_, now());
    return std::exchange(done_, {})({{"accepted", accepted_},
                                     {"posted", number_},
                                     {"seconds", seconds},
                                     {"problems", problems_},
                                     {"latency", samples_.to_json()}});
  }
  connection.send(post_text(surroundings_, plan_.order, number_++),
                  [self = shared_from_this(), &connection, begin = now()](const Answer& answer) {
                    self->posted(connection, begin, answer);
                  });
}

void EnqueueJob::posted(HttpsConnection& connection, Time begin, const Answer& answer) {
  if (answer.status == 201) {
    ++accepted_;
    samples_.add(begin, now());
    if (plan_.keep_ids) ids_.push_back(text_of(answer, "id"));
  } else {
    ++problems_[problem_of(answer)];
  }
  post(connection);
}

LatencyJob::LatencyJob(OperatorSurroundings& surroundings, Fleet& fleet, Plan plan)
    : surroundings_(surroundings),
      fleet_(fleet),
      plan_(std::move(plan)),
      connection_(surroundings.loop, surroundings.tls, surroundings.port, &surroundings.identity,
                  surroundings.handshakes) {}

void LatencyJob::start(JobDone done) {
  done_ = std::move(done);
  if (!plan_.to_result) {
    fleet_.on_delivered([self = shared_from_this()](const TaskSpec&, Time time) { self->delivered(time); });
  }
  next();
}

void LatencyJob::next() {
  if (number_ == plan_.warm_up + plan_.tasks) return finish();
  // Accepted, and either delivered or ended; the two may come in any order.
  parts_left_ = 2;
  auto text = post_text(surroundings_, plan_.order, number_++);
  begun_ = now();
  connection_.send(std::move(text),
                   [self = shared_from_this()](const Answer& answer) { self->accepted(answer); });
}

void LatencyJob::accepted(const Answer& answer) {
  if (answer.status != 201) {
    ++problems_[problem_of(answer)];
    return finish();
  }
  if (number_ > plan_.warm_up) acceptance_.add(begun_, now());
  if (plan_.to_result) {
    connection_.send(wait_text(surroundings_, text_of(answer, "id")),
                     [self = shared_from_this()](const Answer& later) { self->ended(later); });
  }
  one_more_part();
}

void LatencyJob::delivered(Time time) {
  if (number_ > plan_.warm_up) delivery_.add(begun_, time);
  one_more_part();
}

void LatencyJob::ended(const Answer& answer) {
  if (number_ > plan_.warm_up) result_.add(begun_, now());
  if (const auto status = text_of(answer, "status"); status != "complete") {
    ++problems_[answer.status == 200 ? "the task is " + status : problem_of(answer)];
  }
  one_more_part();
}

void LatencyJob::one_more_part() {
  if (--parts_left_ > 0 || !done_) return;
  surroundings_.loop.after(plan_.pause, [self = shared_from_this()] { self->next(); });
}

void LatencyJob::finish() {
  fleet_.on_delivered({});
  if (auto done = std::exchange(done_, {})) {
    done({{"acceptance", acceptance_.to_json()},
          {plan_.to_result ? "result" : "delivery", (plan_.to_result ? result_ : delivery_).to_json()},
          {"problems", problems_}});
  }
}

PipelineJob::PipelineJob(OperatorSurroundings& surroundings, EnqueueJob::Plan plan)
    : surroundings_(surroundings), enqueue_([&] {
        plan.keep_ids = true;
        return std::make_shared<EnqueueJob>(surroundings, std::move(plan));
      }()) {}

void PipelineJob::start(JobDone done) {
  done_ = std::move(done);
  enqueue_->start([self = shared_from_this()](const json& posted) {
    for (const auto& [what, count] : posted["problems"].items())
      self->others_[what] += count.get<std::int64_t>();
    for (std::size_t i = 0; i < kWaiting; ++i) self->connections_.push_back(connect(self->surroundings_));
    if (self->enqueue_->ids().empty()) return self->finish();
    for (const auto& connection : self->connections_) self->ask(*connection);
  });
}

void PipelineJob::ask(HttpsConnection& connection) {
  if (next_ == enqueue_->ids().size()) return;
  connection.send(
      wait_text(surroundings_, enqueue_->ids()[next_++]),
      [self = shared_from_this(), &connection](const Answer& answer) { self->answered(connection, answer); });
}

void PipelineJob::answered(HttpsConnection& connection, const Answer& answer) {
  if (const auto status = text_of(answer, "status"); status == "complete") {
    ++complete_;
  } else {
    ++others_[answer.status == 200 ? "the task is " + status : problem_of(answer)];
  }
  if (++answered_ == enqueue_->ids().size()) return finish();
  ask(connection);
}

void PipelineJob::finish() {
  const double seconds = seconds_between(enqueue_->begun(), now());
  std::exchange(done_, {})({{"accepted", enqueue_->ids().size()},
                            {"complete", complete_},
                            {"problems", others_},
                            {"seconds", seconds}});
}

}  // namespace agenttask::bench
