#include "tests/component/server_http/kit.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "platform/base/encoding.hpp"

namespace agenttask::server::kit {
namespace {

constexpr UnixMilliseconds kHour = 3600'000;

void use_paper(SSL* connection, const Paper& paper) {
  BIO* text = BIO_new_mem_buf(paper.certificate.data(), -1);
  X509* certificate = PEM_read_bio_X509(text, nullptr, nullptr, nullptr);
  BIO_free(text);
  text = BIO_new_mem_buf(paper.key.data(), -1);
  EVP_PKEY* key = PEM_read_bio_PrivateKey(text, nullptr, nullptr, nullptr);
  BIO_free(text);
  SSL_use_certificate(connection, certificate);
  SSL_use_PrivateKey(connection, key);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

int connect_to(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval limit{20, 0};
  setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("cannot connect");
  return socket;
}

}  // namespace

UnixMilliseconds RealClock::wall() const {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Issuer::Issuer()
    : key_(net::PrivateKey::generate()),
      certificate_(net::make_authority(key_, "test authority", RealClock().wall() - 100 * kHour,
                                       RealClock().wall() + kHour)
                       .value()) {}

Paper Issuer::issue(std::string_view name, net::CertificatePurpose purpose,
                    UnixMilliseconds not_after) const {
  const auto key = net::PrivateKey::generate();
  net::CertificateContent content;
  content.common_name = name;
  if (purpose == net::CertificatePurpose::server) content.host_names = {std::string(name)};
  content.purpose = purpose;
  content.not_before = RealClock().wall() - 50 * kHour;
  content.not_after = not_after;
  const auto certificate =
      net::issue(certificate_, key_, net::CertificateRequest::make(key, name), content).value();
  return {certificate.to_pem(), key.to_pem(), certificate.fingerprint()};
}

Paper Issuer::server() const {
  return issue("localhost", net::CertificatePurpose::server, RealClock().wall() + kHour);
}
Paper Issuer::device(std::string_view name) const {
  return issue(name, net::CertificatePurpose::client, RealClock().wall() + kHour);
}

FunctionHandler::FunctionHandler() {
  function = [](const std::shared_ptr<Exchange>& exchange) {
    const auto& request = *exchange->request();
    const auto who = request.certificate
                         ? request.certificate->node_id + (request.certificate_expired ? " expired" : "")
                         : "nobody";
    exchange->respond(
        {200,
         "text/plain",
         request.method + ' ' + request.path + ' ' + std::to_string(request.body.size()) + ' ' + who,
         {}});
  };
}

void FunctionHandler::handle(std::shared_ptr<Exchange> exchange) {
  function(std::move(exchange));
}

ServerKit::ServerKit(RequestHandler& handler, HttpLimits limits, bool allow_tls12,
                     std::shared_ptr<TicketKeys> keys, const Issuer* given)
    : own_issuer(given == nullptr ? std::make_unique<Issuer>() : nullptr),
      issuer(given == nullptr ? *own_issuer : *given),
      paper(issuer.server()),
      tls12(allow_tls12) {
  std::signal(SIGPIPE, SIG_IGN);
  if (!keys) {
    keys = std::make_shared<TicketKeys>();
    keys->rotate(clock.wall());
  }
  HttpServerOptions options;
  options.address = "127.0.0.1";
  options.port = 0;
  options.network_threads = 2;
  options.limits = limits;
  http = HttpServer::start(options, identity(), std::move(keys), handler, clock, logger).value();
}

TlsIdentity ServerKit::identity() const {
  return {paper.certificate, paper.key, issuer.pem(), tls12};
}

std::string Answer::header(std::string_view name) const {
  const auto begin = head.find("\r\n" + std::string(name) + ": ");
  if (begin == std::string::npos) return {};
  const auto value = begin + name.size() + 4;
  return head.substr(value, head.find("\r\n", value) - value);
}

Client::Client(std::uint16_t port, Options options)
    : socket_(connect_to(port)), context_(SSL_CTX_new(TLS_client_method())) {
  SSL_CTX_set_max_proto_version(context_, options.highest);
  SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
  SSL_CTX_sess_set_new_cb(context_, on_session);
  connection_ = SSL_new(context_);
  SSL_set_app_data(connection_, this);
  SSL_set_fd(connection_, socket_);
  if (options.paper) use_paper(connection_, *options.paper);
  if (options.session != nullptr) SSL_set_session(connection_, options.session);
  if (options.handshake) connected_ = SSL_connect(connection_) == 1;
}

Client::~Client() {
  // Without a goodbye OpenSSL would not resume the session.
  if (connected_ && socket_ >= 0) SSL_shutdown(connection_);
  SSL_free(connection_);
  SSL_CTX_free(context_);
  if (session_ != nullptr) SSL_SESSION_free(session_);
  if (socket_ >= 0) close(socket_);
}

int Client::on_session(SSL* connection, SSL_SESSION* session) {
  auto* client = static_cast<Client*>(SSL_get_app_data(connection));
  if (client->session_ != nullptr) SSL_SESSION_free(client->session_);
  client->session_ = session;
  ++client->tickets_;
  return 1;
}

SSL_SESSION* Client::take_session() {
  return std::exchange(session_, nullptr);
}

bool Client::send(std::string_view bytes) {
  return bytes.empty() || SSL_write(connection_, bytes.data(), static_cast<int>(bytes.size())) ==
                              static_cast<int>(bytes.size());
}

bool Client::send_raw(std::string_view bytes) const {
  return ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

std::string Client::receive_raw() const {
  std::string all;
  char buffer[4096];
  for (ssize_t got = 0; (got = recv(socket_, buffer, sizeof buffer, 0)) > 0;)
    all.append(buffer, static_cast<std::size_t>(got));
  return all;
}

bool Client::fill() {
  char buffer[16384];
  const int got = over_ ? 0 : SSL_read(connection_, buffer, sizeof buffer);
  if (got <= 0) {
    over_ = true;
    return false;
  }
  in_.append(buffer, static_cast<std::size_t>(got));
  return true;
}

std::string Client::take(std::size_t bytes) {
  while (in_.size() < bytes && fill()) {
  }
  auto taken = in_.substr(0, bytes);
  in_.erase(0, bytes);
  return taken;
}

std::string Client::take_line() {
  while (in_.find("\r\n") == std::string::npos && fill()) {
  }
  const auto end = in_.find("\r\n");
  if (end == std::string::npos) return {};
  return take(end + 2).substr(0, end);
}

Answer Client::receive() {
  Answer answer;
  while (in_.find("\r\n\r\n") == std::string::npos) {
    if (!fill()) return answer;
  }
  answer.head = take(in_.find("\r\n\r\n") + 2);
  take(2);
  answer.status = std::stoi(answer.head.substr(9, 3));
  if (answer.status == 100 || answer.status == 204) return answer;
  if (const auto length = answer.header("Content-Length"); !length.empty()) {
    answer.body = take(std::stoul(length));
    return answer;
  }
  if (answer.header("Transfer-Encoding") != "chunked") {
    while (fill()) {
    }
    answer.body = std::exchange(in_, {});
    return answer;
  }
  while (true) {
    const auto line = take_line();
    if (line.empty()) return Answer{};  // cut off
    const auto size = std::stoul(line, nullptr, 16);
    answer.body += take(size);
    take(2);
    if (size == 0) return answer;
  }
}

std::string Client::receive_some() {
  if (in_.empty()) fill();
  return std::exchange(in_, {});
}

bool Client::ended() {
  while (fill()) {
  }
  const auto error = errno;
  return error != EAGAIN && error != EWOULDBLOCK;
}

void Client::hang_up() {
  close(socket_);
  socket_ = -1;
}

}  // namespace agenttask::server::kit
