#pragma once
#include <array>

#include "platform/base/commit_point.hpp"

/// What the agent makes durable, by name. A transaction of the ledger has the name of what was asked for, and
/// further ones where it does more than that. Each needs a scenario in tests/system/test_commit_points.py.
namespace agenttask::agent::commit_point {

// What people on the device, and workers, ask for.
inline constexpr CommitPoint kTaskCreated{"task-created"};
inline constexpr CommitPoint kTaskUpdated{"task-updated"};
inline constexpr CommitPoint kTaskCancelled{"task-cancelled"};
inline constexpr CommitPoint kTaskDeleted{"task-deleted"};
inline constexpr CommitPoint kTaskPaused{"task-paused"};
inline constexpr CommitPoint kTaskResumed{"task-resumed"};
inline constexpr CommitPoint kRunRequested{"run-requested"};
inline constexpr CommitPoint kChoiceMade{"choice-made"};
inline constexpr CommitPoint kMessagePosted{"message-posted"};
inline constexpr CommitPoint kHoldChanged{"hold-changed"};

// Between the device and its server.
inline constexpr CommitPoint kDirectivesReceived{"directives-received"};
inline constexpr CommitPoint kQuarantineNoted{"quarantine-noted"};
inline constexpr CommitPoint kEpochAdopted{"epoch-adopted"};
inline constexpr CommitPoint kReportsAcknowledged{"reports-acknowledged"};
inline constexpr CommitPoint kIncarnationBegun{"incarnation-begun"};
inline constexpr CommitPoint kIncarnationAcknowledged{"incarnation-acknowledged"};
inline constexpr CommitPoint kNodeAdopted{"node-adopted"};
inline constexpr CommitPoint kServerLeft{"server-left"};
inline constexpr CommitPoint kEnrollmentWished{
    "enrollment-wished"};  ///< the key is made; a file, as those below
inline constexpr CommitPoint kEnrollmentForgotten{"enrollment-forgotten"};
inline constexpr CommitPoint kIdentityKept{"identity-kept"};
inline constexpr CommitPoint kIdentityForgotten{"identity-forgotten"};

// The life of runs.
inline constexpr CommitPoint kRunStarted{"run-started"};
inline constexpr CommitPoint kOutputKept{"output-kept"};  ///< a piece of it in the spool, while the run lasts
inline constexpr CommitPoint kProgressNoted{"progress-noted"};
inline constexpr CommitPoint kRunEnded{"run-ended"};
inline constexpr CommitPoint kWishesGranted{"wishes-granted"};    ///< with the end of the run that wished
inline constexpr CommitPoint kRunInterrupted{"run-interrupted"};  ///< the end of a run that was cut off
// Files of a run outside the agent's service; its recorder comes to the second and the last.
inline constexpr CommitPoint kOutlivingRequested{"outliving-requested"};
inline constexpr CommitPoint kOutlivingClaimed{"outliving-claimed"};  ///< it begins, once
inline constexpr CommitPoint kOutlivingWithdrawn{"outliving-withdrawn"};
inline constexpr CommitPoint kOutlivingStopAsked{"outliving-stop-asked"};
inline constexpr CommitPoint kOutlivingEnded{"outliving-ended"};
inline constexpr CommitPoint kTaskRefused{"task-refused"};  ///< by the policy or its worker, without a run
inline constexpr CommitPoint kTaskDeferred{"task-deferred"};
inline constexpr CommitPoint kTasksParked{"tasks-parked"};
inline constexpr CommitPoint kWorkersChanged{"workers-changed"};
inline constexpr CommitPoint kTimeAdvanced{"time-advanced"};
inline constexpr CommitPoint kWaitsReported{"waits-reported"};
inline constexpr CommitPoint kTasksPurged{"tasks-purged"};

// What an administrator does with a ledger: files.
inline constexpr CommitPoint kLedgerSaved{"ledger-saved"};  ///< what could be read of it lies beside
inline constexpr CommitPoint kLedgerPutAway{"ledger-put-away"};
inline constexpr CommitPoint kSavedLedgerTaken{"saved-ledger-taken"};

inline constexpr std::array kAll{kSchemaMigrated,
                                 kTaskCreated,
                                 kTaskUpdated,
                                 kTaskCancelled,
                                 kTaskDeleted,
                                 kTaskPaused,
                                 kTaskResumed,
                                 kRunRequested,
                                 kChoiceMade,
                                 kMessagePosted,
                                 kHoldChanged,
                                 kDirectivesReceived,
                                 kQuarantineNoted,
                                 kEpochAdopted,
                                 kReportsAcknowledged,
                                 kIncarnationBegun,
                                 kIncarnationAcknowledged,
                                 kNodeAdopted,
                                 kServerLeft,
                                 kEnrollmentWished,
                                 kEnrollmentForgotten,
                                 kIdentityKept,
                                 kIdentityForgotten,
                                 kRunStarted,
                                 kOutputKept,
                                 kProgressNoted,
                                 kRunEnded,
                                 kWishesGranted,
                                 kRunInterrupted,
                                 kOutlivingRequested,
                                 kOutlivingClaimed,
                                 kOutlivingWithdrawn,
                                 kOutlivingStopAsked,
                                 kOutlivingEnded,
                                 kTaskRefused,
                                 kTaskDeferred,
                                 kTasksParked,
                                 kWorkersChanged,
                                 kTimeAdvanced,
                                 kWaitsReported,
                                 kTasksPurged,
                                 kLedgerSaved,
                                 kLedgerPutAway,
                                 kSavedLedgerTaken};

}  // namespace agenttask::agent::commit_point
