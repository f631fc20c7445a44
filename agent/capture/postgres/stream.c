/* The log, from START_REPLICATION on.
 *
 *   w XLogData    Int64 LSN, Int64 the server's end of log, Int64 time, a pgoutput message
 *   k keepalive   Int64 end of what was decoded and sent, Int64 time, Int8 1: answer at once
 *   r status      Int64 written, Int64 flushed, Int64 applied, Int64 time, Int8 0 (us → server)
 *
 * Flushed and applied are what the pipeline confirmed as durable, and nothing else ever moves the
 * slot. A status goes out each second, asked for or not, and when the server asks: so
 * capture_idle needs to read nothing.
 *
 * Threads: everything from one, but stream_confirm and stream_figures.
 * https://www.postgresql.org/docs/15/protocol-replication.html */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "agent/capture/linger/linger.h"
#include "agent/capture/postgres/connect.h"
#include "agent/capture/postgres/learn.h"
#include "agent/capture/postgres/pgoutput.h"
#include "agent/capture/postgres/toast.h"
#include "agent/capture/postgres/transactions.h"
#include "agent/capture/postgres/watch.h"
#include "agent/capture/postgres/message.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

/* An LSN as the server writes it. */
#define LSN_FORMAT "%" PRIX32 "/%" PRIX32
#define LSN_ARGS(lsn) (uint32_t)((lsn) >> 32), (uint32_t)(lsn)
#define START_TIMEOUT_MS 60000
#define STATUS_EVERY_US INT64_C(1000000)
#define GOODBYE_US INT64_C(2000000)
#define MESSAGES_PER_CLOCK 128
#define TRANSACTION_BYTES ((uint64_t)256 << 20)
#define US_1970_TO_2000 INT64_C(946684800000000)

struct Stream {
    Postgres *postgres;
    PGconn *connection;
    Wire wire;
    Pgoutput *out;
    Toast toast;
    Watch watch;
    int64_t now_us;
    int64_t status_due_us;
    bool status_asked;
    Linger linger;
    uint64_t received; /* the highest LSN the server named */
    uint64_t told;     /* flushed LSN of the last status */
    bool any_batch;
    bool started; /* replication runs: it is ended in good order */
    bool streams; /* transactions come before their commit */
    _Atomic(uint64_t) confirmed;
    pthread_mutex_t figures_lock;
    CaptureFigures figures;
};

/* CopyDone, and waits until the server is ready for the next command: it has read all that was sent
 * before, the last confirmed position among it. Best effort: what it did not read it will send
 * again. */
static void say_goodbye(Stream *stream)
{
    Error ignored;
    Wire *wire = &stream->wire;
    if (!message_send_done(wire, &ignored))
        return;
    int64_t until_us = clock_mono_us() + GOODBYE_US;
    while (clock_mono_us() < until_us) {
        uint8_t kind;
        Reader content;
        size_t bytes;
        WireResult result = message_next(wire, &kind, &content, &ignored);
        if (result == WIRE_OK && (kind == 'Z' || kind == 'E')) /* the slot is free */
            return;
        if (result == WIRE_EMPTY)
            result = wire_read(wire, &bytes, &ignored);
        if (result == WIRE_EMPTY)
            result = wire_wait(wire, GOODBYE_US / 1000, &ignored);
        if (result == WIRE_FAILED)
            return;
    }
}

void stream_close(Stream *stream)
{
    if (!stream)
        return;
    if (stream->started)
        say_goodbye(stream);
    wire_done(&stream->wire);
    pgoutput_free(stream->out);
    toast_done(&stream->toast);
    watch_done(&stream->watch);
    connect_close(stream->connection);
    pthread_mutex_destroy(&stream->figures_lock);
    free(stream);
}

/* 'a''"b"': publication_names is a list of identifiers inside a literal. */
static char *start_sql(const Postgres *postgres, uint64_t from, bool streaming)
{
    AUTO(mem_free) char *slot = connect_identifier(postgres->spec->pg_slot);
    AUTO(mem_free) char *publication = connect_identifier(postgres->spec->pg_publication);
    AUTO(mem_free) char *names = connect_literal(publication);
    return mem_format("START_REPLICATION SLOT %s LOGICAL " LSN_FORMAT
                      " (proto_version '2', publication_names %s, binary 'true', streaming '%s'%s)",
                      slot, LSN_ARGS(from), names, streaming ? "on" : "off",
                      postgres->options.origins ? ", messages 'true'" : "");
}

static bool start_replication(Stream *stream, uint64_t from, Error *err)
{
    Postgres *postgres = stream->postgres;
    if (!stream->connection)
        stream->connection = connect_open(postgres->spec, true, &postgres->patience, err);
    if (!stream->connection)
        return false;
    message_init(&stream->wire, stream->connection, -1);
    AUTO(mem_free) char *sql = start_sql(postgres, from, stream->streams);
    stream->started = message_command(&stream->wire, sql, 'W', START_TIMEOUT_MS, err);
    return stream->started || error_wrap(err, "slot %s", postgres->spec->pg_slot);
}

bool stream_start(Capture *capture, Error *err)
{
    Postgres *postgres = postgres_of(capture);
    ASSERT(!postgres->stream && !postgres->snapshot);
    Stream *stream = mem_zalloc(sizeof *stream);
    pthread_mutex_init(&stream->figures_lock, NULL);
    stream->postgres = postgres;
    stream->streams = true;
    stream->wire.fd = -1;
    linger_init(&stream->linger, postgres->options.linger_us);
    stream->connection = TAKE(postgres->replication);
    stream->toast.postgres = postgres;
    stream->out = pgoutput_new(&(PgoutputOptions){.tables = postgres->tables,
                                                  .table_count = postgres->table_count,
                                                  .fetch = toast_fetch,
                                                  .fetch_context = &stream->toast,
                                                  .learn = table_learn,
                                                  .retype = table_retype,
                                                  .settle = tables_settle,
                                                  .undone = transactions_undone,
                                                  .learn_context = postgres,
                                                  .origins = postgres->options.origins,
                                                  .commits = postgres->options.commits,
                                                  .messages = postgres->options.messages,
                                                  .transaction_bytes = TRANSACTION_BYTES});
    if (!start_replication(stream, postgres->start.major, err)) {
        stream_close(stream);
        return false;
    }
    stream->now_us = clock_mono_us();
    watch_init(&stream->watch, postgres, stream->now_us);
    postgres->stream = stream;
    AUTO(mem_free) char *from = mem_format(LSN_FORMAT, LSN_ARGS(postgres->start.major));
    log_info("following the log", LOG_T("source", postgres->source), LOG_T("from", from));
    return true;
}

/* --- telling the server --- */

static bool send_status(Stream *stream, Error *err)
{
    if (wire_sending(&stream->wire)) /* the last one has not gone yet */
        return wire_flush(&stream->wire, err);
    uint64_t flushed = atomic_load_explicit(&stream->confirmed, memory_order_acquire);
    if (flushed > stream->told)
        CRASH_POINT("before-confirm");
    uint64_t written = stream->received > flushed ? stream->received : flushed;
    uint8_t content[34] = {'r'};
    uint64_t numbers[4] = {written, flushed, flushed,
                           (uint64_t)(clock_wall_us() - US_1970_TO_2000)};
    for (size_t i = 0; i < 4; i++) {
        uint64_t big = __builtin_bswap64(numbers[i]);
        memcpy(content + 1 + 8 * i, &big, sizeof big);
    }
    if (!message_send_copy(&stream->wire, content, sizeof content, err))
        return false;
    stream->told = flushed;
    stream->status_asked = false;
    stream->status_due_us = stream->now_us + STATUS_EVERY_US;
    return true;
}

/* Each second, when the server asks, and as soon as there is something to confirm: that comes once
 * a second at most, and is what a stopping agent says last. */
static bool status_if_due(Stream *stream, Error *err)
{
    if (!stream->status_asked && stream->now_us < stream->status_due_us &&
        atomic_load_explicit(&stream->confirmed, memory_order_relaxed) <= stream->told)
        return true;
    return send_status(stream, err);
}

static void publish_figures(Stream *stream)
{
    pthread_mutex_lock(&stream->figures_lock);
    stream->figures.received = pgoutput_position(stream->out);
    stream->figures.confirmed.major = stream->told;
    stream->figures.source_end = stream->received;
    stream->figures.changes = pgoutput_changes(stream->out);
    stream->figures.bytes = stream->wire.bytes_read;
    stream->figures.keyed_reads = stream->toast.reads;
    stream->figures.headroom = stream->watch.latest;
    stream->figures.heartbeats = stream->watch.heartbeats;
    pthread_mutex_unlock(&stream->figures_lock);
}

bool stream_idle(Capture *capture, Error *err)
{
    Stream *stream = postgres_of(capture)->stream;
    if (!stream)
        return true;
    stream->now_us = clock_mono_us();
    /* What was confirmed since is told at once: nobody reads now, and after a drain nobody will. */
    if (atomic_load_explicit(&stream->confirmed, memory_order_acquire) > stream->told)
        stream->status_asked = true;
    bool ok = status_if_due(stream, err) &&
              watch_step(&stream->watch, stream->now_us, stream->received, err);
    publish_figures(stream);
    return ok;
}

void stream_keep(Stream *stream)
{
    stream->now_us = clock_mono_us();
    (void)!status_if_due(stream, NULL); /* whoever reads next finds out */
}

void stream_confirm(Capture *capture, RowPosition durable)
{
    Stream *stream = postgres_of(capture)->stream;
    if (!stream)
        return;
    /* Of a transaction that is durable in part, what lies before its commit record is. */
    uint64_t old = atomic_load_explicit(&stream->confirmed, memory_order_relaxed);
    while (durable.major > old &&
           !atomic_compare_exchange_weak_explicit(&stream->confirmed, &old, durable.major,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

void stream_figures(const Capture *capture, CaptureFigures *ret)
{
    Stream *stream = ((const Postgres *)capture)->stream;
    *ret = (CaptureFigures){0};
    if (!stream)
        return;
    pthread_mutex_lock(&stream->figures_lock);
    *ret = stream->figures;
    pthread_mutex_unlock(&stream->figures_lock);
}

/* --- reading --- */

static bool on_keepalive(Stream *stream, Reader in, Error *err)
{
    uint64_t end, sent_at;
    uint8_t answer;
    if (!reader_u64be(&in, &end) || !reader_u64be(&in, &sent_at) || !reader_u8(&in, &answer))
        return error_set(err, ERROR_RETRY, "BadMessage", "a keepalive is cut short");
    if (end > stream->received)
        stream->received = end;
    pgoutput_keepalive(stream->out, end);
    linger_beat(&stream->linger, stream->now_us);
    stream->status_asked = stream->status_asked || answer;
    return true;
}

static bool on_copy_data(Stream *stream, Reader in, Error *err)
{
    uint8_t kind;
    uint64_t lsn, end, sent_at;
    if (UNLIKELY(!reader_u8(&in, &kind)))
        return error_set(err, ERROR_RETRY, "BadMessage", "an empty replication message");
    if (UNLIKELY(kind == 'k'))
        return on_keepalive(stream, in, err);
    if (UNLIKELY(kind != 'w' || !reader_u64be(&in, &lsn) || !reader_u64be(&in, &end) ||
                 !reader_u64be(&in, &sent_at)))
        return error_set(err, ERROR_RETRY, "BadMessage", "a replication message of kind 0x%02x",
                         kind);
    if (lsn > stream->received)
        stream->received = lsn;
    if (end > stream->received)
        stream->received = end;
    linger_data(&stream->linger, stream->now_us);
    return pgoutput_message(stream->out, lsn, in.at, reader_left(&in), err);
}

static bool checkpoint_if(Stream *stream, bool due, bool *ret_made, Error *err)
{
    *ret_made = due && pgoutput_can_checkpoint(stream->out);
    if (!*ret_made)
        return true;
    if (!pgoutput_settle(stream->out, err))
        return false;
    pgoutput_checkpoint(stream->out);
    linger_done(&stream->linger);
    return true;
}

/* From here on transactions come whole, after their commit: on a new connection, whose caches know
 * nothing of what was rolled back. */
static bool stream_whole(Stream *stream, const char *why, Error *err)
{
    log_warn("transactions are no longer streamed before their commit, for the server failed at it",
             LOG_T("slot", stream->postgres->spec->pg_slot), LOG_T("why", why));
    uint64_t bytes_read = stream->wire.bytes_read;
    uint64_t from = pgoutput_forget_streamed(stream->out);
    say_goodbye(stream);
    stream->started = stream->streams = false;
    wire_done(&stream->wire);
    connect_close(TAKE(stream->connection));
    bool ok = start_replication(stream, from ? from : stream->postgres->start.major, err);
    stream->wire.bytes_read += bytes_read;
    return ok;
}

/* An error of the server's own, not of what it was asked: rolled back DDL can leave its catalog
 * caches such that it never gets past a streamed transaction ("could not map filenumber … to
 * relation OID"). */
static bool on_error(Stream *stream, Reader content, Error *err)
{
    message_error(content, err);
    if (!stream->streams || pgoutput_in_transaction(stream->out) ||
        strcmp(err->code, "ServerFailed") != 0)
        return false;
    char why[sizeof err->message];
    memcpy(why, err->message, sizeof why);
    return stream_whole(stream, why, err);
}

/* Decodes what is in the buffer until a change is ready (*ret filled), or nothing is left, or it is
 * time to look at the clock. WIRE_EMPTY: the buffer is used up. */
static WireResult decode_some(Stream *stream, Change *ret, Error *err)
{
    static const char unsaid[] = "of what was rolled back to a savepoint it did not say so";
    bool due = linger_due(&stream->linger, stream->now_us);
    for (int i = 0; i < MESSAGES_PER_CLOCK; i++) {
        if (pgoutput_take(stream->out, ret))
            return WIRE_OK;
        bool made;
        if (!checkpoint_if(stream, due, &made, err))
            return WIRE_FAILED;
        if (made)
            continue;
        if (pgoutput_replaying(stream->out)) {
            if (!pgoutput_replay(stream->out, err))
                return WIRE_FAILED;
            continue;
        }
        uint8_t kind;
        Reader content;
        WireResult result = message_next(&stream->wire, &kind, &content, err);
        if (result != WIRE_OK)
            return result;
        if (LIKELY(kind == 'd')) {
            if (!on_copy_data(stream, content, err))
                return WIRE_FAILED;
            wire_rest(&stream->wire);
            if (UNLIKELY(pgoutput_refused(stream->out)) && !stream_whole(stream, unsaid, err))
                return WIRE_FAILED;
        } else if (kind == 'E') {
            if (!on_error(stream, content, err))
                return WIRE_FAILED;
        } else if (kind == 'c' || kind == 'C' || kind == 'Z') {
            error_set(err, ERROR_RETRY, "StreamEnded", "the server ended the stream");
            return WIRE_FAILED;
        }
    }
    return WIRE_OK;
}

static int wait_ms(const Stream *stream, int64_t deadline_us)
{
    int64_t until_us = stream->status_due_us < deadline_us ? stream->status_due_us : deadline_us;
    return linger_wait_ms(&stream->linger, pgoutput_can_checkpoint(stream->out), until_us,
                          stream->now_us);
}

static bool read_some(Stream *stream, int64_t deadline_us, Error *err)
{
    WireResult result = wire_read_on(&stream->wire, stream->now_us, err);
    if (result == WIRE_EMPTY)
        result = wire_wait(&stream->wire, wait_ms(stream, deadline_us), err);
    return result != WIRE_FAILED;
}

static void hand_out(Stream *stream, Change *ret)
{
    if (ret->kind == CHANGE_CHECKPOINT)
        memcpy(ret->position.source, stream->postgres->source, sizeof ret->position.source);
    if (ret->kind == CHANGE_BATCH) {
        if (!stream->any_batch)
            CRASH_POINT("stream-first-batch");
        if (pgoutput_in_transaction(stream->out))
            CRASH_POINT("stream-mid-transaction");
        stream->any_batch = true;
    }
}

bool stream_next(Capture *capture, int timeout_ms, Change *ret, Error *err)
{
    Stream *stream = postgres_of(capture)->stream;
    ASSERT(stream);
    *ret = (Change){.kind = CHANGE_NONE};
    stream->now_us = clock_mono_us();
    int64_t deadline_us = stream->now_us + (int64_t)timeout_ms * 1000;
    for (;;) {
        if (!status_if_due(stream, err) ||
            !watch_step(&stream->watch, stream->now_us, stream->received, err))
            break;
        WireResult result = decode_some(stream, ret, err);
        if (result == WIRE_FAILED)
            break;
        if (ret->kind == CHANGE_NONE) {
            if (result == WIRE_EMPTY && !read_some(stream, deadline_us, err))
                break;
            stream->now_us = clock_mono_us();
            if (stream->now_us < deadline_us)
                continue;
        }
        hand_out(stream, ret);
        publish_figures(stream);
        return true;
    }
    publish_figures(stream);
    return error_wrap(err, "slot %s", stream->postgres->spec->pg_slot);
}
