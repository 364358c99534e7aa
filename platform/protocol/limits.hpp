#pragma once
#include <cstddef>
#include <cstdint>

/// Every bound on what crosses a boundary. Each is tested at the limit and one past it; docs/protocol.md
/// lists them.
namespace agenttask::limits {

constexpr std::size_t kBodyBytes = 2 * 1024 * 1024;        ///< an operator's request body
constexpr std::size_t kStreamBodyBytes = 8 * 1024 * 1024;  ///< a batch of reports or directives
constexpr std::size_t kJsonDepth = 64;                     ///< nesting of arrays and objects in one document
constexpr std::size_t kDataBytes = 1024 * 1024;            ///< `data`, encoded
constexpr std::size_t kMetadataBytes = 64 * 1024;          ///< `metadata`, encoded, also after a merge
constexpr std::size_t kTypeBytes = 64;
constexpr std::size_t kDescriptionBytes = 4096;
constexpr std::size_t kTags = 32;
constexpr std::size_t kTagBytes = 128;
constexpr std::size_t kRoomBytes = 128;  ///< `roomId`, `worldId`
constexpr std::size_t kConcurrencyKeyBytes = 128;
constexpr std::size_t kNodeNameBytes = 253;
constexpr std::size_t kLabels = 32;
constexpr std::size_t kLabelKeyBytes = 63;
constexpr std::size_t kLabelValueBytes = 255;
constexpr std::size_t kIdempotencyKeyBytes = 128;
constexpr std::size_t kArguments = 4096;  ///< elements of `argv`
constexpr std::size_t kEnvironmentEntries = 256;

constexpr std::int64_t kDay = 24LL * 3600 * 1000;
constexpr std::int64_t kTimeoutMilliseconds = 366 * kDay;  ///< the longest `options.timeout`
constexpr std::int64_t kLatestTime = 253402300799999;      ///< 9999-12-31T23:59:59.999Z
constexpr std::int64_t kShortestInterval = 1000;
constexpr std::int64_t kLongestInterval = 10 * 366 * kDay;
constexpr std::int64_t kDefaultTimeout = 60'000;
constexpr std::int64_t kDefaultExpiry = 30 * kDay;  ///< what the server writes into one-time tasks
constexpr std::int64_t kDefaultMaxOutputBytes = 1024 * 1024;
constexpr std::int64_t kMaxOutputBytes = 16 * 1024 * 1024;
constexpr std::int64_t kMaxAttempts = 100;
constexpr std::int64_t kPriority = 1000;               ///< from -kPriority to kPriority
constexpr std::size_t kOutputChunkBytes = 256 * 1024;  ///< raw bytes in one output report
constexpr int kRerunsAfterInterrupt = 3;
constexpr std::int64_t kJitter = 30 * kDay;       ///< greatest `schedule.jitter`
constexpr std::int64_t kOccurrencesQueued = 100;  ///< occurrences that `queue` and `all` keep waiting
constexpr std::size_t kChoices = 32;              ///< choices of a task
constexpr std::size_t kChoiceNameBytes = 128;
constexpr std::size_t kChoiceDescriptionBytes = 1024;
constexpr std::size_t kMessageBytes = 64 * 1024;  ///< `content` of a worker's message, encoded

constexpr std::size_t kPageDefault = 100;
constexpr std::size_t kPageMost = 1000;
constexpr std::int64_t kWaitMost = 55'000;  ///< an operator's ?wait= and a device's long poll
constexpr std::size_t kDirectivesInPoll = 500;
constexpr std::size_t kReportsInPost = 1000;

}  // namespace agenttask::limits
