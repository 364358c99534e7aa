#pragma once
#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "platform/base/error.hpp"

/// Programs that go on when our service is stopped, killed, replaced or upgraded.
namespace agenttask::os {

class ProcessSupervisor;

/// Where such a program lives.
enum class OutlivingMeans : std::uint8_t {
  service_manager,  ///< a unit of its own, which the service manager knows apart from ours (systemd)
  own_session,      ///< a process that belongs to nothing of ours: session, control group, job
  none,             ///< nothing that we start outlives our service here
};

struct OutlivingStatus {
  OutlivingMeans means = OutlivingMeans::own_session;
  std::string detail = {};  ///< for people: the name of the units, or why there are none
};
/// What `launch_outliving` would do now. Threads: any.
[[nodiscard]] OutlivingStatus outliving_status();

struct OutlivingProgram {
  /// Letters, digits and '-': the unit's name where there are units.
  std::string name;
  std::string description;        ///< for people who list units
  std::vector<std::string> argv;  ///< a program of ours with an absolute path, and its arguments
  /// A folder of its own, for a copy of the program where one that runs can't be replaced (Windows).
  std::filesystem::path folder = {};
};

/// Starts it outside everything that a stop of our service, or our end, ends. It is not one of our runs:
/// nobody waits for it, and nothing of `ProcessSupervisor` stops it. It gets no descriptor of ours, streams
/// that lead nowhere (under a service manager its log), default signals, and the folder `/`. With a service
/// manager it is that one's child.
///
/// An error says that it was not started, or that nobody knows: whoever must not begin twice has to make sure
/// by itself; `unsupported` where nothing outlives our service. `supervisor` lets it begin beside runs, and
/// runs the tool that asks the service manager. Blocks until it has begun, at most a minute; once `stop`
/// asks, nobody waits for the service manager any more, and it may begin all the same. Threads: any.
[[nodiscard]] Result<void> launch_outliving(ProcessSupervisor& supervisor, const OutlivingProgram& program,
                                            const std::stop_token& stop = {});

/// The file of the program that we are. When it was replaced meanwhile, the one that has its place now.
[[nodiscard]] Result<std::filesystem::path> own_program();

}  // namespace agenttask::os
