#pragma once
#include <string>

#include "agent/main/options.hpp"
#include "platform/base/clock.hpp"
#include "platform/base/error.hpp"

/// The verbs of agenttaskd with which an administrator cares for what the agent keeps. They print, and end.
namespace agenttask::agent {

/// What belongs on standard output, and the exit code.
struct CareAnswer {
  int code = 0;
  std::string text;
};

/// `ledger check`, `ledger salvage`, `ledger reset`, `prepare-image`, `prepare-enrollment`: by `line.verb`.
/// Exit codes: 0 done, or sound; 1 it could not be done, or the ledger is not sound; 2 usage; 3 an agent that
/// can use its ledger, or any for prepare-image, has it.
[[nodiscard]] CareAnswer take_care(const CommandLine& line, const Clock& clock);

}  // namespace agenttask::agent
