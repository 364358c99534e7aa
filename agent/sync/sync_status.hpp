#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/ledger/ledger_types.hpp"
#include "platform/base/clock.hpp"

namespace agenttask::agent {

enum class LinkState : std::uint8_t {
  not_enrolled,  ///< no server: everything local works
  enrolling,     ///< a token waits for its server
  connecting,    ///< enrolled, and no answer yet since the start
  connected,     ///< the last exchange succeeded
  disconnected,  ///< the last one failed; tried again by itself
  refused,  ///< the server knows us no more, or speaks another protocol: tried again slowly; or it does not
            ///< take the enrolment token: not tried again
};
[[nodiscard]] std::string_view to_string(LinkState state);  ///< `not-enrolled`

/// A wish to enrol that was not granted yet.
struct EnrollmentStatus {
  std::string url = {};
  std::string error = {};  ///< of the last attempt; empty before the first has ended
  bool refused = false;    ///< for good: another token is needed
};

/// How the link to the server is doing, for `agenttask status` and `doctor`. Times are of this device's wall
/// clock.
struct SyncStatus {
  LinkState state = LinkState::not_enrolled;
  std::string url;  ///< of the server we are enrolled with, or want to be
  std::string node_id;
  std::string name;
  std::optional<UnixMilliseconds> last_contact;  ///< the last answer
  std::string last_error;                        ///< empty while all is well
  std::string last_error_code;                   ///< stable: `cannot-resolve`, or the problem's code
  std::optional<UnixMilliseconds> last_error_time;
  std::optional<UnixMilliseconds> next_attempt;      ///< while it is disconnected or refused
  std::optional<DurationMilliseconds> clock_offset;  ///< this device's clock minus the server's
  std::optional<UnixMilliseconds> certificate_expires;
  DurationMilliseconds poll_interval = 0;      ///< 0: long poll
  std::optional<EnrollmentStatus> enrollment;  ///< besides a server that we may belong to already
  std::optional<AdoptedNode> former;           ///< since the agent's start the device became another node
};

/// As a JSON object: `state`, `url`, `nodeId`, `name`, `lastContact`, `lastError`, `lastErrorCode`,
/// `lastErrorTime`, `nextAttempt`, `clockOffset`, `certificateExpires`, `pollInterval`, `enrolled`,
/// `enrollment`: `{url, error, refused}`, `formerNode`: `{nodeId, cancelled, running, unreported}`. What is
/// not known is left out.
[[nodiscard]] std::string to_json(const SyncStatus& status);

}  // namespace agenttask::agent
