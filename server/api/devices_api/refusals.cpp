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

}  // namespace agenttask::server
