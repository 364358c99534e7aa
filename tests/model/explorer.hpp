#pragma once
#include <string>
#include <utility>
#include <vector>

#include "tests/model/protocol.hpp"

namespace agenttask::model {

/// How far the exploration goes. All of it is tried in every order.
struct Bounds {
  int tasks = 1;        ///< enqueued by the operator
  int local_tasks = 0;  ///< created on the device
  int cancels = 1;
  bool questions = false;  ///< tasks wait until somebody chose
  int choices = 0;         ///< by operators
  int user_choices = 0;    ///< on the device
  int runs = 0;            ///< asked for by operators
  int kills = 0;           ///< of the agent
  int restores = 0;        ///< of the server's database
  int late_requests = 1;   ///< at once on their way with nobody waiting for the answer
};

/// One HTTPS connection for each stream: a request on its way, or its answer on the way back, or neither.
template <class Request>
struct Connection {
  std::optional<Request> request;
  std::optional<Answer> answer;
  std::vector<Request> late;  ///< requests that the device no longer waits for
  bool operator==(const Connection&) const = default;
};

struct World {
  Server server;
  Device device;
  Connection<Poll> poll;
  Connection<Batch> post;
  std::optional<Server> copy;  ///< of the database
  std::uint8_t enqueued = 0, created = 0, cancels = 0, kills = 0, restores = 0;
  std::uint8_t choices = 0, user_choices = 0, runs = 0;
  std::array<std::uint8_t, kMostTasks> starts{};
  std::array<std::uint8_t, kMostTasks> runs_asked{};
  std::array<Chosen, kMostTasks> chosen{};  ///< the answer that the device took first
};

struct Finding {
  std::string what;
  std::vector<std::string> story;  ///< the steps that lead there, a shortest one
};

struct Exploration {
  std::size_t states = 0;
  std::optional<Finding> finding;
};

/// Tries every order, breadth first, and checks every state; stops at the first finding.
class Explorer {
 public:
  Explorer(Parts parts, Bounds bounds)
      : parts_(parts), bounds_(bounds), protocol_(parts, bounds.questions || bounds.runs > 0) {}
  Exploration run();

 private:
  using Steps = std::vector<std::pair<std::string, World>>;
  Steps steps(const World& world);
  void operator_steps(const World& world, Steps& out);
  void request_steps(const World& world, Steps& out);
  [[nodiscard]] bool may_start(const World& world, std::size_t task) const;
  void device_steps(const World& world, Steps& out);
  void network_steps(const World& world, Steps& out);
  template <class Request, class Take>
  void connection_steps(const World& world, Connection<Request> World::*which, const char* what, Take take,
                        Steps& out);
  void fault_steps(const World& world, Steps& out);

  [[nodiscard]] bool may_be_late(const World& world) const;
  void kill_agent(World& world);

  std::string wrong(const World& world);
  std::string wrong_now(const World& world) const;
  std::string wrong_at_last(World world, bool work_ends);
  std::string wrong_request(const World& world, std::size_t task) const;
  bool settle_once(World& world, bool work_ends);

  Parts parts_;
  Bounds bounds_;
  Protocol protocol_;
};

}  // namespace agenttask::model
