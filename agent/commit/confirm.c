#include "agent/commit/confirm.h"

#include "agent/commit/mutant.h"

static ConfirmAction nothing(void)
{
    return (ConfirmAction){.kind = CONFIRM_NOTHING};
}

void confirm_init(Confirm *confirm, RowPosition *lows, uint32_t writer_count, RecordEntry *entries,
                  uint32_t table_count, int64_t interval_us)
{
    ASSERT(writer_count && table_count);
    *confirm = (Confirm){.lows = lows,
                         .entries = entries,
                         .writer_count = writer_count,
                         .table_count = table_count,
                         .interval_us = interval_us};
    memset(entries, 0, table_count * sizeof *entries);
}

ConfirmAction confirm_start(Confirm *confirm, const RowPosition *from, RowPosition slot)
{
    RowPosition start = from[0];
    for (uint32_t i = 0; i < confirm->table_count; i++) {
        if (row_position_compare(from[i], slot) < 0 && !MUTANT(slot_ahead_ignored))
            return (ConfirmAction){.kind = CONFIRM_STALL, .table = i, .reason = STALL_SLOT_AHEAD};
        if (row_position_compare(from[i], start) < 0)
            start = from[i];
    }
    for (uint32_t i = 0; i < confirm->writer_count; i++)
        confirm->lows[i] = start;
    confirm->received = start;
    confirm->recorded = slot; /* what tables have beyond it is recorded and told at once */
    return (ConfirmAction){.kind = CONFIRM_START, .position = start};
}

ConfirmAction confirm_held(const Confirm *confirm, RowPosition slot)
{
    if (row_position_compare(slot, confirm->recorded) > 0 && !MUTANT(slot_not_read_again))
        return (ConfirmAction){.kind = CONFIRM_REOPEN};
    return nothing();
}

void confirm_received(Confirm *confirm, RowPosition checkpoint)
{
    confirm->received = checkpoint;
}

void confirm_entry(Confirm *confirm, uint32_t table, const RecordEntry *entry)
{
    ASSERT(table < confirm->table_count);
    confirm->entries[table] = *entry;
}

void confirm_low(Confirm *confirm, uint32_t writer, RowPosition low)
{
    ASSERT(writer < confirm->writer_count);
    /* tables that are ahead of the stream's start do not lift it backwards */
    if (row_position_compare(low, confirm->lows[writer]) > 0)
        confirm->lows[writer] = low;
}

RowPosition confirm_durable(const Confirm *confirm)
{
    if (MUTANT(confirm_received))
        return confirm->received;
    RowPosition low = confirm->lows[0];
    for (uint32_t i = 1; i < confirm->writer_count; i++)
        if (row_position_compare(confirm->lows[i], low) < 0)
            low = confirm->lows[i];
    return low;
}

static ConfirmAction confirm_source(Confirm *confirm)
{
    confirm->recorded = confirm->writing;
    confirm->busy = false;
    pause_reset(&confirm->pause);
    return (ConfirmAction){.kind = CONFIRM_SOURCE, .position = confirm->recorded};
}

ConfirmAction confirm_tick(Confirm *confirm, int64_t now_us, bool last)
{
    if (confirm->read_due && now_us >= confirm->pause.until_us) {
        confirm->read_due = false;
        return (ConfirmAction){.kind = CONFIRM_READ_RECORD};
    }
    if (confirm->busy || (!last && now_us < confirm->next_us))
        return nothing();
    RowPosition durable = confirm_durable(confirm);
    if (row_position_compare(durable, confirm->recorded) <= 0)
        return nothing();
    confirm->next_us = now_us + confirm->interval_us;
    confirm->writing = durable;
    if (MUTANT(confirm_before_record))
        return confirm_source(confirm);
    confirm->busy = true;
    return (ConfirmAction){.kind = CONFIRM_WRITE_RECORD, .position = durable};
}

static ConfirmAction read_later(Confirm *confirm, int64_t now_us)
{
    pause_start(&confirm->pause, now_us);
    confirm->read_due = true;
    return nothing();
}

ConfirmAction confirm_written(Confirm *confirm, CommitAnswer answer, int64_t now_us)
{
    ASSERT(confirm->busy);
    if (answer == ANSWER_DONE || (answer == ANSWER_UNKNOWN && MUTANT(unknown_record_is_written)))
        return confirm_source(confirm);
    return read_later(confirm, now_us);
}

/* Equal: whoever wrote it, everything up to there is durable. Less: written by a process before
 * this one, or ours did not take effect. */
ConfirmAction confirm_read(Confirm *confirm, RowPosition at)
{
    ASSERT(confirm->busy);
    int order = row_position_compare(at, confirm->writing);
    if (order > 0)
        return (ConfirmAction){.kind = CONFIRM_REOPEN};
    if (order == 0)
        return confirm_source(confirm);
    return (ConfirmAction){.kind = CONFIRM_WRITE_RECORD, .position = confirm->writing};
}

ConfirmAction confirm_read_failed(Confirm *confirm, int64_t now_us)
{
    ASSERT(confirm->busy);
    return read_later(confirm, now_us);
}
