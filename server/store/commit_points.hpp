#pragma once
#include <array>

#include "platform/base/commit_point.hpp"

/// What the server makes durable, by name. The writer commits many jobs at once: such a commit has the names
/// of all. Each needs a scenario in
/// tests/system/test_server_commit_points.py.
namespace agenttask::server::commit_point {

// What operators ask for: each route that writes has a name (server/api/router.cpp).
inline constexpr CommitPoint kTaskCreated{"task-created"};
inline constexpr CommitPoint kBatchCreated{"batch-created"};
inline constexpr CommitPoint kBatchCancelAsked{"batch-cancel-asked"};
inline constexpr CommitPoint kTaskUpdated{"task-updated"};
inline constexpr CommitPoint kTaskDeleted{"task-deleted"};
inline constexpr CommitPoint kCancelAsked{"cancel-asked"};
inline constexpr CommitPoint kChoiceAsked{"choice-asked"};
inline constexpr CommitPoint kPauseAsked{"pause-asked"};
inline constexpr CommitPoint kResumeAsked{"resume-asked"};
inline constexpr CommitPoint kRunAsked{"run-asked"};
inline constexpr CommitPoint kMessagePosted{"message-posted"};
inline constexpr CommitPoint kNodeChanged{"node-changed"};
inline constexpr CommitPoint kNodeRevoked{"node-revoked"};
inline constexpr CommitPoint kNodeReleased{"node-released"};
inline constexpr CommitPoint kTokenCreated{"token-created"};
inline constexpr CommitPoint kTokenRemoved{"token-removed"};
inline constexpr CommitPoint kOperatorCreated{"operator-created"};
inline constexpr CommitPoint kOperatorRevoked{"operator-revoked"};

// What devices ask for, and what comes of it.
inline constexpr CommitPoint kDeviceEnrolled{"device-enrolled"};
inline constexpr CommitPoint kCertificateRenewed{"certificate-renewed"};
inline constexpr CommitPoint kPollApplied{"poll-applied"};
inline constexpr CommitPoint kIncarnationFollowed{"incarnation-followed"};
inline constexpr CommitPoint kDirectivesOffered{"directives-offered"};
inline constexpr CommitPoint kDirectivesAcknowledged{"directives-acknowledged"};
inline constexpr CommitPoint kReportsApplied{"reports-applied"};
inline constexpr CommitPoint kEpochOpened{"epoch-opened"};
inline constexpr CommitPoint kSnapshotComplete{"snapshot-complete"};
inline constexpr CommitPoint kDeviceQuarantined{"device-quarantined"};

// What the server does by itself, and its administration on the command line.
inline constexpr CommitPoint kBatchTasksMade{"batch-tasks-made"};  ///< past those of the first commit
inline constexpr CommitPoint kBatchCancelled{"batch-cancelled"};   ///< as above
inline constexpr CommitPoint kTasksExpired{"tasks-expired"};
inline constexpr CommitPoint kClockRecorded{"clock-recorded"};
inline constexpr CommitPoint kTasksPurged{
    "tasks-purged"};  ///< with old messages and all else that is past its time
inline constexpr CommitPoint kRunsTrimmed{"runs-trimmed"};
inline constexpr CommitPoint kPresenceStored{"presence-stored"};
inline constexpr CommitPoint kAdministered{"administered"};
inline constexpr CommitPoint kAuthorityKeyKept{"authority-key-kept"};  ///< a file, as those below
inline constexpr CommitPoint kAuthorityKept{"authority-kept"};
inline constexpr CommitPoint kServerCertificateKept{"server-certificate-kept"};
inline constexpr CommitPoint kTicketKeysKept{"ticket-keys-kept"};
inline constexpr CommitPoint kBackupWritten{"backup-written"};
inline constexpr CommitPoint kBackupKept{"backup-kept"};
inline constexpr CommitPoint kRestoreStaged{"restore-staged"};  ///< it will be finished, whatever happens
// Then the former state goes aside and the restored one in, part by part.
inline constexpr CommitPoint kRestoreAuthorityAside{"restore-authority-aside"};
inline constexpr CommitPoint kRestoreDatabaseAside{"restore-database-aside"};
inline constexpr CommitPoint kRestoreLogAside{"restore-log-aside"};
inline constexpr CommitPoint kRestoreKeysAside{"restore-keys-aside"};
inline constexpr CommitPoint kRestoreDatabaseIn{"restore-database-in"};
inline constexpr CommitPoint kRestoreKeysIn{"restore-keys-in"};
inline constexpr CommitPoint kRestoreSettingsIn{"restore-settings-in"};
inline constexpr CommitPoint kRestoreAuthorityIn{"restore-authority-in"};
inline constexpr CommitPoint kRestoreFinished{"restore-finished"};

inline constexpr std::array kAll{kSchemaMigrated,
                                 kTaskCreated,
                                 kBatchCreated,
                                 kBatchCancelAsked,
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
                                 kBatchTasksMade,
                                 kBatchCancelled,
                                 kTasksExpired,
                                 kClockRecorded,
                                 kTasksPurged,
                                 kRunsTrimmed,
                                 kPresenceStored,
                                 kAdministered,
                                 kAuthorityKeyKept,
                                 kAuthorityKept,
                                 kServerCertificateKept,
                                 kTicketKeysKept,
                                 kBackupWritten,
                                 kBackupKept,
                                 kRestoreStaged,
                                 kRestoreAuthorityAside,
                                 kRestoreDatabaseAside,
                                 kRestoreLogAside,
                                 kRestoreKeysAside,
                                 kRestoreDatabaseIn,
                                 kRestoreKeysIn,
                                 kRestoreSettingsIn,
                                 kRestoreAuthorityIn,
                                 kRestoreFinished};

}  // namespace agenttask::server::commit_point
