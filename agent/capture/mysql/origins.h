/* What the log says of rows beyond their values, for receivers that pass it on
 * (agent/record/origin.h): which transaction, who wrote it, when, and the how manieth of it a row
 * is. Pure. */
#pragma once

#include "agent/capture/builders/builders.h"
#include "agent/capture/mysql/binlog.h"

typedef struct MyOrigins MyOrigins;
void my_origins_free(MyOrigins *origins); /* NULL is fine */
/* builders: which count the changes of a transaction; they outlive it. */
MyOrigins *my_origins_new(Builders *builders) OWNED_BY(my_origins_free);

/* The file that events stand in from here on. */
MUST_CHECK bool my_origins_file(MyOrigins *origins, const char *name, size_t bytes, Error *err);
MUST_CHECK bool my_origins_begin(MyOrigins *origins, const GtidEvent *gtid, Error *err);
/* The statement BEGIN; place: behind it. */
void my_origins_begun(MyOrigins *origins, uint32_t thread, uint64_t place);
/* The batch's rows from `first` on are what the event's row, the one at `at`, became. place: where
 * the event begins. */
void my_origins_rows(MyOrigins *origins, Batch *batch, uint32_t first, const BinlogEvent *event,
                     uint64_t place, uint32_t row);
/* The same of a change that is no row. */
void my_origins_change(MyOrigins *origins, const BinlogEvent *event, uint64_t place, Change *ret);
/* … and is not counted among its changes. */
void my_origins_statement(MyOrigins *origins, const BinlogEvent *event, uint64_t place,
                          Change *ret);
/* The transaction is over; false: none of it was put. */
bool my_origins_end(MyOrigins *origins, uint64_t place, Change *ret);

DEFINE_AUTO(MyOrigins, my_origins_free);
