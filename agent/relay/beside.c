/* A copy of single tables while the stream goes on (spec.stream.resnapshot, or as a
 * person asks meanwhile), by chunks of the key
 * and watermarks (DBLog, https://arxiv.org/abs/2010.12597). One thread reads, with a capture of its
 * own: it says "low" in the source's log (or to the stream, at a place of it), reads a chunk in a
 * snapshot of its own, says "high". The capture thread notes the keys that the stream changes
 * between the two, and at "high" sends the chunk but for those: what it sends is what the table
 * holds at that place of the log, so that a topic that is folded by key is right at every place.
 * Nothing is locked, no snapshot is kept, and the stream waits for nothing.
 *
 * What makes it exact:
 *
 *   A transaction's commit stands in the log before others see it. One that the stream handed out
 *   before "low" and that the chunk's snapshot does not show yet would be undone by the chunk: the
 *   snapshot names such transactions, the latest ones handed out are kept, and then the chunk is
 *   read again. Of those that were open when the first chunk was read, an earlier process may have
 *   handed one out: they are waited for, as a slot is made. (Of MySQL and MariaDB the driver takes
 *   no snapshot before it shows all that was handed out: none is named.)
 *   A row is dropped for its key, by bytes. If what the stream sent for it lacked a value (that the
 *   update left out), the chunk is read again: else nobody would ever get it.
 *   TRUNCATE, or other columns, between the two: the chunk is read again. Columns that are others
 *   than the stream knows, of a table that nobody has written to since: the state learns them, and
 *   another flow begins with them.
 *
 * How far it is stands in the table's state, written when the chunk is acknowledged (Transactional:
 * with it); a process that dies goes on there. A chunk that is sent twice has another position. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/relay/flow.h"
#include "common/bucket.h"
#include "common/clock.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/text.h"

#define CHUNK_BYTES ((uint64_t)2 << 20)
#define CHUNK_ROWS_MAX 8192u
#define CHUNK_ROWS_MIN 16u
#define CHUNK_HELD_MAX ((size_t)64 << 20)
#define WINDOW_BYTES_MAX ((size_t)32 << 20)
#define LATEST 65536 /* transactions */
#define FILLS_MAX 8  /* times that a chunk is read again for values that an update left out */
#define PAUSE_US 500000
#define WORD_BYTES 64

typedef struct Chunk {
    uint64_t number; /* of its watermarks */
    Batch **batches;
    size_t batch_count;
    char *until; /* NULL: it is the table's last */
    Unseen unseen;
    const Capture *capture; /* the reader's, which waits meanwhile */
    uint32_t table;         /* its number there */
} Chunk;

typedef struct Changed { /* a key */
    uint64_t hash;
    TopicSpan key; /* in Window.keys */
    bool lacks;    /* a value that the update left out */
} Changed;

/* Between "low" and "high". */
typedef struct Window {
    uint64_t number; /* 0: there is none */
    uint64_t seen;   /* transactions handed out before it */
    bool spoilt;
    Changed *items;
    size_t count, held;
    Bytes keys;
} Window;

typedef enum AskedState {
    ASKED_NOTHING,
    ASKED_CHUNK,
    ASKED_READ, /* and "high" is being said */
    ASKED_TAKEN,
    ASKED_FAILED,
} AskedState;

struct Beside {
    RelayFlow *flow;
    char token[24]; /* its own watermarks: a log that is read again has those of others */
    Thread *thread;
    pthread_mutex_t lock; /* what follows, and changed */
    pthread_cond_t changed;
    AskedState asked;
    bool over;
    CopyReader *reader; /* to be cancelled */
    const char *table_name;
    char *after;
    uint32_t rows;
    Chunk chunk;
    Error error;
    /* The capture thread's: */
    const CopyRequest *request; /* why that is copied */
    RelayTable *table;          /* being copied; NULL: none */
    Window window;
    uint64_t latest[LATEST], latest_count; /* transactions handed out */
    Unseen first;                          /* of the flow's first chunk */
    bool has_first;
    uint64_t pending; /* flight with the chunk's last record; 0: none is on its way */
    char *pending_until;
    unsigned fills; /* tries for values that were left out */
    uint64_t table_rows, table_again;
    int64_t started_us, after_us;
};

static void chunk_clear(Chunk *chunk)
{
    for (size_t i = 0; i < chunk->batch_count; i++)
        batch_free(chunk->batches[i]);
    free(chunk->batches);
    free(chunk->until);
    free(chunk->unseen.open);
    *chunk = (Chunk){0};
}

/* ---------- the reader's thread ---------- */
typedef struct Reading {
    Beside *beside;
    Capture *capture;
    CopyReader *reader;
    uint64_t number;
    bool stale; /* another look at the tables is due */
    Bucket bucket;
} Reading;

static void reading_close(Reading *reading)
{
    pthread_mutex_lock(&reading->beside->lock);
    reading->beside->reader = NULL;
    pthread_mutex_unlock(&reading->beside->lock);
    capture_copy_reader_free(TAKE(reading->reader));
    capture_close(TAKE(reading->capture));
}

static bool reading_open(Reading *reading, Error *err)
{
    Relay *relay = reading->beside->flow->relay;
    if (reading->reader && !reading->stale)
        return true;
    reading_close(reading);
    reading->stale = false;
    reading->capture = capture_open(
        relay->base.connector, &(CaptureOptions){.stop = &relay->base.stop, .origins = true}, err);
    reading->reader = reading->capture ? capture_beside_open(reading->capture,
                                                             reading->beside->flow->capture, err)
                                       : NULL;
    pthread_mutex_lock(&reading->beside->lock);
    reading->beside->reader = reading->reader;
    if (reading->reader && reading->beside->over) /* told before there was one */
        capture_copy_cancel(reading->reader);
    pthread_mutex_unlock(&reading->beside->lock);
    return reading->reader != NULL;
}

static bool find_table(const Capture *capture, const char *name, uint32_t *ret, Error *err)
{
    size_t count;
    const SourceTable *tables = capture_tables(capture, &count);
    for (size_t i = 0; i < count; i++) {
        AUTO(mem_free)
        char *each = mem_format("%s.%s", tables[i].schema_name, tables[i].table_name);
        *ret = (uint32_t)i;
        if (strcmp(each, name) == 0)
            return tables[i].schema->key_count > 0 ||
                   error_set(err, ERROR_RETRY, "ColumnsChanged", "table %s has no key now", name);
    }
    return error_set(err, ERROR_RETRY, "ColumnsChanged", "table %s is not there now", name);
}

static bool is_over(Beside *beside)
{
    pthread_mutex_lock(&beside->lock);
    bool over = beside->over;
    pthread_mutex_unlock(&beside->lock);
    return over;
}

static void throttle(Reading *reading, uint32_t rows)
{
    Beside *beside = reading->beside;
    if (!beside->flow->relay->base.connector->snapshot_rows_per_second)
        return;
    int64_t now_us = clock_mono_us(),
            until_us = now_us + bucket_take(&reading->bucket, rows, now_us);
    for (; now_us < until_us && !is_over(beside); now_us = clock_mono_us())
        clock_sleep_us(until_us - now_us < 100000 ? until_us - now_us : 100000);
}

static bool read_rows(Reading *reading, Chunk *chunk, Error *err)
{
    size_t bytes = 0, rows = 0;
    for (;;) {
        Batch *batch;
        if (!capture_copy_next(reading->reader, &batch, err))
            return false;
        if (!batch)
            return true;
        chunk->batches = mem_regrow(chunk->batches, chunk->batch_count + 1, sizeof *chunk->batches);
        chunk->batches[chunk->batch_count++] = batch;
        rows += batch->row_count;
        bytes += batch_memory(batch);
        if (bytes > CHUNK_HELD_MAX && rows > CHUNK_ROWS_MIN)
            return error_set(err, ERROR_RETRY, "ChunkTooLarge", "its rows are larger than thought");
        throttle(reading, batch->row_count);
    }
}

static bool say(Reading *reading, const char *what, Error *err)
{
    char text[WORD_BYTES];
    snprintf(text, sizeof text, "%s %llu %s", reading->beside->token,
             (unsigned long long)reading->number, what);
    return capture_beside_say(reading->reader, text, err);
}

/* What is asked for, which stays as it is meanwhile. */
static bool read_chunk(Reading *reading, Chunk *chunk, Error *err)
{
    Beside *beside = reading->beside;
    if (!reading_open(reading, err) ||
        !find_table(reading->capture, beside->table_name, &chunk->table, err))
        return false;
    chunk->capture = reading->capture;
    chunk->number = ++reading->number;
    if (!capture_beside_bound(reading->reader, chunk->table, beside->after, beside->rows,
                              &chunk->until, err) ||
        !say(reading, "low", err) ||
        !capture_beside_begin(reading->reader, chunk->table, beside->after, chunk->until,
                              &chunk->unseen, err) ||
        !read_rows(reading, chunk, err))
        return false;
    CRASH_POINT("relay-chunk-read");
    pthread_mutex_lock(&beside->lock);
    beside->chunk = *chunk;
    beside->asked = ASKED_READ;
    pthread_mutex_unlock(&beside->lock);
    *chunk = (Chunk){0};
    return say(reading, "high", err);
}

static void reader_run(void *argument)
{
    Beside *beside = argument;
    Reading reading = {.beside = beside};
    uint64_t rate = beside->flow->relay->base.connector->snapshot_rows_per_second;
    bucket_init(&reading.bucket, (double)rate, (double)rate / 10, clock_mono_us());
    for (;;) {
        pthread_mutex_lock(&beside->lock);
        while (beside->asked != ASKED_CHUNK && !beside->over)
            pthread_cond_wait(&beside->changed, &beside->lock);
        bool over = beside->over;
        pthread_mutex_unlock(&beside->lock);
        if (over)
            break;
        Error err = {0};
        Chunk chunk = {0};
        if (read_chunk(&reading, &chunk, &err))
            continue;
        chunk_clear(&chunk);
        reading.stale = true; /* the capture thread may look at the tables still */
        pthread_mutex_lock(&beside->lock);
        beside->error = err;
        if (beside->asked != ASKED_TAKEN) /* "high" came all the same */
            beside->asked = ASKED_FAILED;
        pthread_mutex_unlock(&beside->lock);
    }
    reading_close(&reading);
}

/* ---------- what the stream hands out meanwhile ---------- */
void relay_beside_saw(RelayFlow *flow, const RelayTable *table, size_t first)
{
    Beside *beside = flow->beside;
    if (!beside || !beside->window.number || beside->table != table || beside->window.spoilt)
        return;
    Window *window = &beside->window;
    const TopicRecords *records = &flow->box.records;
    for (size_t i = first; i < records->count; i++) {
        const TopicRecord *record = &records->items[i];
        if (window->count == window->held) {
            window->held = window->held ? window->held * 2 : 256;
            window->items = mem_regrow(window->items, window->held, sizeof *window->items);
        }
        window->items[window->count++] =
            (Changed){.hash = record->hash,
                      .key = {window->keys.used, record->key.bytes},
                      .lacks = record->header.bytes > TOPIC_HEADER_BYTES};
        bytes_put(&window->keys, records->bytes.data + record->key.at, record->key.bytes);
    }
    window->spoilt = window->keys.used + window->count * sizeof(Changed) > WINDOW_BYTES_MAX;
}

static void note_transaction(Beside *beside, uint64_t id)
{
    uint64_t *latest = &beside->latest[beside->latest_count % LATEST];
    if (beside->latest_count && beside->latest[(beside->latest_count - 1) % LATEST] == id)
        return;
    *latest = id;
    beside->latest_count++;
}

void relay_beside_batch(RelayFlow *flow, const Batch *batch)
{
    for (uint32_t i = 0; flow->beside && i < batch->origins->transaction_count; i++)
        note_transaction(flow->beside, batch->origins->transactions[i].id);
}

void relay_beside_void(RelayFlow *flow, const RelayTable *table, const TransactionOrigin *of)
{
    if (!flow->beside)
        return;
    if (of)
        note_transaction(flow->beside, of->id);
    if (flow->beside->table == table)
        flow->beside->window.spoilt = true;
}

/* ---------- asking for chunks ---------- */
static uint32_t chunk_rows(const RelayTable *table)
{
    uint64_t bytes = table->source->bytes_estimate, count = table->source->rows_estimate;
    int64_t asked;
    if (text_integer_parse(getenv("FIRN_CHUNK_ROWS") ?: "", &asked) && asked > 0) /* of a test */
        return (uint32_t)asked;
    uint64_t rows = bytes && count ? CHUNK_BYTES / (bytes / count + 1) : CHUNK_ROWS_MAX / 4;
    return rows < CHUNK_ROWS_MIN   ? CHUNK_ROWS_MIN
           : rows > CHUNK_ROWS_MAX ? CHUNK_ROWS_MAX
                                   : (uint32_t)rows;
}

static void ask(Beside *beside)
{
    const TableState *state = beside->table->state;
    pthread_mutex_lock(&beside->lock);
    ASSERT(beside->asked != ASKED_CHUNK);
    chunk_clear(&beside->chunk);
    beside->table_name = beside->table->name;
    free(beside->after);
    beside->after = state->again_after ? mem_strdup(state->again_after) : NULL;
    beside->asked = ASKED_CHUNK;
    pthread_cond_signal(&beside->changed);
    pthread_mutex_unlock(&beside->lock);
    beside->window.number = 0;
    beside->after_us = INT64_MAX;
}

static void ask_again(Beside *beside, int64_t pause_us)
{
    beside->window.number = 0;
    beside->table_again++;
    pthread_mutex_lock(&beside->lock);
    chunk_clear(&beside->chunk);
    beside->asked = ASKED_NOTHING;
    pthread_mutex_unlock(&beside->lock);
    beside->after_us = clock_mono_us() + pause_us;
}

static bool is_left_to_do(const CopyRequest *request, const RelayTable *table)
{
    return request->id && copy_request_names(request, table->name) && relay_key_tells_rows(table) &&
           !table_state_is_done(table->state, request->id);
}

/* Why the table is to be copied; NULL: it is not. One that has begun goes on first. */
static const CopyRequest *reason_for(const RelayFlow *flow, const RelayTable *table)
{
    const CopyRequest *first = NULL;
    for (size_t i = ARRAY_LEN(flow->requests); i-- > 0;) {
        const CopyRequest *request = &flow->requests[i];
        if (!is_left_to_do(request, table))
            continue;
        first = request;
        if (table->state->again_id && strcmp(table->state->again_id, request->id) == 0)
            break;
    }
    return first;
}

/* How far is what was asked for meanwhile? */
static void say_asked(const RelayFlow *flow)
{
    const CopyRequest *asked = &flow->requests[REQUEST_ASKED];
    size_t named = 0, left = 0;
    if (!asked->tables.count)
        return;
    for (size_t i = 0; i < flow->table_count; i++) {
        named += copy_request_names(asked, flow->tables[i].name) &&
                 relay_key_tells_rows(&flow->tables[i]);
        left += is_left_to_do(asked, &flow->tables[i]);
    }
    supervised_asked(&flow->relay->base, asked,
                     !named ? REQUEST_REFUSED
                     : left ? REQUEST_RUNNING
                            : REQUEST_DONE,
                     named ? "" : "no table with a key that is captured is of that name");
}

static void next_table(Beside *beside)
{
    RelayFlow *flow = beside->flow;
    beside->table = NULL;
    for (size_t i = 0; i < flow->table_count && !beside->table; i++)
        if ((beside->request = reason_for(flow, &flow->tables[i])))
            beside->table = &flow->tables[i];
    say_asked(flow);
    if (!beside->table)
        return;
    RelayTable *table = beside->table;
    const char *id = beside->request->id;
    bool goes_on = table->state->again_id && strcmp(table->state->again_id, id) == 0;
    if (!goes_on)
        table_state_again(table->state, id, NULL, false);
    beside->rows = chunk_rows(table);
    beside->table_rows = beside->table_again = 0;
    beside->started_us = clock_mono_us();
    beside->fills = 0;
    metric_set(table->count.metrics.copying, 1);
    log_info(goes_on && table->state->again_after ? "going on copying table beside the stream"
                                                  : "copying table beside the stream",
             LOG_T("table", table->name), LOG_T("id", id), LOG_U("chunk_rows", beside->rows));
    ask(beside);
}

/* ---------- a chunk is sent ---------- */
static int by_hash(const void *a, const void *b)
{
    const Changed *left = a, *right = b;
    return left->hash < right->hash ? -1 : left->hash > right->hash;
}

static const Changed *find_changed(const Window *window, const TopicRecords *records,
                                   const TopicRecord *record)
{
    size_t low = 0, high = window->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (window->items[middle].hash < record->hash)
            low = middle + 1;
        else
            high = middle;
    }
    const Changed *found = NULL;
    for (; low < window->count && window->items[low].hash == record->hash; low++) {
        const Changed *each = &window->items[low];
        if (each->key.bytes != record->key.bytes ||
            memcmp(window->keys.data + each->key.at, records->bytes.data + record->key.at,
                   record->key.bytes) != 0)
            continue;
        if (each->lacks)
            return each;
        found = each;
    }
    return found;
}

/* Records of keys that were changed go out of the box. True: one of these changes lacked a value.
 */
static bool drop_changed(Beside *beside, Outbox *box)
{
    bool lacks = false;
    size_t kept = 0;
    for (size_t run = 0; run < box->run_count; run++) {
        bool rows = box->runs[run].topic == &beside->table->topic;
        size_t end = run + 1 < box->run_count ? box->runs[run + 1].first : box->records.count;
        size_t first = kept;
        for (size_t i = box->runs[run].first; i < end; i++) {
            const TopicRecord *record = &box->records.items[i];
            const Changed *changed =
                rows ? find_changed(&beside->window, &box->records, record) : NULL;
            lacks = lacks || (changed && changed->lacks);
            if (!changed)
                box->records.items[kept++] = *record;
        }
        box->runs[run].first = first;
    }
    box->records.count = kept;
    return lacks;
}

static bool put_rows(Beside *beside, Batch *batch, RowPosition at, Outbox *box, bool *ret_lacks,
                     Error *err)
{
    AUTO(mem_free) TopicSnapshot *marks = mem_array(batch->row_count, sizeof *marks);
    for (uint32_t i = 0; i < batch->row_count; i++) {
        marks[i] = TOPIC_SNAPSHOT_INCREMENTAL;
        batch->positions[i] = (RowPosition){at.major, at.minor + i};
    }
    for (uint32_t row = 0; row < batch->row_count;)
        if (!relay_put_rows(beside->flow, box, beside->table, beside->table->encoder, batch, marks,
                            SIZE_MAX, &row, err))
            return false;
    *ret_lacks = drop_changed(beside, box) || *ret_lacks;
    return true;
}

/* What the chunk's snapshot does not show, and was handed out before "low". */
static bool shows_too_little(const Beside *beside, const Chunk *chunk)
{
    const Unseen *unseen = &chunk->unseen;
    uint64_t count = beside->latest_count;
    uint64_t oldest = count > LATEST ? count - LATEST : 0;
    for (size_t i = 0; i < unseen->open_count; i++) {
        bool handed_out = false;
        for (uint64_t at = oldest; at < count; at++)
            if (beside->latest[at % LATEST] == (uint32_t)unseen->open[i]) {
                handed_out = true;
                if (at < beside->window.seen)
                    return true;
            }
        for (size_t k = 0; !handed_out && k < beside->first.open_count; k++)
            if (beside->first.open[k] == unseen->open[i])
                return true; /* whether an earlier flow handed it out nobody knows */
    }
    return false;
}

static bool same_columns(const Beside *beside, const Chunk *chunk)
{
    const TableState *state = beside->table->state;
    ASSERT(state->column_count);
    return capture_same(chunk->capture, chunk->table,
                        state->columns[state->column_count - 1].shape);
}

/* The stream knows others, and has handed out none since: nobody has written to the table. */
static void learn_columns(Beside *beside, const Chunk *chunk, RowPosition at)
{
    RelayFlow *flow = beside->flow;
    size_t count;
    const SourceTable *source = &capture_tables(chunk->capture, &count)[chunk->table];
    (void)table_state_learn(beside->table->state, at, source->shape);
    state_put_table(beside->table->state, outbox_to(&flow->box, &flow->state_topic));
    log_info("columns are the source's now", LOG_T("table", beside->table->name));
    atomic_store(&flow->leaves, true);
}

static bool send_chunk(Beside *beside, const Chunk *chunk, RowPosition at, Error *err)
{
    RelayFlow *flow = beside->flow;
    RelayTable *table = beside->table;
    Outbox box = {0};
    bool lacks = false, ok = relay_send(flow, &flow->box, err);
    uint64_t rows = 0;
    if (beside->window.count)
        qsort(beside->window.items, beside->window.count, sizeof(Changed), by_hash);
    for (size_t i = 0; ok && i < chunk->batch_count; i++) {
        ok = put_rows(beside, chunk->batches[i], (RowPosition){at.major, at.minor + 1 + rows}, &box,
                      &lacks, err);
        rows += chunk->batches[i]->row_count;
    }
    if (ok && lacks && ++beside->fills < FILLS_MAX) {
        ask_again(beside, 0);
        outbox_done(&box);
        return true;
    }
    if (ok && lacks)
        log_warn("rows are changed so often that the copy can't fill in values which updates left "
                 "out: records with the placeholder stay",
                 LOG_T("table", table->name));
    beside->fills = 0;
    if (ok && !chunk->until && !table->topic.keyed)
        topic_encode_copied(table->encoder, at, outbox_to(&box, &table->topic));
    ok = ok && relay_send(flow, &box, err);
    outbox_done(&box);
    if (!ok)
        return false;
    CRASH_POINT("relay-chunk-sent");
    beside->table_rows += rows;
    atomic_fetch_add(&flow->rows, rows);
    metric_add(table->changes, (double)rows);
    metric_add(table->count.metrics.rows, (double)rows);
    beside->pending = flow->sent;
    free(beside->pending_until);
    beside->pending_until = chunk->until ? mem_strdup(chunk->until) : NULL;
    beside->window.number = 0;
    return true;
}

static bool on_high(Beside *beside, const Chunk *chunk, RowPosition at, Error *err)
{
    if (!beside->has_first) {
        beside->has_first = true;
        beside->first = chunk->unseen;
        beside->first.open = mem_array(chunk->unseen.open_count, sizeof *beside->first.open);
        for (size_t i = 0; i < chunk->unseen.open_count; i++)
            beside->first.open[i] = chunk->unseen.open[i];
    }
    if (!beside->window.spoilt && !same_columns(beside, chunk)) {
        if (capture_tells_columns(chunk->capture)) { /* the stream comes to it */
            ask_again(beside, PAUSE_US);
            return true;
        }
        learn_columns(beside, chunk, at);
        return true;
    }
    if (beside->window.spoilt || shows_too_little(beside, chunk)) {
        if (beside->window.keys.used > WINDOW_BYTES_MAX / 2 && beside->rows > CHUNK_ROWS_MIN)
            beside->rows /= 2;
        ask_again(beside, PAUSE_US / 10);
        return true;
    }
    return send_chunk(beside, chunk, at, err);
}

bool relay_beside_message(RelayFlow *flow, const Change *change, Error *err)
{
    Beside *beside = flow->beside;
    AUTO(mem_free)
    char *text = mem_strndup((const char *)change->message->content, change->message->bytes);
    unsigned long long number;
    char token[WORD_BYTES], word[WORD_BYTES];
    if (!beside || change->message->bytes >= WORD_BYTES ||
        sscanf(text, "%63s %llu %63s", token, &number, word) != 3 ||
        strcmp(token, beside->token) != 0)
        return true;
    Window *window = &beside->window;
    if (strcmp(word, "low") == 0) {
        window->number = number;
        window->seen = beside->latest_count;
        window->spoilt = false;
        window->count = 0;
        bytes_clear(&window->keys);
        return true;
    }
    Chunk chunk = {0};
    pthread_mutex_lock(&beside->lock);
    if (beside->asked == ASKED_READ && beside->chunk.number == number && window->number == number) {
        beside->asked = ASKED_TAKEN; /* the reader waits until it is asked again */
        chunk = beside->chunk;
        beside->chunk = (Chunk){0};
    }
    pthread_mutex_unlock(&beside->lock);
    bool ok = !chunk.number || on_high(beside, &chunk, change->row, err);
    chunk_clear(&chunk);
    return ok;
}

/* ---------- what becomes of it ---------- */
static void chunk_settled(Beside *beside)
{
    RelayFlow *flow = beside->flow;
    RelayTable *table = beside->table;
    bool done = !beside->pending_until;
    table_state_again(table->state, beside->request->id, beside->pending_until, done);
    state_put_table(table->state, outbox_to(&flow->box, &flow->state_topic));
    CRASH_POINT("relay-chunk-settled");
    beside->pending = 0;
    if (!done) {
        ask(beside);
        return;
    }
    metric_set(table->count.metrics.copying, 0);
    log_info("table copied beside the stream", LOG_T("table", table->name),
             LOG_U("rows", beside->table_rows), LOG_U("chunks_again", beside->table_again),
             LOG_F("seconds", (double)(clock_mono_us() - beside->started_us) / 1e6));
    next_table(beside);
}

/* What a person asked for meanwhile can't be done: that is no reason for the stream to end. */
static void refuse_asked(Beside *beside, const Error *why)
{
    RelayFlow *flow = beside->flow;
    CopyRequest *asked = &flow->requests[REQUEST_ASKED];
    supervised_asked(&flow->relay->base, asked, REQUEST_REFUSED, why->message);
    copy_request_done(asked);
    supervised_request(&flow->relay->base, asked);
    metric_set(beside->table->count.metrics.copying, 0);
    ask_again(beside, 0);
    next_table(beside);
}

static bool take_failure(Beside *beside, Error *err)
{
    Error why = {0};
    pthread_mutex_lock(&beside->lock);
    bool failed = beside->asked == ASKED_FAILED;
    if (failed)
        why = beside->error;
    pthread_mutex_unlock(&beside->lock);
    if (!failed)
        return true;
    if (why.kind != ERROR_RETRY && why.kind != ERROR_CONFLICT) {
        if (beside->request == &beside->flow->requests[REQUEST_ASKED]) {
            refuse_asked(beside, &why);
            return true;
        }
        *err = why;
        return error_wrap(err, "copy of %s beside the stream", beside->table->name);
    }
    log_info("a chunk is read again", LOG_T("table", beside->table->name),
             LOG_T("reason", why.code), LOG_T("error", why.message));
    if (strcmp(why.code, "ChunkTooLarge") == 0 && beside->rows > CHUNK_ROWS_MIN)
        beside->rows /= 2;
    ask_again(beside, PAUSE_US);
    return true;
}

bool relay_beside_waits(const RelayFlow *flow)
{
    return flow->beside && flow->beside->pending;
}

bool relay_beside_step(RelayFlow *flow, Error *err)
{
    Beside *beside = flow->beside;
    if (!beside || !beside->table || relay_stopping(flow))
        return true;
    if (beside->pending && (flow->transactional || beside->pending <= flow->acknowledged)) {
        chunk_settled(beside);
        return true;
    }
    if (!take_failure(beside, err))
        return false;
    if (beside->table && clock_mono_us() >= beside->after_us)
        ask(beside);
    return true;
}

/* ---------- beginning and end ---------- */
void relay_beside_open(RelayFlow *flow)
{
    bool any = false;
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        const CopyRequest *request = reason_for(flow, table);
        if (request && table->complete) {
            any = true;
            continue;
        }
        for (; request; request = reason_for(flow, table)) { /* it has just been copied */
            table_state_again(table->state, request->id, NULL, true);
            state_put_table(table->state, outbox_to(&flow->box, &flow->state_topic));
        }
    }
    say_asked(flow);
    if (!any)
        return;
    Beside *beside = flow->beside = mem_zalloc(sizeof *beside);
    beside->flow = flow;
    snprintf(beside->token, sizeof beside->token, "%08x%012llx", (unsigned)getpid(),
             (unsigned long long)clock_wall_us());
    pthread_mutex_init(&beside->lock, NULL);
    pthread_cond_init(&beside->changed, NULL);
    beside->thread = thread_start("beside", reader_run, beside);
    next_table(beside);
}

void relay_beside_close(RelayFlow *flow)
{
    Beside *beside = flow->beside;
    if (!beside)
        return;
    pthread_mutex_lock(&beside->lock);
    beside->over = true;
    if (beside->reader)
        capture_copy_cancel(beside->reader);
    pthread_cond_signal(&beside->changed);
    pthread_mutex_unlock(&beside->lock);
    thread_join(beside->thread);
    chunk_clear(&beside->chunk);
    pthread_mutex_destroy(&beside->lock);
    pthread_cond_destroy(&beside->changed);
    free(beside->window.items);
    bytes_done(&beside->window.keys);
    free(beside->first.open);
    free(beside->pending_until);
    free(beside->after);
    free(beside);
    flow->beside = NULL;
}
