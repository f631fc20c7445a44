/* A reader of the copy, for copy.c, which reads ranges of ctid in the shared snapshot, and
 * beside.c, which reads ranges of the key, each in its own. */
#pragma once

#include <stdatomic.h>

#include "agent/capture/postgres/postgres.h"
#include "agent/capture/postgres/message.h"

typedef struct TableReader {
    CopyReader base;
    Postgres *postgres;
    PGconn *connection;
    Wire wire;
    int wake_fd;
    atomic_bool cancelled;
    Patience patience;    /* until then */
    const PgTable *table; /* of the range being read; NULL between ranges */
    uint32_t table_number;
    bool header_read;
    bool trailer_read;
    bool any_batch;
    PgValue *values; /* for the widest table; only filled to describe a bad row */
    Batch *batch;
    int wait_ms;
    bool beside; /* each range has a transaction of its own: beside.c */
} TableReader;

/* Connected; freed with copy_reader_free. */
TableReader *copy_reader_new(Postgres *postgres, Error *err);
MUST_CHECK bool copy_command(TableReader *reader, const char *sql, Error *err);
/* In a savepoint, the table's columns stay as they are; RETRY "ColumnsChanged" when they are not
 * those that are known. */
MUST_CHECK bool copy_hold_columns(TableReader *reader, const PgTable *table, Error *err);
/* COPY has begun: copy_next. */
MUST_CHECK bool copy_start(TableReader *reader, uint32_t table, const char *sql, Error *err);
