#include <chrono>

#include "server/api/handlers.hpp"
#include "server/store/streams.hpp"

namespace agenttask::server {

std::optional<Response> refuse_epoch(const Call& call, std::int64_t epoch) {
  if (epoch <= call.device->epoch + kEpochsAhead) return std::nullopt;
  return refuse(Code::invalid,
                "epoch " + std::to_string(epoch) + " is more than " + std::to_string(kEpochsAhead) +
                    " past the server's, " + std::to_string(call.device->epoch) +
                    ": no server ever opened it",
                "epoch");
}

std::optional<Response> refuse_too_often(const Call& call, Presence::Dear what) {
  const auto wait =
      std::chrono::ceil<std::chrono::seconds>(call.context.presence.wait_before(call.device->id, what));
  if (wait.count() == 0) return std::nullopt;
  const std::string seconds = std::to_string(wait.count());
  auto response =
      refuse(Code::too_often, std::string(what == Presence::Dear::epoch ? "a new epoch was opened for"
                                                                        : "a certificate was issued to") +
                                  " this device a moment ago; try again in " + seconds + " s");
  response.headers.emplace_back("Retry-After", seconds);
  return response;
}

}  // namespace agenttask::server
