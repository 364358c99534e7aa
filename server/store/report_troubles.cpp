#include "server/store/report_troubles.hpp"

#include <algorithm>
#include <string_view>

namespace agenttask::server {
namespace {

/// In the order of ReportTrouble.
constexpr std::array<std::string_view, 6> kWhat{
    "refused reports about tasks of another node",
    "kept reports about unknown tasks",
    "passed reports, as this device has made the server keep as much as it may",
    "passed reports that contradict what is known",
    "passed reports that this version cannot read",
    "a device could not apply directives",
};

}  // namespace

void ReportTroubles::count(ReportTrouble trouble, const std::string& example) {
  Count& count = counts_.at(static_cast<std::size_t>(trouble));
  if (count.number++ == 0) count.first = example;
}

bool ReportTroubles::any() const {
  return std::any_of(counts_.begin(), counts_.end(), [](const Count& count) { return count.number > 0; });
}

void ReportTroubles::log(Logger& logger, const std::string& node_id) const {
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    const auto& [number, first] = counts_.at(i);
    if (number > 0) logger.warning(kWhat.at(i), {{"node", node_id}, {"count", number}, {"first", first}});
  }
}

}  // namespace agenttask::server
