#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "platform/base/log.hpp"

namespace agenttask::server {

/// Why a report was not applied, or not as it said.
enum class ReportTrouble : std::uint8_t {
  foreign,        ///< about a task of another node
  unknown_task,   ///< about one that the server does not know
  no_room,        ///< the device has made the server keep as much as it may
  contradiction,  ///< it contradicts what is known
  unreadable,     ///< this version cannot read it
  refused,        ///< it says that the device could not apply a directive
};

/// Counts the troubles of one batch: a line of the log for each kind, however much there was of it.
class ReportTroubles {
 public:
  void count(ReportTrouble trouble, const std::string& example);
  [[nodiscard]] bool any() const;
  void log(Logger& logger, const std::string& node_id) const;

 private:
  struct Count {
    int number = 0;
    std::string first;  ///< the example of the first
  };
  std::array<Count, 6> counts_;
};

}  // namespace agenttask::server
