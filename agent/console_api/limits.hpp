#pragma once
#include <chrono>
#include <cstddef>

/// The bounds of the local socket; docs/console-protocol.md lists them.
namespace agenttask::agent {

constexpr std::size_t kConsoleConnections = 32;  ///< served at once
/// Of these, those whose only right is to choose: they can't take the places of who runs the device.
constexpr std::size_t kConsoleChoosers = 8;
/// Of one person who may only choose, so that nobody keeps the others out.
constexpr std::size_t kConsoleOfChooser = 2;
constexpr std::size_t kConsoleRequestBytes = 2 * 1024 * 1024;  ///< one request line
constexpr std::size_t kConsoleAnswerBytes =
    256 * 1024 * 1024;                                ///< one answer line, as far as the client reads it
constexpr std::chrono::seconds kConsoleLastWords{1};  ///< to tell a client that the agent stops
constexpr std::chrono::seconds kConsoleIdle{60};      ///< a connection that asks nothing is closed
constexpr std::chrono::seconds kConsoleSend{
    600};  ///< a client that does not read (a pager, Ctrl-S) is cut off

}  // namespace agenttask::agent
