/* One connector: how far its source may be told that rows are safe (law 1, law 2). Owned by the
 * capture thread; what writers bring (confirm_entry, confirm_low) comes under the flow's lock.
 *
 *   confirm_start ─► START(from) ─► confirm_held ─► NOTHING │ REOPEN
 *                ├─► STALL(SlotAhead)
 *   confirm_tick ─► WRITE_RECORD ─► confirm_written ─► CONFIRM │ READ_RECORD ─► confirm_read ─►
 *              CONFIRM │ WRITE_RECORD │ REOPEN
 *
 * The record is written on the condition that it is still as it was read or written last (S3:
 * If-Match; one that does not exist: If-None-Match): a late write by a process that slept, or one
 * that was given up, can't put an older record over a newer one. A rename in a local file system is
 * never late. Several warehouses: DONE when all have it, else the worst answer; READ: the lowest.
 */
#pragma once

#include "agent/commit/follow.h"

typedef enum ConfirmKind {
    CONFIRM_NOTHING,
    CONFIRM_START,        /* the stream begins at `position` */
    CONFIRM_WRITE_RECORD, /* `position`, and entries as they are now */
    CONFIRM_READ_RECORD,
    CONFIRM_SOURCE, /* tell the source `position` */
    CONFIRM_REOPEN, /* another process was at it: start again from slot, record, tables */
    CONFIRM_STALL,  /* for `reason`, because of `table` */
} ConfirmKind;

typedef struct ConfirmAction {
    ConfirmKind kind;
    RowPosition position;
    uint32_t table;
    StallReason reason;
} ConfirmAction;

typedef struct Confirm {
    RowPosition *lows;    /* per writer; the caller's array */
    RecordEntry *entries; /* per table, the caller's array; uuid "" = not complete, no entry */
    uint32_t writer_count, table_count;
    int64_t interval_us;
    RowPosition received; /* the latest checkpoint that was handed out: never confirmed as such */
    RowPosition recorded;
    RowPosition writing;
    bool busy; /* the record is being written or read */
    bool read_due;
    Pause pause;
    int64_t next_us;
} Confirm;

void confirm_init(Confirm *confirm, RowPosition *lows, uint32_t writer_count, RecordEntry *entries,
                  uint32_t table_count, int64_t interval_us);
/* from: what follow_open (or the copy's commit) said, per table. slot: what the source was told, as
 * it was read before the record. */
ConfirmAction confirm_start(Confirm *confirm, const RowPosition *from, RowPosition slot);
/* The stream has begun, the slot is held and nobody else can confirm any more: what the source was
 * told, read again. A process that was taken for dead may have gone on in between; the source then
 * starts behind what was asked for, without a word. NOTHING or REOPEN. */
ConfirmAction confirm_held(const Confirm *confirm, RowPosition slot);
void confirm_received(Confirm *confirm, RowPosition checkpoint);
/* After a table's commit, before the writer's low watermark that counts it. */
void confirm_entry(Confirm *confirm, uint32_t table, const RecordEntry *entry);
/* The lowest follow_low of a writer's tables. */
void confirm_low(Confirm *confirm, uint32_t writer, RowPosition low);
RowPosition confirm_durable(const Confirm *confirm);
/* last: the flow drains; the interval doesn't count. */
ConfirmAction confirm_tick(Confirm *confirm, int64_t now_us, bool last);
ConfirmAction confirm_written(Confirm *confirm, CommitAnswer answer, int64_t now_us);
/* at: what the record says; {0, 0} if there is none. */
ConfirmAction confirm_read(Confirm *confirm, RowPosition at);
ConfirmAction confirm_read_failed(Confirm *confirm, int64_t now_us);
