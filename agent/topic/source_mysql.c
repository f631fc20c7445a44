/* MySQL's and MariaDB's block `source`. `query` is null: the log need not have the statements. */
#include <inttypes.h>
#include <stdio.h>

#include "agent/topic/members.h"
#include "agent/topic/source.h"

static void put_optional_text(bool avro, const char *text, Bytes *to)
{
    if (text) {
        put_there(avro, to);
        put_text(avro, text, to);
    } else {
        put_null(avro, to);
    }
}

void source_mysql_init(SourceBlock *block, const char *database, const char *table_name)
{
    bool avro = block->avro;
    put_label(avro, ",\"db\":", &block->database);
    put_text(avro, database, &block->database);
    put_label(avro, ",\"sequence\":", &block->database);
    put_null(avro, &block->database);
    put_label(avro, ",\"ts_us\":", &block->database);
    put_label(avro, ",\"table\":", &block->table);
    put_there(avro, &block->table);
    put_text(avro, table_name, &block->table);
    put_label(avro, ",\"server_id\":", &block->table);
}

static void take_transaction(SourceBlock *block, const TransactionOrigin *transaction,
                             TopicSnapshot snapshot)
{
    bool avro = block->avro;
    int64_t us = transaction->commit_us;
    Bytes *head = &block->head, *tail = &block->tail;
    char gtid[128];
    block->transaction = transaction;
    block->snapshot = snapshot;
    bytes_clear(head);
    bytes_clear(tail);
    bytes_put(head, block->name.data, block->name.used);
    put_integer(avro, scalar_floor(us, 1000), head);
    put_label(avro, ",\"snapshot\":", head);
    if (avro)
        bytes_put_u8(head, 0); /* its union has the text first, because of the default */
    put_text(avro, source_snapshots[snapshot], head);
    bytes_put(head, block->database.data, block->database.used);
    put_there(avro, head);
    put_integer(avro, us, head);
    put_label(avro, ",\"ts_ns\":", head);
    put_there(avro, head);
    put_integer(avro, us * 1000, head);
    bytes_put(head, block->table.data, block->table.used);
    put_integer(avro, transaction->server, head);
    put_label(avro, ",\"gtid\":", head);
    if (transaction->origin)
        snprintf(gtid, sizeof gtid, "%s%" PRIu64, transaction->origin, transaction->id);
    put_optional_text(avro, transaction->origin ? gtid : NULL, head);
    put_label(avro, ",\"file\":", head);
    put_text(avro, transaction->file ? transaction->file : "", head);
    put_label(avro, ",\"pos\":", head);
    put_label(avro, ",\"thread\":", tail);
    if (transaction->thread) {
        put_there(avro, tail);
        put_integer(avro, transaction->thread, tail);
    } else {
        put_null(avro, tail);
    }
    put_label(avro, ",\"query\":", tail);
    put_null(avro, tail);
    put_label(avro, "}" SOURCE_NEXT, tail);
}

void source_mysql_put(SourceBlock *block, const TransactionOrigin *transaction,
                      const RowOrigin *row, TopicSnapshot snapshot, Bytes *to)
{
    if (UNLIKELY(block->transaction != transaction || block->snapshot != snapshot))
        take_transaction(block, transaction, snapshot);
    bytes_put(to, block->head.data, block->head.used);
    put_integer(block->avro, (int64_t)source_place_offset(row->lsn), to);
    put_label(block->avro, ",\"row\":", to);
    put_integer(block->avro, row->row, to);
    bytes_put(to, block->tail.data, block->tail.used);
}
