/* Transaction metadata, where the manifest asks for it: that a transaction of the source began, and
 * how many changes of each table it had, messages of the log among them where these are asked for,
 * too. Batches come table by table, so counts are gathered until a checkpoint, when every
 * transaction before it is whole; beginning and end are then sent together. Of a transaction that a
 * restart cuts (one larger than the capture gathers) only the rest is counted.
 *
 * As Debezium names them: a transaction's id is "<xid>:<lsn>" with the LSN of the change it stands
 * in, at BEGIN of the first change, at END where the commit's record ends. */
#include <stdlib.h>
#include <string.h>

#include "agent/relay/flow.h"
#include "common/mem.h"

/* Debezium's word for their place among the tables. */
static const char messages_name[] = "LOGICAL_DECODING_MESSAGE";

static void counted_done(CountedTransaction *counted)
{
    free(counted->counts);
}

void relay_counted_done(RelayFlow *flow)
{
    for (size_t i = 0; i < flow->counted_count; i++)
        counted_done(&flow->counted[i]);
    free(flow->counted);
}

/* They come nearly in order: from the end. */
static CountedTransaction *find(RelayFlow *flow, uint64_t commit_lsn,
                                const TransactionOrigin *origin)
{
    size_t at = flow->counted_count;
    while (at && flow->counted[at - 1].commit_lsn > commit_lsn)
        at--;
    if (at && flow->counted[at - 1].commit_lsn == commit_lsn)
        return &flow->counted[at - 1];
    if (flow->counted_count == flow->counted_held) {
        flow->counted_held = flow->counted_held ? flow->counted_held * 2 : 16;
        flow->counted = mem_regrow(flow->counted, flow->counted_held, sizeof *flow->counted);
    }
    memmove(flow->counted + at + 1, flow->counted + at,
            (flow->counted_count++ - at) * sizeof *flow->counted);
    flow->counted[at] =
        (CountedTransaction){.commit_lsn = commit_lsn, .origin = *origin, .first_lsn = UINT64_MAX};
    return &flow->counted[at];
}

/* name: the same pointer each time */
static void count(CountedTransaction *of, const char *name, uint64_t lsn, uint64_t rows)
{
    if (lsn < of->first_lsn)
        of->first_lsn = lsn;
    for (size_t i = 0; i < of->table_count; i++)
        if (of->counts[i].table == name) {
            of->counts[i].rows += rows;
            return;
        }
    of->counts = mem_regrow(of->counts, of->table_count + 1, sizeof *of->counts);
    of->counts[of->table_count++] = (TransactionCount){name, rows};
}

void relay_count_rows(RelayFlow *flow, const RelayTable *table, const Batch *batch)
{
    const Origins *origins = batch->origins;
    if (!flow->others[CONNECTOR_TRANSACTION].records)
        return;
    for (uint32_t row = 0, end; row < batch->row_count; row = end) {
        uint64_t commit_lsn = batch->positions[row].major;
        for (end = row + 1; end < batch->row_count && batch->positions[end].major == commit_lsn;)
            end++;
        const RowOrigin *first = &origins->rows[row];
        count(find(flow, commit_lsn, &origins->transactions[first->transaction]), table->name,
              first->lsn, end - row);
    }
}

void relay_count_truncate(RelayFlow *flow, const RelayTable *table, const Change *change)
{
    if (flow->others[CONNECTOR_TRANSACTION].records)
        count(find(flow, change->row.major, &change->transaction), table->name, change->lsn, 1);
}

void relay_count_message(RelayFlow *flow, const Change *change)
{
    if (flow->others[CONNECTOR_TRANSACTION].records && change->total_order)
        count(find(flow, change->row.major, &change->transaction), messages_name, change->lsn, 1);
}

void relay_count_end(RelayFlow *flow, const Change *change)
{
    if (flow->others[CONNECTOR_TRANSACTION].records)
        find(flow, change->row.major, &change->transaction)->end_lsn = change->lsn;
}

void relay_put_counted(RelayFlow *flow)
{
    size_t whole = 0;
    OtherTopic *to = &flow->others[CONNECTOR_TRANSACTION];
    for (; whole < flow->counted_count; whole++) {
        CountedTransaction *each = &flow->counted[whole];
        RowPosition end = {.major = each->commit_lsn, .minor = UINT64_MAX};
        if (row_position_compare(flow->checkpoint, end) < 0)
            break;
        TopicRecords *records = outbox_to(&flow->box, &to->topic);
        connector_transaction(to->records, &each->origin, each->first_lsn, false, NULL, 0, records);
        connector_transaction(to->records, &each->origin, each->end_lsn, true, each->counts,
                              each->table_count, records);
        counted_done(each);
    }
    flow->counted_count -= whole;
    if (whole)
        memmove(flow->counted, flow->counted + whole, flow->counted_count * sizeof *flow->counted);
}
