/* The rules that a run can break, one at a time (agent/commit/mutant.h). Each has to be noticed. */
#pragma once

#define MUTANTS(X)                                                                                 \
    X(confirm_before_record)                                                                       \
    X(confirm_received)                                                                            \
    X(unknown_record_is_written)                                                                   \
    X(slot_not_read_again)                                                                         \
    X(slot_ahead_ignored)                                                                          \
    X(idle_not_counted)                                                                            \
    X(past_checkpoint_committed)                                                                   \
    X(passed_rows_applied)                                                                         \
    X(blind_rebase)                                                                                \
    X(rewrite_not_seen)                                                                            \
    X(unknown_is_failed)                                                                           \
    X(rollback_not_seen)                                                                           \
    X(another_table_taken)                                                                         \
    X(entry_ignored)                                                                               \
    X(source_change_ignored)                                                                       \
    X(stale_view_believed)                                                                         \
    X(zombie_not_fenced)                                                                           \
    X(wrong_from_accepted)                                                                         \
    X(group_blind_rebase)                                                                          \
    X(unknown_sent_anew)                                                                           \
    X(takeover_without_load)                                                                       \
    X(generation_ignored)                                                                          \
    X(deadline_ignored)                                                                            \
    X(gaps_not_committed)                                                                          \
    X(staged_deleted_at_rebalance)                                                                 \
    X(repeats_not_dropped)                                                                         \
    X(barrier_not_waiting)                                                                         \
    X(barrier_repeated)                                                                            \
    X(lane_overtakes)                                                                              \
    X(truncation_ignored)                                                                          \
    X(topic_made_anew_ignored)

typedef enum Mutant {
    MUTANT_none,
#define MUTANT_ENUM(name) MUTANT_##name,
    MUTANTS(MUTANT_ENUM)
#undef MUTANT_ENUM
        MUTANT_COUNT,
} Mutant;

extern Mutant simulate_mutant;
#define MUTANT(name) (simulate_mutant == MUTANT_##name)
