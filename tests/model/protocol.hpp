#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

/// The two streams of docs/protocol.md as a state machine small enough to be tried in every order.
///
/// One server, one device, an operator, and what can go wrong between them: requests that are lost or arrive
/// late, answers that never arrive, an agent that is killed, a server whose database is put back to an
/// earlier copy. Both sides keep only what they keep on disk; the steps are their transactions. What a step
/// does here is what the product's code does in one transaction: whoever changes the protocol changes both.
namespace agenttask::model {

constexpr std::size_t kMostTasks = 3;

/// One part of the protocol each; switched off to see that the model notices.
struct Parts {
  bool offered_before_sent = true;      ///< the server leaves alone what it numbered
  bool numbered_when_offered = true;    ///< not already when it was queued
  bool chain = true;                    ///< a cursor is more than a number
  bool reports_cursor_in_poll = true;   ///< the server learns what it once acknowledged
  bool reports_follow_a_cursor = true;  ///< a batch says after which report it begins, and a gap is no batch
  bool cursor_with_message = true;      ///< the device commits both in one transaction
  bool start_before_work = true;        ///< the start is on disk before the work begins
  bool queued_again = true;             ///< a new epoch offers again what has not ended
  bool cancelled_again = true;          ///< and repeats the cancels that the server decided alone
  bool asked_again = true;              ///< and the cancels that it asked for without an answer
  bool snapshot = true;                 ///< a device in a new epoch reports all that it holds
  bool device_is_right = true;          ///< what a snapshot says stands, also about what ended
  bool first_answer_counts = true;      ///< the device takes one answer to a question
  bool requests_are_remembered = true;  ///< the device answers a request to run once, however often it comes
};

enum class Shown : std::uint8_t {  ///< what the server says about a task
  unknown,
  queued,
  offered,
  sent,
  running,
  complete,
  interrupted,
  cancelled,
  cancelled_alone,
};
enum class Held : std::uint8_t {  ///< what the device's ledger says about it
  unknown,
  waiting,
  started,
  complete,
  interrupted,
  cancelled,
};

/// A sequence number, and the chain up to there as a number that stands for the hash.
struct Position {
  std::uint8_t sequence = 0;
  std::uint16_t chain = 0;
  bool operator==(const Position&) const = default;
};

/// Who answered a task's question.
enum class Chosen : std::uint8_t { nobody, user, operator_ };

/// A directive or a report: what, about which task, and for reports what holds from now on.
struct Message {
  enum class Kind : std::uint8_t {
    task,
    cancel,  // directives
    state,
    snapshot,      // reports
    choose,        // a directive: the operator's answer
    run,           // a directive: once more
    refused,       // a report: the answer came too late, or the run (then with `runs`)
    snapshot_end,  // a report
    hole = state,  // a directive that was taken back although it had its number
  };
  Kind kind = Kind::task;
  std::uint8_t task = 0;
  Held state = Held::unknown;
  Chosen chosen = Chosen::nobody;
  std::uint8_t runs = 0;  ///< reports: extra runs so far; a run: which request it is
  bool operator==(const Message&) const = default;
};

struct Server {
  std::uint8_t epoch = 1;
  std::vector<Message> queued;   ///< not numbered yet
  Position acknowledged;         ///< of the directives
  std::vector<Message> offered;  ///< numbered, after `acknowledged`
  Position reports;              ///< all up to there are stored
  std::array<Shown, kMostTasks> tasks{};
  std::array<bool, kMostTasks> cancel_asked{};
  bool snapshot = true;  ///< the one that this epoch began with is not complete
  std::array<Chosen, kMostTasks> chosen{};
  std::array<bool, kMostTasks> choice_asked{};
  std::array<std::uint8_t, kMostTasks> refused_runs{};
  bool operator==(const Server&) const = default;
};

struct Device {
  std::uint8_t epoch = 0;
  Position directives;
  Position reported;            ///< acknowledged by the server
  std::vector<Message> outbox;  ///< reports after `reported`
  std::array<Held, kMostTasks> tasks{};
  std::array<bool, kMostTasks> working{};  ///< its process is alive; the only thing that a kill takes
  std::array<Chosen, kMostTasks> chosen{};
  std::array<std::uint8_t, kMostTasks> runs{};      ///< extra ones
  std::array<std::uint8_t, kMostTasks> requests{};  ///< those that were answered: bits
  bool operator==(const Device&) const = default;
};

struct Poll {
  std::uint8_t epoch = 0;
  Position directives;
  Position reports;
  bool operator==(const Poll&) const = default;
};

struct Batch {
  std::uint8_t epoch = 0;
  Position after;
  std::vector<Message> reports;
  bool operator==(const Batch&) const = default;
};

struct Answer {  ///< to either of them
  std::uint8_t epoch = 0;
  bool resync = false;
  std::uint8_t first = 0;  ///< sequence of the first directive
  std::vector<Message> directives = {};
  Position reports = {};
  bool operator==(const Answer&) const = default;
};

/// Whether it never changes again.
[[nodiscard]] constexpr bool has_ended(Shown shown) {
  return shown >= Shown::complete;
}
[[nodiscard]] constexpr bool has_ended(Held held) {
  return held >= Held::complete;
}
/// Whether both sides say the same about a task that ended.
[[nodiscard]] bool agree(Shown shown, Held held);

/// What each side does, one transaction a call.
class Protocol {
 public:
  /// `requests`: operators also choose and ask for runs.
  Protocol(Parts parts, bool requests) : parts_(parts), requests_(requests) {}

  // the operator
  void enqueue(Server& server, std::uint8_t task);
  void cancel(Server& server, std::uint8_t task);
  void choose(Server& server, std::uint8_t task);
  /// False: one that was asked for is still on its way.
  bool run(Server& server, std::uint8_t task, std::uint8_t request);

  // the server
  Answer take_poll(Server& server, const Poll& poll);
  Answer take_batch(Server& server, const Batch& batch);

  // the device
  void create(Device& device, std::uint8_t task) { report(device, task, Held::waiting); }
  void choose(Device& device, std::uint8_t task);  ///< somebody there
  void start(Device& device, std::uint8_t task);
  void finish(Device& device, std::uint8_t task);
  void kill(Device& device);
  void take_answer(Device& device, const Answer& answer);
  /// Killed between two commits that the protocol wants to be one.
  void take_cursor_alone(Device& device, const Answer& answer) {
    device.directives = advance(device.directives, answer.directives);
  }

 private:
  Position advance(Position position, const Message& message);
  Position advance(Position position, const std::vector<Message>& messages);
  bool same(Position left, Position right) const;

  void queue(Server& server, Message message);
  void offer(Server& server);
  void open_epoch(Server& server, std::uint8_t above);
  bool knows(const Server& server, Position directives);
  void take_report(Server& server, const Message& report);
  static bool is_waiting(const Server& server, Message::Kind kind, std::uint8_t task);
  void end_snapshot(Server& server);

  void report(Device& device, std::uint8_t task, Held state, Message::Kind kind = Message::Kind::state);
  void take_directive(Device& device, const Message& directive);
  void take_directives(Device& device, const Answer& answer);
  void take_stored(Device& device, Position stored);
  void adopt(Device& device, std::uint8_t epoch);

  Parts parts_;
  bool requests_;
  std::map<std::pair<std::uint16_t, std::uint16_t>, std::uint16_t>
      chains_;  ///< (chain, message) -> longer chain
};

}  // namespace agenttask::model
