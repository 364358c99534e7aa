#pragma once
#include <array>

#include "platform/base/commit_point.hpp"

/// What the agent makes durable, by name. A transaction of the ledger has the name of what was asked for, and
/// further ones where it does more than that. Each needs a scenario in tests/system/test_commit_points.py.
namespace agenttask::agent::commit_point {

// What people on the device, and workers, ask for.
constexpr CommitPoint kTaskCreated{"task-created"};
constexpr CommitPoint kTaskUpdated{"task-updated"};
constexpr CommitPoint kTaskCancelled{"task-cancelled"};
constexpr CommitPoint kTaskDeleted{"task-deleted"};
constexpr CommitPoint kTaskPaused{"task-paused"};
constexpr CommitPoint kTaskResumed{"task-resumed"};
constexpr CommitPoint kRunRequested{"run-requested"};
constexpr CommitPoint kChoiceMade{"choice-made"};
constexpr CommitPoint kMessagePosted{"message-posted"};
constexpr CommitPoint kHoldChanged{"hold-changed"};

// Between the device and its server.
constexpr CommitPoint kDirectivesReceived{"directives-received"};
constexpr CommitPoint kQuarantineNoted{"quarantine-noted"};
constexpr CommitPoint kEpochAdopted{"epoch-adopted"};
constexpr CommitPoint kReportsAcknowledged{"reports-acknowledged"};
constexpr CommitPoint kIncarnationBegun{"incarnation-begun"};
constexpr CommitPoint kIncarnationAcknowledged{"incarnation-acknowledged"};
constexpr CommitPoint kNodeAdopted{"node-adopted"};
constexpr CommitPoint kServerLeft{"server-left"};
constexpr CommitPoint kEnrollmentWished{"enrollment-wished"};  ///< the key is made; a file, as those below
constexpr CommitPoint kEnrollmentForgotten{"enrollment-forgotten"};
constexpr CommitPoint kIdentityKept{"identity-kept"};
constexpr CommitPoint kIdentityForgotten{"identity-forgotten"};

// The life of runs.
constexpr CommitPoint kRunStarted{"run-started"};
constexpr CommitPoint kOutputKept{"output-kept"};  ///< a piece of it in the spool, while the run lasts
constexpr CommitPoint kProgressNoted{"progress-noted"};
constexpr CommitPoint kRunEnded{"run-ended"};
constexpr CommitPoint kWishesGranted{"wishes-granted"};    ///< with the end of the run that wished
constexpr CommitPoint kRunInterrupted{"run-interrupted"};  ///< the end of a run that was cut off
constexpr CommitPoint kTaskFailed{"task-failed"};          ///< without a run
constexpr CommitPoint kTaskDeferred{"task-deferred"};
constexpr CommitPoint kTasksParked{"tasks-parked"};
constexpr CommitPoint kWorkersChanged{"workers-changed"};
constexpr CommitPoint kTimeAdvanced{"time-advanced"};
constexpr CommitPoint kWaitsReported{"waits-reported"};
constexpr CommitPoint kTasksPurged{"tasks-purged"};

constexpr std::array kAll{kSchemaMigrated,
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
                          kTaskFailed,
                          kTaskDeferred,
                          kTasksParked,
                          kWorkersChanged,
                          kTimeAdvanced,
                          kWaitsReported,
                          kTasksPurged};

}  // namespace agenttask::agent::commit_point
