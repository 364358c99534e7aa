#pragma once
#include "platform/storage/database.hpp"
#include "server/store/store.hpp"

namespace agenttask::server::sqlite {

/// The reading half over one connection. Threads: one at a time, as the connection.
class SqliteReads : public virtual ReadStore {
 public:
  explicit SqliteReads(storage::Database& database) : database_(database) {}

  [[nodiscard]] Result<void> check() const override { return database_.check(); }

  [[nodiscard]] std::optional<OperatorRecord> operator_by_hash(std::string_view token_hash) const override;
  [[nodiscard]] std::optional<OperatorRecord> operator_by_id(std::string_view id) const override;
  [[nodiscard]] std::vector<OperatorRecord> operators() const override;
  [[nodiscard]] std::optional<EnrollmentTokenRecord> enrollment_token_by_hash(
      std::string_view secret_hash) const override;
  [[nodiscard]] std::optional<EnrollmentTokenRecord> enrollment_token_by_id(
      std::string_view id) const override;
  [[nodiscard]] std::vector<EnrollmentTokenRecord> enrollment_tokens() const override;
  [[nodiscard]] std::optional<EnrollmentRecord> enrollment(std::string_view token_id,
                                                           std::string_view key_digest) const override;
  [[nodiscard]] std::optional<NodeRecord> node(std::string_view id) const override;
  [[nodiscard]] std::vector<NodeRecord> nodes_by_name(std::string_view name) const override;
  [[nodiscard]] std::vector<NodeRecord> nodes(std::string_view before, std::size_t limit,
                                              std::string_view name, const Labels& labels) const override;
  [[nodiscard]] std::vector<std::string> nodes_with(const Labels& labels) const override;
  [[nodiscard]] std::vector<std::string> revoked_among(const std::vector<std::string>& ids) const override;
  [[nodiscard]] std::optional<CertificateRecord> certificate(std::string_view fingerprint) const override;
  [[nodiscard]] bool is_lost_time(UnixMilliseconds issued) const override;
  [[nodiscard]] std::optional<UnixMilliseconds> incarnation_replaced_at(
      std::string_view node_id, std::string_view incarnation) const override;

  [[nodiscard]] std::optional<TaskRecord> task(std::string_view id, WithData with_data) const override;
  [[nodiscard]] std::vector<TaskRecord> tasks(const TaskFilter& filter, std::int64_t before,
                                              std::size_t limit, WithData with_data) const override;
  [[nodiscard]] std::vector<std::pair<std::string, TaskStatus>> tasks_for_epoch(
      std::string_view node_id) const override;
  [[nodiscard]] std::vector<std::string> deleted_tasks_going_on(std::string_view node_id) const override;
  [[nodiscard]] std::vector<std::string> tasks_in_doubt(std::string_view node_id) const override;
  [[nodiscard]] std::vector<std::string> open_tasks(std::string_view node_id) const override;
  [[nodiscard]] std::optional<std::string> task_of_directive(std::string_view node_id,
                                                             std::int64_t directive) const override;
  [[nodiscard]] std::optional<std::string> task_of_choice(std::string_view node_id,
                                                          std::int64_t directive) const override;
  [[nodiscard]] std::vector<std::string> expired_tasks(UnixMilliseconds now,
                                                       std::size_t limit) const override;
  [[nodiscard]] std::optional<UnixMilliseconds> next_expiry() const override;
  [[nodiscard]] std::vector<std::string> purgeable_tasks(DurationMilliseconds before,
                                                         std::size_t limit) const override;
  [[nodiscard]] std::optional<TombstoneRecord> tombstone(std::string_view task_id) const override;
  [[nodiscard]] std::optional<BatchRecord> batch(std::string_view id, WithData with_data) const override;
  [[nodiscard]] std::optional<BatchRecord> batch_at(std::int64_t sequence) const override;
  [[nodiscard]] std::vector<BatchRecord> batches(std::int64_t before, std::size_t limit) const override;
  [[nodiscard]] std::vector<std::int64_t> open_batches() const override;
  [[nodiscard]] std::optional<BatchPart> next_part(std::int64_t batch) const override;
  [[nodiscard]] std::vector<std::string> open_tasks_of(const BatchRecord& batch, std::int64_t after,
                                                       std::size_t limit) const override;
  [[nodiscard]] std::string batch_seed() const override;
  [[nodiscard]] std::optional<std::string> id_if_over(std::int64_t batch) const override;
  [[nodiscard]] std::optional<Run> run(std::string_view task_id, std::int64_t number) const override;
  [[nodiscard]] std::vector<Run> runs(std::string_view task_id) const override;
  [[nodiscard]] std::vector<Run> runs_before(std::string_view task_id, std::int64_t before,
                                             std::size_t limit) const override;
  [[nodiscard]] std::vector<std::string> tasks_with_many_runs(std::int64_t keep,
                                                              std::size_t limit) const override;
  [[nodiscard]] std::vector<std::string> tasks_with_choice_requested(std::string_view node_id) const override;
  [[nodiscard]] std::optional<MessageRecord> message(std::string_view poster,
                                                     std::string_view id) const override;
  [[nodiscard]] std::vector<MessageRecord> messages(const MessageFilter& filter, std::int64_t before,
                                                    std::size_t limit) const override;
  [[nodiscard]] std::vector<OutputChunk> output(std::string_view task_id, std::int64_t run) const override;
  [[nodiscard]] std::vector<OutputChunk> output_after(std::string_view task_id, std::int64_t run,
                                                      OutputStream stream, std::int64_t offset,
                                                      std::size_t most) const override;
  [[nodiscard]] std::optional<std::int64_t> output_limit(std::string_view task_id,
                                                         std::int64_t run) const override;
  [[nodiscard]] std::int64_t output_bytes(std::string_view task_id, std::int64_t run,
                                          OutputStream stream) const override;
  [[nodiscard]] std::vector<DirectiveRecord> queued_directives(std::string_view node_id,
                                                               std::size_t limit) const override;
  [[nodiscard]] std::vector<DirectiveRecord> offered_directives(std::string_view node_id, std::int64_t after,
                                                                std::size_t limit) const override;
  [[nodiscard]] std::optional<std::string> directive_chain(std::string_view node_id,
                                                           std::int64_t sequence) const override;
  [[nodiscard]] std::vector<DirectiveRecord> waiting_directives(std::string_view node_id, DirectiveKind kind,
                                                                std::string_view task_id) const override;
  [[nodiscard]] std::vector<DirectiveKind> requests_about(std::string_view task_id) const override;
  [[nodiscard]] DeviceTotals device_totals(std::string_view node_id) const override;
  [[nodiscard]] std::vector<OrphanRecord> orphans(std::string_view node_id) const override;
  [[nodiscard]] std::optional<IdempotencyRecord> idempotency(std::string_view operator_id,
                                                             std::string_view key) const override;
  [[nodiscard]] std::optional<LivedTime> lived_time() const override;

 protected:
  storage::Database& database_;

 private:
  void add_payload(TaskRecord& record) const;
  [[nodiscard]] BatchRecord read_batch(const storage::Statement& row) const;
};

}  // namespace agenttask::server::sqlite
