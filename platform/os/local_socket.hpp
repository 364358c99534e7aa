#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "platform/base/error.hpp"

/// A stream between programs of one machine that tells who is at the other end: a Unix socket; a named pipe
/// on Windows. Addresses come from `Folders::console_address`.
namespace agenttask::os {

/// Who is at the other end, as the system vouches for it.
struct Peer {
  std::string user_name = {};            ///< empty when the id has no name
  std::string user_id = {};              ///< "1000"; a SID on Windows
  std::vector<std::string> groups = {};  ///< names of the process's groups; the id where there is no name
  bool is_administrator = false;         ///< root; Administrators on Windows
  bool is_same_user = false;             ///< runs as the same user as we do
  /// A person's account rather than that of a service or of nobody: on Linux an id from UID_MIN of
  /// /etc/login.defs on, those left out that the system hands out itself.
  bool is_person = false;
  std::int64_t pid = 0;
};

/// Who may connect. What a caller may then do is decided by its `Peer`.
struct LocalAccess {
  bool everyone = false;   ///< everybody on this machine
  std::string group = {};  ///< besides the owner and root, this group; empty: nobody
};

/// One connection. Threads: one reads while another writes; `peer` and `peer_gone` from any.
class LocalStream {
 public:
  /// Connects. `unavailable`: nobody listens there; `denied`: no permission; `invalid`: the address is too
  /// long (a Unix socket's path has at most 107 bytes); `timeout`: the listener does not accept.
  static Result<LocalStream> connect(const std::string& address, std::chrono::milliseconds timeout);

  LocalStream(LocalStream&&) noexcept;
  LocalStream& operator=(LocalStream&&) noexcept;
  ~LocalStream();

  /// Waits for bytes and reads what is there, at most `into.size()`. 0: the other side has closed its end.
  /// `timeout`: nothing came in time; `unavailable`: stopped, or the connection broke. A zero timeout waits
  /// for ever.
  Result<std::size_t> read_some(std::span<char> into, std::chrono::milliseconds timeout,
                                const std::stop_token& stop = {});

  /// The next line without its newline; nothing when the other side has closed its end after whole lines.
  /// `limit`: the line has more than `most` bytes; `invalid`: the end came inside a line; otherwise as
  /// `read_some`. Don't mix with it.
  Result<std::optional<std::string>> read_line(std::size_t most, std::chrono::milliseconds timeout,
                                               const std::stop_token& stop = {});

  /// Writes all of it, or fails: `timeout` when the other side did not take it in time, `unavailable` when it
  /// is gone or `stop` asked. Never raises SIGPIPE.
  Result<void> write_all(std::string_view bytes, std::chrono::milliseconds timeout,
                         const std::stop_token& stop = {});

  /// Says that nothing more will be written; the other side reads an end of file.
  void finish_writing();

  /// Whether the other side has closed the connection (unread bytes may still be there).
  [[nodiscard]] bool peer_gone() const;

  [[nodiscard]] const Peer& peer() const;

 private:
  friend class LocalListener;
  struct State;
  explicit LocalStream(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// Accepts connections. Threads: one accepts. The socket file is removed when it closes.
class LocalListener {
 public:
  /// Listens at `address`. A socket file that nobody listens on any more is replaced; `conflict` when
  /// somebody does, or when the path is something else than a socket; `invalid` when the address is too long;
  /// `not_found` for an unknown group.
  static Result<LocalListener> listen(const std::string& address, const LocalAccess& access);

  LocalListener(LocalListener&&) noexcept;
  LocalListener& operator=(LocalListener&&) noexcept;
  ~LocalListener();

  /// The next connection; nothing when `stop` asked. `unavailable`: no descriptor left just now; wait a
  /// moment and go on.
  Result<std::optional<LocalStream>> accept(const std::stop_token& stop);

 private:
  struct State;
  explicit LocalListener(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace agenttask::os
