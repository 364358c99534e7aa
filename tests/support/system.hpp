#pragma once
#include <string>

/// What tests ask of the system directly; one body for each.
namespace agenttask::test {

/// Sets or removes a variable of this process's environment. Not while other threads look at it.
void set_variable(const char* name, const std::string& value);
void unset_variable(const char* name);

/// As the programs do: a peer that is gone is an error, not an end.
void ignore_broken_pipes();

/// Ends both directions of a connected or listening socket; whoever waits for it wakes up.
void end_socket(int socket);
/// Says that nothing more will be sent.
void stop_sending(int socket);
/// The same, and reads what the peer still sends, to its end.
void finish_socket(int socket);

}  // namespace agenttask::test
