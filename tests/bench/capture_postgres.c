/* Measures capture alone: reads everything and throws it away.
 *
 *   capture_postgres copy|stream|both PORT DATABASE TABLE-PATTERN READERS CHANGES [SLOT]
 *
 * Prints one JSON line per figure. CPU is this process's, user and system. With CHANGES the stream
 * ends after so many, else (0) after two seconds without any. DUMP=1 prints every row instead, for
 * looking at. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/capture/capture.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/thread.h"

#include <fnmatch.h>

/* Stands in until common/manifest is linked. */
__attribute__((weak)) bool manifest_pattern_matches(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, 0) == 0;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static int fail(const char *doing, const Error *err)
{
    fprintf(stderr, "%s: %s %s: %s\n", doing, error_kind_name(err->kind), err->code, err->message);
    return 1;
}

static void dump_value(const Column *column, uint32_t row)
{
    if (column_is_null(column, row)) {
        printf(" null");
        return;
    }
    uint32_t bytes;
    const uint8_t *at;
    switch (column->field->type.kind) {
    case TYPE_BOOL:
        printf(" %d", bit_get(column->values, row));
        break;
    case TYPE_STRING:
        at = column_bytes(column, row, &bytes);
        printf(" '%.*s'%s", bytes > 40 ? 40 : (int)bytes, (const char *)at, bytes > 40 ? "…" : "");
        break;
    case TYPE_LIST:
        printf(" [");
        for (int32_t i = column->offsets[row]; i < column->offsets[row + 1]; i++)
            dump_value(column->child, (uint32_t)i);
        printf(" ]");
        break;
    case TYPE_BINARY:
        column_bytes(column, row, &bytes);
        printf(" <%u bytes>", bytes);
        break;
    case TYPE_FLOAT64: {
        double value;
        memcpy(&value, column->values + (size_t)row * 8, 8);
        printf(" %g", value);
        break;
    }
    case TYPE_DECIMAL: {
        __int128 value;
        memcpy(&value, column->values + (size_t)row * 16, 16);
        char digits[48], *digit = digits + sizeof digits - 1;
        *digit = 0;
        unsigned __int128 size = value < 0 ? -(unsigned __int128)value : (unsigned __int128)value;
        do
            *--digit = (char)('0' + (int)(size % 10));
        while (size /= 10);
        printf(" %s%se-%d", value < 0 ? "-" : "", digit, column->field->type.scale);
        break;
    }
    default:
        if (column->width == 4)
            printf(" %" PRId32, column_i32(column, row));
        else
            printf(" %" PRId64, column_i64(column, row));
    }
}

static void dump(const Batch *batch)
{
    static const char *const ops[] = {"read", "insert", "update", "delete", "move"};
    for (uint32_t row = 0; row < batch->row_count; row++) {
        printf("table %u %s %" PRIX64 ".%" PRIu64 ":", batch->table, ops[batch->ops[row]],
               batch->positions[row].major, batch->positions[row].minor);
        for (uint32_t i = 0; i < batch->column_count; i++)
            dump_value(&batch->columns[i], row);
        printf("\n");
    }
}

typedef struct Work {
    Capture *capture;
    CopyRange *ranges;
    size_t count;
    _Atomic(size_t) next;
    _Atomic(uint64_t) rows;
    _Atomic(int) failed;
} Work;

static void read_ranges(void *argument)
{
    Work *work = argument;
    Error err = {0};
    AUTO(capture_copy_reader_free)
    CopyReader *reader = capture_copy_reader_open(work->capture, &err);
    if (!reader) {
        work->failed = fail("copy reader", &err);
        return;
    }
    size_t at;
    while ((at = work->next++) < work->count) {
        bool ok = capture_copy_begin(reader, &work->ranges[at], &err);
        for (Batch *batch = NULL; ok; batch_free(batch)) {
            ok = capture_copy_next(reader, &batch, &err);
            if (!ok || !batch)
                break;
            work->rows += batch->row_count;
            if (getenv("DUMP"))
                dump(batch);
        }
        if (!ok) {
            work->failed = fail("copy", &err);
            return;
        }
    }
}

static int copy(Capture *capture, size_t readers)
{
    size_t tables;
    Work work = {.capture = capture};
    Error err = {0};
    capture_tables(capture, &tables);
    double cpu = cpu_seconds();
    int64_t from = clock_mono_us();
    for (uint32_t table = 0; table < tables; table++) {
        AUTO(mem_free) CopyRange *ranges = NULL;
        size_t count;
        if (!capture_copy_plan(capture, table, (uint64_t)32 << 20, NULL, &ranges, &count, &err))
            return fail("plan", &err);
        work.ranges = mem_regrow(work.ranges, work.count + count, sizeof *ranges);
        memcpy(work.ranges + work.count, ranges, count * sizeof *ranges);
        work.count += count;
    }
    Thread *threads[64];
    for (size_t i = 0; i < readers; i++)
        threads[i] = thread_start("copy", read_ranges, &work);
    for (size_t i = 0; i < readers; i++)
        thread_join(threads[i]);
    free(work.ranges);
    double wall = (double)(clock_mono_us() - from) / 1e6;
    cpu = cpu_seconds() - cpu;
    printf("{\"bench\":\"copy\",\"rows\":%" PRIu64 ",\"wall_s\":%.3f,\"cpu_s\":%.3f,"
           "\"us_per_row\":%.3f}\n",
           work.rows, wall, cpu, cpu * 1e6 / (double)(work.rows ? work.rows : 1));
    return work.failed || !capture_copy_done(capture, &err);
}

static int stream(Capture *capture, uint64_t wanted)
{
    Error err = {0};
    if (!capture_stream_start(capture, &err))
        return fail("stream start", &err);
    double cpu = cpu_seconds();
    int64_t from = clock_mono_us(), last = from;
    uint64_t rows = 0, batches = 0, checkpoints = 0;
    while (wanted ? rows < wanted : clock_mono_us() - last < 2000000) {
        Change change;
        if (!capture_next(capture, 500, &change, &err))
            return fail("stream", &err);
        if (change.kind == CHANGE_BATCH) {
            rows += change.batch->row_count;
            batches++;
            last = clock_mono_us();
            if (getenv("DUMP"))
                dump(change.batch);
            batch_free(change.batch);
        } else if (change.kind == CHANGE_TRUNCATE) {
            printf("truncate of table %u\n", change.table);
        } else if (change.kind == CHANGE_CHECKPOINT) {
            checkpoints++;
            if (getenv("DUMP"))
                printf("checkpoint %" PRIX64 ".%" PRIu64 "\n", change.position.at.major,
                       change.position.at.minor);
            if (getenv("CONFIRM"))
                capture_confirm(capture, change.position.at);
        }
    }
    double wall = (double)(last - from) / 1e6;
    cpu = cpu_seconds() - cpu;
    printf("{\"bench\":\"stream\",\"changes\":%" PRIu64 ",\"wall_s\":%.3f,\"cpu_s\":%.3f,"
           "\"cpu_s_per_million\":%.3f,\"changes_per_s\":%.0f,\"batches\":%" PRIu64
           ",\"checkpoints\":%" PRIu64 "}\n",
           rows, wall, cpu, cpu * 1e6 / (double)(rows ? rows : 1), (double)rows / wall, batches,
           checkpoints);
    return 0;
}

int main(int count, char **arguments)
{
    if (count < 7)
        return 2;
    char *host = (char[]){"127.0.0.1"};
    ConnectorSpec spec = {.meta = {.name = (char[]){"bench"}},
                          .source_type = SOURCE_POSTGRESQL,
                          .hosts = {.texts = &host, .count = 1},
                          .port = (uint16_t)atoi(arguments[2]),
                          .database = arguments[3],
                          .include = {.texts = &arguments[4], .count = 1},
                          .tls_mode = getenv("CA_PEM") ? TLS_VERIFY_FULL : TLS_PREFER,
                          .ca_pem = getenv("CA_PEM"),
                          .pg_slot = count > 7 ? arguments[7] : (char[]){"firn_bench"},
                          .pg_publication = (char[]){"firn_bench"},
                          .pg_manage = true,
                          .username = getenv("PGUSER"),
                          .password = getenv("PGPASSWORD")};
    Error err = {0};
    if (strcmp(arguments[1], "drop") == 0)
        return capture_drop(&spec, &err) ? 0 : fail("drop", &err);
    AUTO(capture_close) Capture *capture = capture_open(&spec, NULL, &err);
    if (!capture)
        return fail("open", &err);
    size_t tables;
    capture_tables(capture, &tables);
    bool copying = strcmp(arguments[1], "stream") != 0;
    AUTO(mem_free) bool *complete = mem_array(tables, sizeof *complete);
    memset(complete, !copying, tables);
    Position at;
    char text[POSITION_TEXT_BYTES];
    const char *from = getenv("FROM"); /* a hexadecimal LSN */
    CaptureState known = {.complete = complete,
                          .known = from != NULL,
                          .from.major = from ? strtoull(from, NULL, 16) : 0};
    if (!capture_prepare(capture, &known, &at, &err))
        return fail("prepare", &err);
    printf("%zu tables, %s\n", tables, position_format(&at, text));
    int failed = copying ? copy(capture, (size_t)atoi(arguments[5])) : 0;
    if (!failed && strcmp(arguments[1], "copy") != 0)
        failed = stream(capture, strtoull(arguments[6], NULL, 10));
    return failed;
}
