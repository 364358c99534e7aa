#include "agent/console/checks.hpp"

#include <algorithm>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "agent/console/agent_files.hpp"
#include "agent/console/health.hpp"
#include "agent/console/json_access.hpp"
#include "agent/console/table.hpp"
#include "agent/console/text.hpp"
#include "agent/console/time_text.hpp"
#include "platform/net/certificate.hpp"
#include "platform/os/host.hpp"
#include "platform/os/secure_file.hpp"
#include "platform/protocol/json.hpp"

namespace agenttask::console {
namespace {

using nlohmann::json;

Color color_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::good:
      return Color::good;
    case Verdict::warning:
      return Color::busy;
    case Verdict::failed:
      return Color::bad;
    case Verdict::note:
    case Verdict::skipped:
      return Color::faint;
  }
  return Color::none;
}

Check check_state_folder(const os::Folders& folders) {
  const auto looked = look_at_folder(folders.state);
  if (looked) return {"state folder", Verdict::good, folders.state.string()};
  const Error& error = looked.error();
  if (error.code == ErrorCode::denied) return {"state folder", Verdict::skipped, error.message};
  return {"state folder", Verdict::failed, error.message,
          "start agenttaskd once, which makes it; or name the right folder with --state-dir"};
}

Check check_ledger_file(const os::Folders& folders) {
  const auto ledger = look_at_ledger(folders);
  if (!ledger) {
    if (ledger.error().code == ErrorCode::denied) {
      return {"ledger file", Verdict::skipped, ledger.error().message};
    }
    return {"ledger file", Verdict::failed, ledger.error().message, "start agenttaskd once, which makes it"};
  }
  const std::string file = (folders.state / kLedgerFile).string();
  if (!ledger->is_database) {
    return {"ledger file", Verdict::failed, file + " is no database",
            "save what can be read of it with: agenttaskd ledger salvage"};
  }
  return {"ledger file", Verdict::good, file + ", " + format_bytes(static_cast<std::int64_t>(ledger->bytes))};
}

Check check_disk(const os::Folders& folders) {
  constexpr std::uint64_t kFew = 512ULL * 1024 * 1024;
  constexpr std::uint64_t kTooFew = 32ULL * 1024 * 1024;
  const auto free = os::free_disk_bytes(folders.state);
  if (!free) return {"disk space", Verdict::skipped, free.error().message};
  const std::string finding = format_bytes(static_cast<std::int64_t>(*free)) + " free";
  const std::string remedy = "make room on the file system of " + folders.state.string();
  if (*free < kTooFew) return {"disk space", Verdict::failed, finding, remedy};
  if (*free < kFew) return {"disk space", Verdict::warning, finding, remedy};
  return {"disk space", Verdict::good, finding};
}

/// What came of the agent's own last exchange with the server.
Check check_contact(const Membership& membership) {
  const std::string& state = membership.link_state;
  if (state == "connected") return {"contact", Verdict::good, "the agent and the server are in touch"};
  const std::string finding = state + (membership.last_error.empty() ? "" : ": " + membership.last_error);
  if (state == "refused") {
    return {"contact", Verdict::failed, finding,
            "if the device shall still belong to the server, enrol it again: agenttask enroll URL TOKEN"};
  }
  if (state == "connecting" && membership.last_error.empty()) return {"contact", Verdict::note, finding};
  return {"contact", Verdict::failed, finding,
          "the agent tries again by itself; see below which link is broken"};
}

Check check_policy(const json& diagnostics) {
  const std::string policy = text_of(diagnostics, "policy");
  const std::string file = text_of(diagnostics, "policyFile");
  if (policy.empty()) return {"policy", Verdict::skipped, "the agent does not say"};
  if (policy == "none") return {"policy", Verdict::good, "no policy file: everything may run"};
  if (policy == "in force") return {"policy", Verdict::good, file + " is in force"};
  return {"policy", Verdict::failed, "everything is refused: " + policy,
          "repair " + file + ", then reload: kill -HUP of agenttaskd, or systemctl reload agenttask"};
}

/// Which command, or what else, mends it.
std::string ledger_remedy(const std::string& code) {
  if (code == "invalid") return "put the right file in its place, or as root: agenttaskd ledger reset";
  if (code == "corrupt")
    return "as root: agenttaskd ledger salvage (docs/recovery.md); the agent goes on by itself";
  if (code == "newer") return "install the newer version of agenttaskd again: it goes on with this ledger";
  if (code == "denied")
    return "give the agent the right to write its state folder; work starts again by itself";
  return "make room on the disk, or repair the file system; work starts again by itself";
}

Check check_containment(const json& containment) {
  if (text_of(containment, "by") == "control-groups") {
    return {"containment", Verdict::good,
            "each run has a control group in " + text_of(containment, "folder")};
  }
  if (text_of(containment, "by") == "job-objects")
    return {"containment", Verdict::good, "each run has a job object, which nothing leaves"};
  return {"containment", Verdict::note, "runs are known by marks alone: " + text_of(containment, "why"),
          "what sheds every mark may outlive its run; give the agent's service Delegate=yes"};
}

/// Where commands run that outlive the agent.
Check check_outliving(const json& outliving) {
  if (text_of(outliving, "by") == "systemd") {
    return {"outliving runs", Verdict::good,
            "each has a unit of systemd of its own, " + text_of(outliving, "units")};
  }
  if (text_of(outliving, "by") == "nothing") {
    return {"outliving runs", Verdict::warning,
            "commands that shall outlive the agent fail: " + text_of(outliving, "why"),
            "let the agent run as root, or give its user a manager: loginctl enable-linger"};
  }
  return {"outliving runs", Verdict::good,
          "each has a session of its own, beside the agent's: " + text_of(outliving, "why")};
}

}  // namespace

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::good:
      return "ok";
    case Verdict::note:
      return "note";
    case Verdict::warning:
      return "warning";
    case Verdict::failed:
      return "FAILED";
    case Verdict::skipped:
      return "skipped";
  }
  return "skipped";
}

std::string render_checks(const std::vector<Check>& checks, const Screen& screen) {
  std::size_t widest = 0;
  for (const Check& check : checks) widest = std::max(widest, display_width(check.name));
  std::string text;
  for (const Check& check : checks) {
    constexpr std::size_t kVerdictWidth = 7;
    const std::string verdict(to_string(check.verdict));
    text += screen.paint(color_of(check.verdict), verdict) +
            std::string(kVerdictWidth - verdict.size() + 2, ' ') + check.name +
            std::string(widest - display_width(check.name) + 2, ' ') + printable(check.finding) + "\n";
    if (!check.remedy.empty()) {
      text += std::string(kVerdictWidth + widest + 4, ' ') + "-> " + printable(check.remedy) + "\n";
    }
  }
  return text;
}

std::string encode_checks(const std::vector<Check>& checks) {
  json list = json::array();
  for (const Check& check : checks) {
    const std::string verdict =
        check.verdict == Verdict::failed ? "failed" : std::string(to_string(check.verdict));
    json one{{"check", check.name}, {"verdict", verdict}, {"finding", check.finding}};
    if (!check.remedy.empty()) one["remedy"] = check.remedy;
    list.push_back(std::move(one));
  }
  return encode_json(json{{"checks", std::move(list)}, {"healthy", !any_failed(checks)}});
}

bool any_failed(const std::vector<Check>& checks) {
  return std::any_of(checks.begin(), checks.end(),
                     [](const Check& check) { return check.verdict == Verdict::failed; });
}

std::vector<Check> check_files(const os::Folders& folders) {
  return {check_state_folder(folders), check_ledger_file(folders), check_disk(folders)};
}

std::vector<Check> check_agent(const json& diagnostics) {
  std::vector<Check> checks;
  if (const std::string problem = text_of(diagnostics, "ledgerProblem"); !problem.empty()) {
    checks.push_back(
        {"ledger", Verdict::failed, problem, ledger_remedy(text_of(diagnostics, "ledgerProblemCode"))});
  } else {
    checks.push_back({"ledger", Verdict::good, "written without fault"});
  }
  checks.push_back(check_policy(diagnostics));
  if (flag_of(diagnostics, "hold")) {
    checks.push_back({"hold", Verdict::note,
                      describe_holder(text_of(diagnostics, "heldBy")) + ", starts nothing new",
                      "go on with: agenttask release"});
  }
  const json* ledger = member_of(diagnostics, "ledger");
  const auto waiting = ledger != nullptr ? integer_of(*ledger, "outboxBytes") : std::nullopt;
  const auto budget = ledger != nullptr ? integer_of(*ledger, "outboxBudget") : std::nullopt;
  if (waiting && budget) {
    const std::string finding = format_bytes(*waiting) + " of at most " + format_bytes(*budget) + " wait";
    const bool full = *waiting > *budget / 8 * 7;
    checks.push_back({"outbox", full ? Verdict::failed : Verdict::good, finding,
                      full ? "bring the server back into reach: output is being dropped" : ""});
  }
  if (const json* containment = member_of(diagnostics, "containment")) {
    checks.push_back(check_containment(*containment));
  }
  if (const json* outliving = member_of(diagnostics, "outliving"))
    checks.push_back(check_outliving(*outliving));
  return checks;
}

Check check_policy_file(const os::Folders& folders) {
  const auto file = folders.config / kPolicyFile;
  const auto trusted = os::check_trusted(file);
  if (trusted) return {"policy", Verdict::good, file.string() + " is there, and nobody else may write it"};
  if (trusted.error().code == ErrorCode::not_found) {
    return {"policy", Verdict::good, "no policy file at " + file.string() + ": everything may run"};
  }
  std::error_code hidden;
  (void)std::filesystem::status(file, hidden);
  if (hidden == std::errc::permission_denied) return {"policy", Verdict::skipped, trusted.error().message};
  return {"policy", Verdict::failed, trusted.error().message, "until then the agent refuses everything"};
}

Membership membership_of(const json* diagnostics, const os::Folders& folders) {
  Membership membership;
  if (const auto files = look_at_enrolment(folders)) {
    if (files->identity) {
      membership.enrolled = true;
      membership.url = files->identity->server_url;
      membership.name = files->identity->name;
      membership.authority_pem = files->identity->authority_pem;
      const auto certificate = net::Certificate::from_pem(files->identity->certificate_pem);
      if (certificate) membership.certificate_expires = certificate->not_after();
    } else if (files->pending) {
      membership.url = files->pending->server_url;
    }
  } else {
    membership.known = false;
    membership.last_error = files.error().message;
  }
  const json* server = diagnostics != nullptr ? member_of(*diagnostics, "server") : nullptr;
  if (server == nullptr) return membership;
  membership.known = true;
  membership.url = text_of(*server, "url");
  membership.enrolled = flag_of(*server, "enrolled");
  membership.name = text_of(*server, "name");
  membership.link_state = text_of(*server, "state");
  membership.last_error = text_of(*server, "lastError");
  membership.clock_offset = integer_of(*server, "clockOffset");
  membership.proxy = flag_of(*diagnostics, "proxy");
  if (const auto expires = integer_of(*server, "certificateExpires"))
    membership.certificate_expires = expires;
  if (const auto minimum = net::parse_tls_version(text_of(*diagnostics, "tlsMinimum"))) {
    membership.tls_minimum = *minimum;
  }
  return membership;
}

std::vector<Check> check_membership(const Membership& membership, UnixMilliseconds now) {
  std::vector<Check> checks;
  if (!membership.known) return {{"enrolment", Verdict::skipped, membership.last_error}};
  if (!membership.enrolled && membership.link_state == "refused") {
    checks.push_back({"enrolment", Verdict::failed, membership.last_error,
                      "it is not tried again with this token: agenttask enroll URL TOKEN"});
    return checks;
  }
  if (membership.url.empty()) {
    checks.push_back({"enrolment", Verdict::note, "no server; everything local works",
                      "to be managed from one: agenttask enroll URL TOKEN"});
    return checks;
  }
  if (!membership.enrolled) {
    checks.push_back(
        {"enrolment", membership.last_error.empty() ? Verdict::warning : Verdict::failed,
         "waits for " + membership.url + (membership.last_error.empty() ? "" : ": " + membership.last_error),
         "it is tried again by itself; see below which link is broken"});
    return checks;
  }
  checks.push_back({"enrolment", Verdict::good, membership.name + " at " + membership.url});
  if (!membership.link_state.empty()) checks.push_back(check_contact(membership));
  if (membership.certificate_expires) {
    const auto left = *membership.certificate_expires - now;
    const std::string finding =
        left > 0 ? "valid for " + format_duration(left) : "expired " + format_duration(-left) + " ago";
    checks.push_back(
        {"certificate", left > 0 ? Verdict::good : Verdict::failed, finding,
         left > 0 ? "" : "the agent renews it as soon as the server answers; check the clock too"});
  }
  if (membership.clock_offset) {
    const auto offset = std::llabs(*membership.clock_offset);
    const bool far = offset > kClockTolerance;
    checks.push_back({"clock", far ? Verdict::warning : Verdict::good,
                      format_duration(offset) + " off the server's",
                      far ? "set the clock, or start time synchronisation (timedatectl set-ntp true)" : ""});
  }
  return checks;
}

std::vector<Check> check_route(const Membership& membership) {
  if (membership.url.empty()) return {};
  if (membership.proxy) {
    const bool connected = membership.link_state == "connected";
    return {{"server", connected ? Verdict::good : Verdict::failed,
             connected ? "the agent reaches it through its proxy" : membership.last_error,
             connected ? "" : "check the agent's proxy settings, and that the proxy reaches the server"}};
  }
  if (membership.authority_pem.empty()) {
    const bool connected = membership.link_state == "connected";
    const std::string why = membership.enrolled
                                ? "the agent's identity can be read by root or its own user only"
                                : "not enrolled yet";
    return {{"server", connected ? Verdict::good : Verdict::skipped,
             connected ? "the agent reaches it" : "not tested from here: " + why}};
  }
  net::HttpClientSettings settings;
  settings.authority_pem = membership.authority_pem;
  settings.tls_minimum = membership.tls_minimum;
  settings.connect_timeout = std::chrono::seconds(5);
  net::HttpClient client(std::move(settings));
  net::HttpRequest request;
  request.url = membership.url + "/healthz";
  request.timeout = std::chrono::seconds(10);
  return judge_route(membership.url, client.fetch(std::move(request)));
}

std::vector<Check> judge_route(const std::string& url, const net::HttpResult& result) {
  using net::HttpFailure;
  struct Link {
    const char* name;
    const char* good;
    std::vector<HttpFailure> broken_by;
    const char* remedy;
  };
  const std::vector<Link> links{
      {"name resolution",
       "the server's name resolves",
       {HttpFailure::bad_request, HttpFailure::cannot_resolve},
       "check the host name in the server's URL, and DNS (/etc/resolv.conf, /etc/hosts)"},
      {"connection",
       "the server accepts connections",
       {HttpFailure::cannot_connect, HttpFailure::timeout, HttpFailure::proxy},
       "start agenttask-server, or open its port in the firewalls between"},
      {"TLS",
       "the server's certificate is the right one",
       {HttpFailure::tls, HttpFailure::tls_untrusted, HttpFailure::tls_expired, HttpFailure::tls_name,
        HttpFailure::tls_client_refused},
       "check this device's clock and that the URL names the server as its certificate does; with a new "
       "authority "
       "enrol again"},
  };
  std::vector<Check> checks;
  for (const Link& link : links) {
    const bool broken = !result && std::find(link.broken_by.begin(), link.broken_by.end(),
                                             result.error().failure) != link.broken_by.end();
    if (broken) {
      checks.push_back({link.name, Verdict::failed, result.error().error.message, link.remedy});
      return checks;
    }
    checks.push_back({link.name, Verdict::good, link.good});
  }
  if (!result) {
    checks.push_back({"server", Verdict::failed, result.error().error.message, "see the server's log"});
  } else if (!result->ok()) {
    checks.push_back({"server", Verdict::failed, url + "/healthz answers " + std::to_string(result->status),
                      "see the server's log"});
  } else {
    checks.push_back({"server", Verdict::good, url + "/healthz answers"});
  }
  return checks;
}

}  // namespace agenttask::console
