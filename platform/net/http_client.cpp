#include "platform/net/http_client.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <deque>
#include <map>
#include <mutex>
#include <stdexcept>

#include <curl/curl.h>

#include "platform/base/encoding.hpp"
#include "platform/net/certificate.hpp"
#include "platform/net/http_failure.hpp"

namespace agenttask::net {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kHeaderBytes = 64 * 1024;
constexpr std::size_t kAuthorityBytes = 64 * 1024;

/// libcurl wants to be told once before its first use; it never needs to be told of the end.
void initialize_once() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
      throw std::runtime_error("libcurl can't be initialised");
  });
}

struct FreeMulti {
  void operator()(CURLM* handle) const { curl_multi_cleanup(handle); }
};
struct FreeEasy {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

std::string_view without_query(std::string_view url) {
  return url.substr(0, url.find('?'));
}

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return result;
}

std::string_view trim(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

enum class Verification : std::uint8_t { full, none };

struct Exchange {
  HttpClient::Transfer id = 0;
  HttpRequest request;
  HttpClient::Done done;
  HttpResponse response;
  std::unique_ptr<CURL, FreeEasy> easy;
  std::unique_ptr<curl_slist, FreeList> headers;
  std::string proxy;
  std::size_t header_bytes = 0;
  std::optional<HttpFailure> ended_by_us;
  CURLcode code = CURLE_OK;
  char error_text[CURL_ERROR_SIZE] = {};
};

bool is_success(CURL* easy) {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  return status >= 200 && status < 300;
}

std::size_t on_body(char* bytes, std::size_t, std::size_t count, void* context) {
  auto& exchange = *static_cast<Exchange*>(context);
  const std::string_view piece(bytes, count);
  if (exchange.request.on_body && is_success(exchange.easy.get())) {
    if (exchange.request.on_body(piece)) return count;
    exchange.ended_by_us = HttpFailure::stopped;
    return 0;
  }
  if (exchange.response.body.size() + count > exchange.request.max_response_bytes) {
    exchange.ended_by_us = HttpFailure::too_large;
    return 0;
  }
  exchange.response.body += piece;
  return count;
}

std::size_t on_header(char* bytes, std::size_t, std::size_t count, void* context) {
  auto& exchange = *static_cast<Exchange*>(context);
  const std::string_view line(bytes, count);
  if (line.starts_with("HTTP/")) {  // an interim answer came before: what counts begins here
    exchange.response.headers.clear();
    exchange.header_bytes = 0;
  }
  exchange.header_bytes += count;
  if (exchange.header_bytes > kHeaderBytes) {
    exchange.ended_by_us = HttpFailure::too_large;
    return 0;
  }
  if (const auto colon = line.find(':'); colon != std::string_view::npos) {
    exchange.response.headers.emplace_back(lower(trim(line.substr(0, colon))), trim(line.substr(colon + 1)));
  }
  return count;
}

template <class Value>
void set(CURL* easy, CURLoption option, Value value) {
  if (const CURLcode code = curl_easy_setopt(easy, option, value); code != CURLE_OK) {
    throw std::runtime_error(std::string("libcurl refuses an option: ") + curl_easy_strerror(code));
  }
}

void set_text(CURL* easy, CURLoption option, const std::string& pem) {
  curl_blob blob{const_cast<char*>(pem.data()), pem.size(), CURL_BLOB_COPY};
  set(easy, option, &blob);
}

void set_trust(CURL* easy, const HttpClientSettings& settings, Verification verification) {
  set(easy, CURLOPT_SSLVERSION,
      static_cast<long>(settings.tls_minimum == TlsVersion::tls_1_3 ? CURL_SSLVERSION_TLSv1_3
                                                                    : CURL_SSLVERSION_TLSv1_2));
  if (verification == Verification::none) {
    set(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    set(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    return;  // and no certificate of ours for somebody unknown
  }
  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!settings.system_authorities) {
    // Debian's libcurl has the bundle built in: 65 ms of CPU at each load, and trust that nobody asked for.
    set(easy, CURLOPT_CAINFO, static_cast<const char*>(nullptr));
    set(easy, CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    if (!settings.authority_pem.empty()) set_text(easy, CURLOPT_CAINFO_BLOB, settings.authority_pem);
  } else {
    // The store of the system, where that is no file (Windows); elsewhere this says nothing.
    set(easy, CURLOPT_SSL_OPTIONS, static_cast<long>(CURLSSLOPT_NATIVE_CA));
  }
  if (!settings.certificate_pem.empty()) {
    set(easy, CURLOPT_SSLCERTTYPE, "PEM");
    set_text(easy, CURLOPT_SSLCERT_BLOB, settings.certificate_pem);
    set(easy, CURLOPT_SSLKEYTYPE, "PEM");
    set_text(easy, CURLOPT_SSLKEY_BLOB, settings.key_pem);
  }
}

/// Over a connection that is there already nothing is connected, and the timer for that would only wake us:
/// then it has the time of the whole exchange, should the connection be gone after all.
milliseconds connect_timeout(const HttpClientSettings& settings, const HttpRequest& request, bool connected) {
  return connected && request.timeout > settings.connect_timeout ? request.timeout : settings.connect_timeout;
}

void set_route(CURL* easy, const HttpClientSettings& settings) {
  set(easy, CURLOPT_PROXY, settings.proxy.c_str());  // empty: none, the environment's neither
  set(easy, CURLOPT_NOPROXY, settings.no_proxy.c_str());
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
}

void add_header(Exchange& exchange, const std::string& line) {
  curl_slist* list = curl_slist_append(exchange.headers.get(), line.c_str());
  if (list == nullptr) throw std::bad_alloc();
  static_cast<void>(exchange.headers.release());
  exchange.headers.reset(list);
}

void set_request(Exchange& exchange) {
  CURL* easy = exchange.easy.get();
  const HttpRequest& request = exchange.request;
  set(easy, CURLOPT_URL, request.url.c_str());
  set(easy, CURLOPT_PROTOCOLS_STR, "https");
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_USERAGENT, "agenttask/" AGENTTASK_VERSION);
  set(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  if (request.idle_timeout.count() > 0) {
    set(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    set(easy, CURLOPT_LOW_SPEED_TIME, static_cast<long>((request.idle_timeout.count() + 999) / 1000));
  }
  if (!request.body.empty() || request.method == "POST" || request.method == "PATCH" ||
      request.method == "PUT") {
    set(easy, CURLOPT_POST, 1L);
    set(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(easy, CURLOPT_POSTFIELDS, request.body.c_str());  // lives in the exchange, as long as the transfer
    add_header(exchange, "Expect:");                      // no round trip for permission to send
    add_header(exchange, request.body.empty() ? "Content-Type:" : "Content-Type: " + request.content_type);
  }
  if (request.method == "HEAD") set(easy, CURLOPT_NOBODY, 1L);
  set(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  for (const auto& [name, value] : request.headers) {
    std::string line = name;
    add_header(exchange, line.append(": ").append(value));
  }
  set(easy, CURLOPT_HTTPHEADER, exchange.headers.get());
  set(easy, CURLOPT_WRITEFUNCTION, on_body);
  set(easy, CURLOPT_WRITEDATA, &exchange);
  set(easy, CURLOPT_HEADERFUNCTION, on_header);
  set(easy, CURLOPT_HEADERDATA, &exchange);
  set(easy, CURLOPT_ERRORBUFFER, exchange.error_text);
}

/// A header whose value holds a line break would smuggle in another one.
bool is_clean(const HttpRequest& request) {
  const auto broken = [](std::string_view text) {
    return text.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos;
  };
  return !broken(request.method) && !request.method.empty() && !broken(request.url) &&
         !broken(request.content_type) &&
         std::none_of(request.headers.begin(), request.headers.end(),
                      [&](const auto& header) { return broken(header.first) || broken(header.second); });
}

HttpError failure(HttpFailure kind, ErrorCode code, std::string message) {
  return HttpError{kind, Error{code, std::move(message), {}}};
}

TransferFault fault_of(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return TransferFault::no_address;
    case CURLE_COULDNT_RESOLVE_PROXY:
      return TransferFault::proxy_no_address;
    case CURLE_PROXY:
      return TransferFault::proxy;
    case CURLE_COULDNT_CONNECT:
      return TransferFault::no_connection;
    case CURLE_OPERATION_TIMEDOUT:
      return TransferFault::timeout;
    case CURLE_PEER_FAILED_VERIFICATION:
      return TransferFault::verification;
    case CURLE_SSL_CONNECT_ERROR:
      return TransferFault::handshake;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return TransferFault::url;
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
      return TransferFault::own_credentials;
    default:
      return TransferFault::other;
  }
}

Explanation explain(const Exchange& exchange) {
  TransferFacts facts{
      .fault = fault_of(exchange.code),
      .detail = exchange.error_text[0] != '\0' ? exchange.error_text : curl_easy_strerror(exchange.code),
      .url = exchange.request.url,
      .proxy = exchange.proxy};
  curl_easy_getinfo(exchange.easy.get(), CURLINFO_SSL_VERIFYRESULT, &facts.verify_result);
  curl_easy_getinfo(exchange.easy.get(), CURLINFO_HTTP_CONNECTCODE, &facts.proxy_status);
  return net::explain(facts);
}

HttpResult result_of(Exchange& exchange) {
  const std::string what = exchange.request.method + " " + std::string(without_query(exchange.request.url));
  if (exchange.ended_by_us == HttpFailure::too_large) {
    return failure(HttpFailure::too_large, ErrorCode::limit,
                   "the answer to " + what + " is larger than allowed (a body of " +
                       std::to_string(exchange.request.max_response_bytes) + " bytes, headers of " +
                       std::to_string(kHeaderBytes) + ")");
  }
  if (exchange.ended_by_us)
    return failure(HttpFailure::stopped, ErrorCode::unavailable, what + " was stopped by us");
  if (exchange.code != CURLE_OK) {
    Explanation why = explain(exchange);
    return failure(why.kind, why.code, "cannot reach the server (" + what + "): " + why.text);
  }
  long status = 0;
  curl_easy_getinfo(exchange.easy.get(), CURLINFO_RESPONSE_CODE, &status);
  exchange.response.status = static_cast<int>(status);
  return std::move(exchange.response);
}

}  // namespace

struct HttpClient::Body {
  explicit Body(HttpClientSettings given) : settings(std::move(given)) {
    initialize_once();
    multi.reset(curl_multi_init());
    if (multi == nullptr) throw std::bad_alloc();
  }
  ~Body() {
    for (auto& [id, exchange] : exchanges) curl_multi_remove_handle(multi.get(), exchange->easy.get());
  }
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  Transfer start(HttpRequest request, Done done, Verification verification);
  void perform();
  bool deliver();

  HttpClientSettings settings;
  std::unique_ptr<CURLM, FreeMulti> multi;
  std::map<Transfer, std::unique_ptr<Exchange>> exchanges;
  std::deque<std::pair<Transfer, HttpResult>> finished;
  Transfer last = 0;
  bool connected = false;  ///< the last transfer was answered: its connection is kept
  std::atomic<bool> woken = false;
};

HttpClient::Transfer HttpClient::Body::start(HttpRequest request, Done done, Verification verification) {
  const Transfer id = ++last;
  auto exchange = std::make_unique<Exchange>();
  exchange->id = id;
  exchange->request = std::move(request);
  exchange->done = std::move(done);
  exchange->proxy = settings.proxy;
  exchange->easy.reset(curl_easy_init());
  if (exchange->easy == nullptr) throw std::bad_alloc();
  if (!is_clean(exchange->request)) {
    finished.emplace_back(id,
                          failure(HttpFailure::bad_request, ErrorCode::invalid,
                                  "a line break in a URL or header, or no method: the request was not sent"));
  } else {
    set(exchange->easy.get(), CURLOPT_PRIVATE, static_cast<void*>(exchange.get()));
    set_request(*exchange);
    set_trust(exchange->easy.get(), settings, verification);
    set_route(exchange->easy.get(), settings);
    const auto connecting = connect_timeout(settings, exchange->request, connected);
    set(exchange->easy.get(), CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connecting.count()));
    curl_multi_add_handle(multi.get(), exchange->easy.get());
  }
  exchanges.emplace(id, std::move(exchange));
  return id;
}

/// Moves all transfers on, and those that are done into `finished`.
void HttpClient::Body::perform() {
  int running = 0;
  curl_multi_perform(multi.get(), &running);
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;  // the message is gone with the handle
    void* mark = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &mark);
    auto& exchange = *static_cast<Exchange*>(mark);
    exchange.code = code;
    connected = code == CURLE_OK;
    finished.emplace_back(exchange.id, result_of(exchange));
    curl_multi_remove_handle(multi.get(), easy);
  }
}

/// Calls the `done` of each finished transfer; these may start and cancel others.
bool HttpClient::Body::deliver() {
  bool any = false;
  while (!finished.empty()) {
    auto [id, result] = std::move(finished.front());
    finished.pop_front();
    const auto found = exchanges.find(id);
    if (found == exchanges.end()) continue;  // cancelled meanwhile
    const Done done = std::move(found->second->done);
    exchanges.erase(found);
    any = true;
    if (done) done(std::move(result));
  }
  return any;
}

HttpClient::HttpClient(HttpClientSettings settings) : body_(std::make_unique<Body>(std::move(settings))) {}
HttpClient::~HttpClient() = default;
HttpClient::HttpClient(HttpClient&&) noexcept = default;
HttpClient& HttpClient::operator=(HttpClient&&) noexcept = default;

void HttpClient::configure(HttpClientSettings settings) {
  body_->settings = std::move(settings);
  body_->connected = false;
}

HttpClient::Transfer HttpClient::start(HttpRequest request, Done done) {
  return body_->start(std::move(request), std::move(done), Verification::full);
}

void HttpClient::cancel(Transfer transfer) {
  const auto found = body_->exchanges.find(transfer);
  if (found == body_->exchanges.end()) return;
  curl_multi_remove_handle(body_->multi.get(), found->second->easy.get());
  body_->exchanges.erase(found);
}

std::size_t HttpClient::open() const {
  return body_->exchanges.size();
}

void HttpClient::wake() {
  body_->woken.store(true);
  curl_multi_wakeup(body_->multi.get());
}

void HttpClient::wait(milliseconds most, const std::stop_token& stop) {
  const std::stop_callback on_stop(stop, [this] { wake(); });
  const auto deadline =
      std::chrono::steady_clock::now() + std::min(most, milliseconds(std::chrono::hours(24)));
  for (;;) {
    body_->perform();
    if (body_->deliver() || body_->woken.exchange(false) || stop.stop_requested()) return;
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return;
    curl_multi_poll(body_->multi.get(), nullptr, 0, static_cast<int>(left.count()), nullptr);
  }
}

namespace {

/// Drives `client` until `answer` is there.
HttpResult await(HttpClient& client, HttpClient::Transfer transfer, const std::optional<HttpResult>& answer,
                 const std::stop_token& stop) {
  while (!answer && !stop.stop_requested()) client.wait(std::chrono::hours(1), stop);
  client.wake();  // one that came meanwhile was swallowed here: the owner's next wait() looks again
  if (answer) return *answer;
  client.cancel(transfer);
  return failure(HttpFailure::stopped, ErrorCode::unavailable, "stopped before the server answered");
}

}  // namespace

HttpResult HttpClient::fetch(HttpRequest request, const std::stop_token& stop) {
  std::optional<HttpResult> answer;
  const Transfer transfer =
      start(std::move(request), [&](HttpResult result) { answer.emplace(std::move(result)); });
  return await(*this, transfer, answer, stop);
}

boost::system::result<std::string, HttpError> fetch_authority(const ServerUrl& server,
                                                              std::string_view fingerprint,
                                                              HttpClientSettings settings,
                                                              const std::stop_token& stop) {
  return HttpClient(std::move(settings)).fetch_authority(server, fingerprint, stop);
}

boost::system::result<std::string, HttpError> HttpClient::fetch_authority(const ServerUrl& server,
                                                                          std::string_view fingerprint,
                                                                          const std::stop_token& stop) {
  HttpRequest request{.url = server.to_string() + "/v1/authority", .max_response_bytes = kAuthorityBytes};
  std::optional<HttpResult> answer;
  const Transfer transfer = body_->start(
      std::move(request), [&](HttpResult result) { answer.emplace(std::move(result)); }, Verification::none);
  HttpResult response = await(*this, transfer, answer, stop);
  if (!response) return response.error();
  if (!response->ok()) {
    return failure(HttpFailure::broken, ErrorCode::unavailable,
                   server.to_string() + " answered " + std::to_string(response->status) +
                       " to GET /v1/authority; is it an agenttask-server?");
  }
  const auto certificate = Certificate::from_pem(response->body);
  if (!certificate) {
    return failure(
        HttpFailure::tls_untrusted, ErrorCode::denied,
        "what " + server.to_string() + " gives as its authority is " + certificate.error().message);
  }
  if (certificate->fingerprint_bytes() != fingerprint) {
    return failure(HttpFailure::tls_untrusted, ErrorCode::denied,
                   "the authority of " + server.to_string() + " has the fingerprint " +
                       certificate->fingerprint() + ", expected was " + hex_encode(fingerprint) +
                       ": the token is for another server, or somebody is in between");
  }
  return certificate->to_pem();
}

std::string_view HttpResponse::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

std::optional<milliseconds> HttpResponse::retry_after(UnixMilliseconds now) const {
  const std::string text(header("retry-after"));
  if (text.empty()) return std::nullopt;
  constexpr milliseconds most = std::chrono::hours(24);
  if (std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    long long seconds = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), seconds);
    return parsed.ec == std::errc() && seconds < 86'400 ? std::chrono::seconds(seconds) : most;
  }
  const auto at = curl_getdate(text.c_str(), nullptr);
  if (at < 0) return std::nullopt;
  return std::clamp(milliseconds(static_cast<std::int64_t>(at) * 1000 - now), milliseconds(0), most);
}

}  // namespace agenttask::net
