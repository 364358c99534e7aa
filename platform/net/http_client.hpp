#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"
#include "platform/net/url.hpp"

/// The HTTPS client of agent and console: libcurl, kept inside one file.
namespace agenttask::net {

enum class TlsVersion : std::uint8_t { tls_1_2, tls_1_3 };
[[nodiscard]] std::string_view to_string(TlsVersion version);  ///< "1.2", "1.3"
[[nodiscard]] Result<TlsVersion> parse_tls_version(std::string_view text);

/// How to reach a server and whom to believe.
struct HttpClientSettings {
  std::string authority_pem = {};    ///< the authorities to trust, and no others
  bool system_authorities = false;   ///< trust the system's bundle instead; only when somebody asked for it
  std::string certificate_pem = {};  ///< the client's own; empty: none is shown
  std::string key_pem = {};
  std::string proxy = {};     ///< as check_proxy_url takes it; empty: none, whatever the environment says
  std::string no_proxy = {};  ///< comma-separated hosts and domains that are reached directly
  TlsVersion tls_minimum = TlsVersion::tls_1_3;
  /// Where the transfer before was answered, so that its connection is there: that of the whole exchange.
  std::chrono::milliseconds connect_timeout{10'000};
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;  ///< https only
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body = {};
  std::string content_type = "application/json";  ///< sent only with a body
  std::chrono::milliseconds timeout{30'000};      ///< of the whole exchange; 0: none
  std::chrono::milliseconds idle_timeout{0};      ///< without a byte; 0: none. Rounded up to whole seconds
  std::size_t max_response_bytes = 16 * 1024 * 1024;
  /// For bodies that go on (2xx only; other bodies are collected): called with each piece as it comes, on the
  /// thread that drives the client; false ends the transfer with `stopped`. max_response_bytes does not count
  /// then.
  std::function<bool(std::string_view piece)> on_body = {};
};

struct HttpResponse {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  ///< names in lower case, in order
  std::string body;
  /// The first value of that header (name in lower case); empty where there is none.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  /// Retry-After, in seconds or as a date, as a wait from `now`; at most a day.
  [[nodiscard]] std::optional<std::chrono::milliseconds> retry_after(UnixMilliseconds now) const;
  [[nodiscard]] bool ok() const { return status >= 200 && status < 300; }
};

/// Which link of the chain broke.
enum class HttpFailure : std::uint8_t {
  bad_request,     ///< the request could not even be made: a wrong URL, unusable key or authority
  cannot_resolve,  ///< the host's name
  cannot_connect,  ///< refused or unreachable
  timeout,
  proxy,               ///< the proxy is away, refuses, or wants credentials
  tls,                 ///< no common version or cipher, or no TLS at all
  tls_untrusted,       ///< the server's certificate is not from the authority we trust
  tls_expired,         ///< the server's certificate is expired or not valid yet (or our clock is wrong)
  tls_name,            ///< the server's certificate is for another host
  tls_client_refused,  ///< the server does not accept our certificate
  too_large,           ///< the answer is larger than max_response_bytes
  broken,              ///< the connection ended in the middle
  stopped,             ///< by us: stop token, cancel, or on_body
};
[[nodiscard]] std::string_view to_string(HttpFailure failure);  ///< `cannot-resolve`

/// Why there is no answer. `error` is the same for people and for callers that need no more.
struct HttpError {
  HttpFailure failure = HttpFailure::broken;
  Error error;
};
[[noreturn]] void throw_exception_from_error(const HttpError& error, const boost::source_location& where);

/// An answer of any status, or why there is none.
using HttpResult = boost::system::result<HttpResponse, HttpError>;

/// Several transfers at once over connections that are kept open, driven by one thread that blocks in wait().
///
/// Threads: one owner; only wake() may be called from others, and from a stop callback. The program must
/// ignore SIGPIPE. HTTP/1.1 over TLS. Redirects are not followed, cookies not kept, the environment's proxies
/// not used.
class HttpClient {
 public:
  using Transfer = std::uint64_t;
  using Done = std::function<void(HttpResult)>;

  explicit HttpClient(HttpClientSettings settings);
  ~HttpClient();  ///< open transfers end without their `done`
  HttpClient(HttpClient&&) noexcept;
  HttpClient& operator=(HttpClient&&) noexcept;

  /// New settings for transfers that start from now on; idle connections of the old ones are not used again.
  void configure(HttpClientSettings settings);

  /// Begins a transfer. `done` is called once, from wait(), unless it is cancelled before. It may start
  /// others.
  Transfer start(HttpRequest request, Done done);
  /// Ends it without its `done`. Unknown or finished: nothing.
  void cancel(Transfer transfer);
  [[nodiscard]] std::size_t open() const;  ///< transfers under way

  /// Drives all transfers until at least one is done, `most` has passed, wake() was called or `stop` is
  /// requested.
  void wait(std::chrono::milliseconds most, const std::stop_token& stop = {});
  /// Makes wait() return: the present one, or the next. Threads: any.
  void wake();

  /// One exchange, blocking. Transfers that are under way go on meanwhile.
  [[nodiscard]] HttpResult fetch(HttpRequest request, const std::stop_token& stop = {});

  /// The authority that devices and operators shall trust for this server (`GET /v1/authority`), in PEM. It
  /// is the only call that does not verify the server, and its answer is given out only when its certificate
  /// has this SHA-256 fingerprint (32 raw bytes): otherwise `tls_untrusted`. Our own certificate is not
  /// shown.
  [[nodiscard]] boost::system::result<std::string, HttpError> fetch_authority(
      const ServerUrl& server, std::string_view fingerprint, const std::stop_token& stop = {});

 private:
  struct Body;
  std::unique_ptr<Body> body_;
};

/// As HttpClient::fetch_authority, with a client of its own.
[[nodiscard]] boost::system::result<std::string, HttpError> fetch_authority(const ServerUrl& server,
                                                                            std::string_view fingerprint,
                                                                            HttpClientSettings settings,
                                                                            const std::stop_token& stop = {});

}  // namespace agenttask::net
