#pragma once
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "server/store/sqlite/reads.hpp"

namespace agenttask::server::sqlite {

/// The writing half, on the writer's connection.
class SqliteWrites final : public WriteStore, public SqliteReads {
 public:
  explicit SqliteWrites(storage::Database& database) : SqliteReads(database) {}

  void insert_operator(const OperatorRecord& record) override;
  void revoke_operator(std::string_view id, UnixMilliseconds now) override;
  void insert_enrollment_token(const EnrollmentTokenRecord& record) override;
  void use_enrollment_token(std::string_view id) override;
  void remove_enrollment_token(std::string_view id) override;
  void insert_enrollment(const EnrollmentRecord& record) override;
  void insert_node(const NodeRecord& record) override;
  void update_node(const NodeRecord& record) override;
  void set_last_seen(std::string_view id, UnixMilliseconds last_seen,
                     std::optional<DurationMilliseconds> clock_offset) override;
  void insert_certificate(const CertificateRecord& record) override;
  void revoke_certificates(std::string_view node_id, UnixMilliseconds now) override;
  void insert_past_incarnation(std::string_view node_id, std::string_view incarnation,
                               UnixMilliseconds replaced_at) override;
  void remove_past_incarnations(std::string_view node_id) override;

  std::int64_t insert_task(const TaskRecord& record) override;
  void update_task_state(const TaskRecord& record) override;
  void clear_result(std::string_view task_id) override;
  void update_task_spec(const TaskSpec& spec) override;
  void mark_offered(std::string_view task_id, std::int64_t directive) override;
  bool mark_sent(std::string_view task_id, UnixMilliseconds now) override;
  void mark_choice_offered(std::string_view task_id, std::int64_t directive) override;
  void mark_all_offered(std::string_view node_id) override;
  void clear_directive_numbers(std::string_view node_id) override;
  void mark_in_doubt(std::string_view node_id, bool also_offered) override;
  void remove_task(std::string_view id) override;
  void insert_tombstone(const TombstoneRecord& record) override;
  std::int64_t insert_batch(const BatchRecord& record) override;
  void update_batch(const BatchRecord& record) override;
  void insert_part(std::int64_t batch, const BatchPart& part) override;
  void remove_part(std::int64_t batch, std::int64_t number) override;
  void insert_batch_tasks(BatchRecord& batch, const std::vector<BatchTask>& tasks) override;
  void remove_batch(std::int64_t sequence) override;
  void put_run(const Run& run, std::optional<std::int64_t> output_limit) override;
  void add_device_bytes(std::string_view task_id, std::int64_t bytes) override;
  void put_output(std::string_view task_id, std::int64_t run, const OutputChunk& chunk) override;

  void close_runs(std::string_view task_id, std::int64_t before, UnixMilliseconds now) override;
  bool trim_runs(std::string_view task_id, std::int64_t keep, std::size_t limit) override;
  bool insert_message(const MessageRecord& record) override;
  void trim_messages(std::string_view poster, const MessageBudget& budget) override;
  std::size_t remove_messages_before(DurationMilliseconds before, std::size_t limit) override;

  void append_directive(const DirectiveRecord& record) override;
  void set_directive_body(std::int64_t position, std::string_view body) override;
  void offer_directive(std::int64_t position, const Cursor& cursor) override;
  void remove_directive(std::int64_t position) override;
  void remove_queued(std::string_view task_id) override;
  void remove_acknowledged(std::string_view node_id, std::int64_t sequence) override;
  void remove_directives(std::string_view node_id) override;
  void insert_orphan(const OrphanRecord& record) override;
  void insert_idempotency(const IdempotencyRecord& record) override;
  bool date_what_is_over(DurationMilliseconds lived, UnixMilliseconds now, std::size_t limit) override;
  void forget_before(DurationMilliseconds idempotency, DurationMilliseconds tombstones,
                     DurationMilliseconds orphans, UnixMilliseconds now) override;
  void set_lived_time(const LivedTime& lived) override;

  void touch(std::string key) override { touched_.push_back(std::move(key)); }
  void commits(CommitPoint point) override { database_.commits(point); }
  void after_commit(std::function<void()> action) override { actions_.push_back(std::move(action)); }
  [[nodiscard]] std::vector<std::string>& touched() { return touched_; }
  [[nodiscard]] std::vector<std::function<void()>>& actions() { return actions_; }

 private:
  void forget_choice_numbers(std::string_view node_id);
  void remove_runs(std::string_view task_id, std::int64_t last);
  /// The sequence of a task of its node that is there already and gets into the batch; 0: none.
  std::int64_t adopt_batch_task(const BatchRecord& batch, const BatchTask& task);
  void count_batch_tasks(const BatchRecord& batch, std::string_view status, std::size_t count);
  void put_tags(std::int64_t sequence, const std::vector<std::string>& tags);

  std::vector<std::string> touched_;
  std::vector<std::function<void()>> actions_;
};

}  // namespace agenttask::server::sqlite
