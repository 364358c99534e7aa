#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "agent/console/screen.hpp"
#include "platform/base/clock.hpp"
#include "platform/net/http_client.hpp"
#include "platform/os/paths.hpp"

/// The links that `agenttask doctor` tests, one check each.
namespace agenttask::console {

enum class Verdict : std::uint8_t {
  good,
  note,     ///< worth knowing, nothing wrong
  warning,  ///< works, but not for long or not well
  failed,
  skipped,  ///< could not be tested; `finding` says why
};
[[nodiscard]] std::string_view to_string(Verdict verdict);

struct Check {
  std::string name;
  Verdict verdict = Verdict::good;
  std::string finding;
  std::string remedy = {};  ///< what to do; empty where nothing is wrong
};

[[nodiscard]] std::string render_checks(const std::vector<Check>& checks, const Screen& screen);
[[nodiscard]] std::string encode_checks(const std::vector<Check>& checks);
[[nodiscard]] bool any_failed(const std::vector<Check>& checks);

/// The files of the agent: state folder, ledger, disk space.
[[nodiscard]] std::vector<Check> check_files(const os::Folders& folders);
/// What the agent says of itself: ledger, policy, hold, outbox. `diagnostics`: its answer.
[[nodiscard]] std::vector<Check> check_agent(const nlohmann::json& diagnostics);
/// The policy file, where no agent can be asked.
[[nodiscard]] Check check_policy_file(const os::Folders& folders);

/// How the device stands with its server, from the agent's answer or from its files.
struct Membership {
  bool known = true;  ///< false where neither agent nor files could be asked
  std::string url;    ///< empty: not enrolled, nor does it want to be
  bool enrolled = false;
  std::string name;
  std::string link_state;  ///< connected, …; empty where no agent can be asked
  std::string last_error;
  std::string authority_pem;  ///< empty where the files can't be read
  std::optional<UnixMilliseconds> certificate_expires;
  std::optional<DurationMilliseconds> clock_offset;
  bool proxy = false;  ///< the agent goes through a proxy, which we don't know
  net::TlsVersion tls_minimum = net::TlsVersion::tls_1_3;
};
/// Either may be missing: the agent's answer, or files that we may read.
[[nodiscard]] Membership membership_of(const nlohmann::json* diagnostics, const os::Folders& folders);

/// Enrolment, certificate, clock.
[[nodiscard]] std::vector<Check> check_membership(const Membership& membership, UnixMilliseconds now);
/// The way to the server, link by link: name resolution, TCP, TLS, /healthz.
[[nodiscard]] std::vector<Check> check_route(const Membership& membership);
/// The same, from the answer to one request: a failure says which link broke, those before it are sound.
[[nodiscard]] std::vector<Check> judge_route(const std::string& url, const net::HttpResult& result);

}  // namespace agenttask::console
