#pragma once
#include <array>

#include "platform/base/commit_point.hpp"

/// What the server makes durable, by name. The writer commits many jobs at once: such a commit has the names
/// of all. Each needs a scenario in tests/system/test_commit_points.py.
namespace agenttask::server::commit_point {

// What operators ask for: each route that writes has a name (server/api/router.cpp).
constexpr CommitPoint kTaskCreated{"task-created"};
constexpr CommitPoint kTaskUpdated{"task-updated"};
constexpr CommitPoint kTaskDeleted{"task-deleted"};
constexpr CommitPoint kCancelAsked{"cancel-asked"};
constexpr CommitPoint kChoiceAsked{"choice-asked"};
constexpr CommitPoint kPauseAsked{"pause-asked"};
constexpr CommitPoint kResumeAsked{"resume-asked"};
constexpr CommitPoint kRunAsked{"run-asked"};
constexpr CommitPoint kMessagePosted{"message-posted"};
constexpr CommitPoint kNodeChanged{"node-changed"};
constexpr CommitPoint kNodeRevoked{"node-revoked"};
constexpr CommitPoint kNodeReleased{"node-released"};
constexpr CommitPoint kTokenCreated{"token-created"};
constexpr CommitPoint kTokenRemoved{"token-removed"};
constexpr CommitPoint kOperatorCreated{"operator-created"};
constexpr CommitPoint kOperatorRevoked{"operator-revoked"};

// What devices ask for, and what comes of it.
constexpr CommitPoint kDeviceEnrolled{"device-enrolled"};
constexpr CommitPoint kCertificateRenewed{"certificate-renewed"};
constexpr CommitPoint kPollApplied{"poll-applied"};
constexpr CommitPoint kIncarnationFollowed{"incarnation-followed"};
constexpr CommitPoint kDirectivesOffered{"directives-offered"};
constexpr CommitPoint kDirectivesAcknowledged{"directives-acknowledged"};
constexpr CommitPoint kReportsApplied{"reports-applied"};
constexpr CommitPoint kEpochOpened{"epoch-opened"};
constexpr CommitPoint kSnapshotComplete{"snapshot-complete"};
constexpr CommitPoint kDeviceQuarantined{"device-quarantined"};

// What the server does by itself, and its administration on the command line.
constexpr CommitPoint kTasksExpired{"tasks-expired"};
constexpr CommitPoint kClockRecorded{"clock-recorded"};
constexpr CommitPoint kTasksPurged{"tasks-purged"};  ///< with old messages and all else that is past its time
constexpr CommitPoint kRunsTrimmed{"runs-trimmed"};
constexpr CommitPoint kPresenceStored{"presence-stored"};
constexpr CommitPoint kAdministered{"administered"};

constexpr std::array kAll{kSchemaMigrated,
                          kTaskCreated,
                          kTaskUpdated,
                          kTaskDeleted,
                          kCancelAsked,
                          kChoiceAsked,
                          kPauseAsked,
                          kResumeAsked,
                          kRunAsked,
                          kMessagePosted,
                          kNodeChanged,
                          kNodeRevoked,
                          kNodeReleased,
                          kTokenCreated,
                          kTokenRemoved,
                          kOperatorCreated,
                          kOperatorRevoked,
                          kDeviceEnrolled,
                          kCertificateRenewed,
                          kPollApplied,
                          kIncarnationFollowed,
                          kDirectivesOffered,
                          kDirectivesAcknowledged,
                          kReportsApplied,
                          kEpochOpened,
                          kSnapshotComplete,
                          kDeviceQuarantined,
                          kTasksExpired,
                          kClockRecorded,
                          kTasksPurged,
                          kRunsTrimmed,

                          kPresenceStored,
                          kAdministered};

}  // namespace agenttask::server::commit_point
