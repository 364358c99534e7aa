// SEND_REMINDER: a one-time task that posts a reminder to its room.
//
//     agenttask add SEND_REMINDER --room team --at +1h --data '{"userId":"ann","reminder":"Call Bob"}'
//
// A one-time task ends by itself when it has run, and stays readable. This one also deletes itself, so that
// lists show only the reminders to come.
#include <agenttask/worker.hpp>
#include <string>

namespace {

using agenttask::worker::Context;
using agenttask::worker::Json;
using agenttask::worker::Validity;

class Reminder : public agenttask::worker::TaskWorker {
 public:
  std::string type() const override { return "SEND_REMINDER"; }

  Validity validate(const Json& task) override {
    if (task.value("roomId", "").empty()) return Validity::not_now("it has no room to remind anybody in");
    return true;
  }

  Json execute(Context& context, const Json& options, const Json& task) override {
    const std::string user = options.at("userId").get<std::string>();
    const std::string reminder = options.at("reminder").get<std::string>();
    context.create_message({{"text", "Reminder for <@" + user + ">: " + reminder}});
    context.delete_task(task.at("id").get<std::string>());
    return {{"reminded", user}};
  }
};

}  // namespace

int main() {
  return agenttask::worker::run<Reminder>();
}
