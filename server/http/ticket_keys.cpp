#include "server/http/ticket_keys.hpp"

#include <algorithm>
#include <cstring>

#include "platform/base/encoding.hpp"
#include "platform/base/ids.hpp"

namespace agenttask::server {
namespace {

constexpr std::string_view kFirstLine = "agenttask-ticket-keys-1\n";
constexpr std::size_t kKeyBytes = 16 + 32 + 32;
constexpr std::size_t kMostKeys = 8;

template <std::size_t Size>
void copy(std::array<unsigned char, Size>& to, std::string_view from) {
  std::memcpy(to.data(), from.data(), Size);
}

template <std::size_t Size>
std::string_view view(const std::array<unsigned char, Size>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), Size};
}

TicketKeys::Key make_key(std::string_view bytes, UnixMilliseconds made) {
  TicketKeys::Key key{};
  copy(key.name, bytes.substr(0, 16));
  copy(key.cipher, bytes.substr(16, 32));
  copy(key.mac, bytes.substr(48, 32));
  key.made = made;
  return key;
}

Error damaged() {
  return Error{ErrorCode::corrupt, "the session ticket keys are damaged"};
}

Result<TicketKeys::Key> decode_line(std::string_view line) {
  const auto space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || space > 15) return damaged();
  const auto digits = line.substr(0, space);
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }))
    return damaged();
  auto bytes = hex_decode(line.substr(space + 1));
  if (!bytes || bytes->size() != kKeyBytes) return damaged();
  return make_key(*bytes, std::stoll(std::string(digits)));
}

}  // namespace

Result<std::unique_ptr<TicketKeys>> TicketKeys::decode(std::string_view bytes) {
  if (!bytes.starts_with(kFirstLine)) return damaged();
  bytes.remove_prefix(kFirstLine.size());
  auto keys = std::make_unique<TicketKeys>();
  while (!bytes.empty()) {
    const auto end = bytes.find('\n');
    if (end == std::string_view::npos || keys->keys_.size() == kMostKeys) return damaged();
    auto key = decode_line(bytes.substr(0, end));
    if (!key) return key.error();
    keys->keys_.push_back(*key);
    bytes.remove_prefix(end + 1);
  }
  return keys;
}

std::string TicketKeys::encode() const {
  const std::lock_guard lock(mutex_);
  std::string text(kFirstLine);
  for (const auto& key : keys_) {
    text += std::to_string(key.made) + ' ' + hex_encode(view(key.name)) + hex_encode(view(key.cipher)) +
            hex_encode(view(key.mac)) + '\n';
  }
  return text;
}

bool TicketKeys::rotate(UnixMilliseconds now) {
  const std::lock_guard lock(mutex_);
  // A key from the future was made by a clock that has been put back since.
  const auto useless = [now](const Key& key) { return key.made > now || now - key.made >= 2 * kKeyLife; };
  const auto forgotten = std::erase_if(keys_, useless);
  if (!keys_.empty() && now - keys_.front().made < kKeyLife) return forgotten > 0;
  keys_.insert(keys_.begin(), make_key(random_bytes(kKeyBytes), now));
  return true;
}

std::optional<TicketKeys::Key> TicketKeys::current() const {
  const std::lock_guard lock(mutex_);
  if (keys_.empty()) return std::nullopt;
  return keys_.front();
}

std::optional<TicketKeys::Found> TicketKeys::find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  for (const auto& key : keys_) {
    if (view(key.name) == name) return Found{key, &key == &keys_.front()};
  }
  return std::nullopt;
}

}  // namespace agenttask::server
