#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "tests/bench/load/fleet.hpp"
#include "tests/bench/load/https_connection.hpp"
#include "tests/bench/load/samples.hpp"

namespace agenttask::bench {

/// Where operators call, and as whom. All outlives the jobs.
struct OperatorSurroundings {
  EventLoop& loop;
  const TlsClient& tls;
  std::uint16_t port = 0;
  std::string token;
  Handshakes handshakes{};
  /// A session for all operators' connections: what they cost at their beginning is not measured here.
  TlsIdentity identity{};
};

/// What is asked for: a task of `type` with `data`, where $N stands for its number.
struct Order {
  std::vector<std::string> nodes;  ///< in turn
  std::string type = "echo";
  std::string data = R"({"message":"$N"})";
};

using JobDone = std::function<void(nlohmann::json)>;

/// Many connections, each posts one task after another, until so many were posted or the time is over.
class EnqueueJob : public std::enable_shared_from_this<EnqueueJob> {
 public:
  struct Plan {
    Order order;
    std::size_t connections = 1;
    std::int64_t tasks = 0;  ///< 0: as many as the time allows
    Milliseconds time{0};    ///< 0: as long as the tasks take
    bool keep_ids = false;   ///< for whoever asks what became of them
  };
  EnqueueJob(OperatorSurroundings& surroundings, Plan plan);
  void start(JobDone done);

  [[nodiscard]] const std::vector<std::string>& ids() const { return ids_; }
  [[nodiscard]] Time begun() const { return begun_; }

 private:
  void post(HttpsConnection& connection);
  void posted(HttpsConnection& connection, Time begin, const Answer& answer);
  [[nodiscard]] bool over() const;

  OperatorSurroundings& surroundings_;
  Plan plan_;
  JobDone done_;
  std::vector<std::unique_ptr<HttpsConnection>> connections_;
  std::vector<std::string> ids_;
  Samples samples_;
  Time begun_{};
  std::int64_t number_ = 0;
  std::int64_t accepted_ = 0;
  std::size_t open_ = 0;
  std::map<std::string, std::int64_t> problems_;
};

/// One task after another: how long until it is accepted, until it reaches the device, and until its result
/// is visible to the operator who waits for it.
class LatencyJob : public std::enable_shared_from_this<LatencyJob> {
 public:
  struct Plan {
    Order order;
    std::int64_t tasks = 100;
    std::int64_t warm_up = 10;  ///< tasks that are not counted
    Milliseconds pause{0};
    bool to_result = false;  ///< else until it is delivered to a device of `fleet`
  };
  LatencyJob(OperatorSurroundings& surroundings, Fleet& fleet, Plan plan);
  void start(JobDone done);

 private:
  void next();
  void accepted(const Answer& answer);
  void delivered(Time time);
  void ended(const Answer& answer);
  void one_more_part();
  void finish();

  OperatorSurroundings& surroundings_;
  Fleet& fleet_;
  Plan plan_;
  JobDone done_;
  HttpsConnection connection_;
  Samples acceptance_;
  Samples delivery_;
  Samples result_;
  Time begun_{};
  std::int64_t number_ = 0;
  int parts_left_ = 0;
  std::map<std::string, std::int64_t> problems_;
};

/// Posts tasks over many connections, then waits for the result of each: nothing waits for the one before it.
class PipelineJob : public std::enable_shared_from_this<PipelineJob> {
 public:
  PipelineJob(OperatorSurroundings& surroundings, EnqueueJob::Plan plan);
  void start(JobDone done);

 private:
  void ask(HttpsConnection& connection);
  void answered(HttpsConnection& connection, const Answer& answer);
  void finish();

  OperatorSurroundings& surroundings_;
  std::shared_ptr<EnqueueJob> enqueue_;
  JobDone done_;
  std::vector<std::unique_ptr<HttpsConnection>> connections_;
  std::size_t next_ = 0;
  std::size_t answered_ = 0;
  std::int64_t complete_ = 0;
  std::map<std::string, std::int64_t> others_;
};

}  // namespace agenttask::bench
