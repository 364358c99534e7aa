#pragma once
#include <string>
#include <string_view>
#include <thread>

#include "platform/os/windows/handle.hpp"

namespace agenttask::os {

/// How a line of a log reads: by the level in it (`TIME warning …`, or JSON's "level"). What has no level is
/// what programs say before they give up.
enum class LineWeight { unimportant, warning, error };
[[nodiscard]] LineWeight weigh(std::string_view line);

/// Takes what this process writes to standard error, as journald does elsewhere, and puts warnings and errors
/// into the Application log of the machine, under the source AgentTask. Other lines are nobody's: a service
/// has no screen. A line of more than 16 KiB is cut. Restores standard error when it goes, after the last
/// line is written. Private to platform/os/windows. One at a time.
class EventLog {
 public:
  EventLog();
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

 private:
  void read_lines();
  void write(std::string_view line) const;

  int before_ = -1;  ///< where standard error went
  int lines_ = -1;   ///< our end
  void* source_ = nullptr;
  std::jthread reader_;
};

}  // namespace agenttask::os
