#pragma once
#include <string>

#include "platform/base/clock.hpp"
#include "platform/base/log.hpp"
#include "server/main/command_line.hpp"
#include "server/main/state_folder.hpp"

/// The verbs that work on the state folder and end. Each returns what belongs on standard output; a secret is
/// its last line.
namespace agenttask::server {

/// Makes authority, certificate, database, configuration and, where wanted, the first admin token. `conflict`
/// where there is something already: nothing is ever overwritten.
[[nodiscard]] Result<std::string> initialise(const CommandLine& line, const StateFolder& state,
                                             const SettingSources& sources, const Clock& clock,
                                             Logger& logger);

/// Works beside a running server.
[[nodiscard]] Result<std::string> create_token(const CommandLine& line, const StateFolder& state,
                                               const SettingSources& sources, const Clock& clock,
                                               Logger& logger);

/// A new admin token, beside those that exist, and how to come in with it; also beside a running server.
[[nodiscard]] Result<std::string> reset_operator(const CommandLine& line, const StateFolder& state,
                                                 const SettingSources& sources, const Clock& clock,
                                                 Logger& logger);

/// All operators, one a line: id, role, whether it is valid, label.
[[nodiscard]] Result<std::string> list_operators(const StateFolder& state, const Clock& clock);

/// Revokes the token of an operator named by id or label, also beside a running server, which refuses it from
/// its next request on. `conflict` where the label is that of several, or where nobody could administrate any
/// more.
[[nodiscard]] Result<std::string> revoke_operator(const CommandLine& line, const StateFolder& state,
                                                  const Clock& clock, Logger& logger);

/// Reads everything that `run` would read, without changing anything.
[[nodiscard]] Result<std::string> check_configuration(const SettingSources& sources);

}  // namespace agenttask::server
