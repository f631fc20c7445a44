/* links: firn_table */
/* CPU and memory of the table writer alone: keys are copied in, then changes of which 80 % are
 * updates are put in batches and committed. Making the batches is not counted. One JSON line per
 * figure.
 *
 *   upsert_bench FOLDER [--format 2|3] [--append] [--rows N] [--changes N] [--commit-every N]
 *                [--batch N] [--partition TEXT] [--note-bytes N] [--unchanged]
 *
 * --unchanged: every change is an update that leaves the note out, as an unchanged TOAST value is;
 * it comes from the table's own row. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/table/commit.h"
#include "agent/table/table.h"
#include "common/mem.h"

typedef struct Bench {
    Store *store;
    Catalog *catalog;
    Schema *source;
    LakeTableSpec spec;
    char *partition;
    uint64_t rows, changes, commit_every;
    uint32_t batch_rows, note_bytes;
    bool unchanged;
    uint64_t random, major, next_id;
} Bench;

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm) {
        if (fscanf(statm, "%*u %llu", &pages) != 1)
            pages = 0;
        fclose(statm);
    }
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static uint64_t next_random(Bench *bench)
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return bench->random;
}

static void die(const Error *err)
{
    fprintf(stderr, "upsert_bench: %s: %s\n", err->code, err->message);
    exit(1);
}

static Field field(const char *name, Type type, bool required)
{
    return (Field){.name = mem_strdup(name), .type = type, .required = required};
}

/* The 144-byte row: bigint id, int, int, text(21), text(64), numeric(12,2), timestamptz. */
static Schema *row_schema(void)
{
    Schema *schema = schema_new(7, 1);
    schema->fields[0] = field("id", (Type){.kind = TYPE_INT64}, true);
    schema->fields[1] = field("customer", (Type){.kind = TYPE_INT32}, false);
    schema->fields[2] = field("quantity", (Type){.kind = TYPE_INT32}, false);
    schema->fields[3] = field("status", (Type){.kind = TYPE_STRING}, false);
    schema->fields[4] = field("note", (Type){.kind = TYPE_STRING}, false);
    schema->fields[5] =
        field("amount", (Type){.kind = TYPE_DECIMAL, .precision = 12, .scale = 2}, false);
    schema->fields[6] = field("updated_at", (Type){.kind = TYPE_TIMESTAMPTZ}, false);
    return schema;
}

static void put_row(Bench *bench, Batch *batch, RowOp op, uint64_t id, RowPosition position)
{
    Column *columns = batch->columns;
    batch_row_begin(batch, op, position);
    column_put_i64(batch, &columns[0], (int64_t)id);
    if (op == ROW_DELETE) {
        for (int i = 1; i < 7; i++)
            column_put_null(batch, &columns[i]);
        return;
    }
    uint64_t a = next_random(bench), b = next_random(bench);
    static const char digits[] = "0123456789abcdef";
    char status[21], note[16384];
    for (int i = 0; i < 21; i++)
        status[i] = "status of the order  "[i];
    status[20] = (char)('a' + a % 20);
    bool whole = !(bench->unchanged && op == ROW_UPDATE);
    for (uint32_t i = 0; i < bench->note_bytes && whole; i++) {
        uint64_t from = i < 16 ? a : i < 64 || i % 16 ? b : (b = next_random(bench));
        note[i] = digits[from >> (i & 15) * 4 & 15];
    }
    column_put_i32(batch, &columns[1], (int32_t)(a % 100000));
    column_put_i32(batch, &columns[2], (int32_t)(b % 50));
    column_put_bytes(batch, &columns[3], status, sizeof status);
    if (whole)
        column_put_bytes(batch, &columns[4], note, bench->note_bytes);
    else
        column_put_unchanged(batch, &columns[4]);
    column_put_i128(batch, &columns[5], (__int128)(b % 10000000));
    column_put_i64(batch, &columns[6],
                   INT64_C(1767225600000000) + (int64_t)position.major * 1000 +
                       (int64_t)(a % 1000));
}

static Batch *changes_batch(Bench *bench, uint32_t count)
{
    Batch *batch = batch_new(bench->source, 0, count);
    bench->major += 64;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t dice = next_random(bench) % 100;
        RowOp op = dice < 80 || bench->unchanged ? ROW_UPDATE : dice < 95 ? ROW_INSERT : ROW_DELETE;
        uint64_t id = op == ROW_INSERT ? bench->next_id++ : next_random(bench) % bench->rows;
        put_row(bench, batch, op, id, (RowPosition){bench->major, i + 1});
    }
    return batch;
}

static Position position_at(const Bench *bench)
{
    return (Position){.source = "postgresql/7/1/bench", .at = {.major = bench->major + 1}};
}

static void figure(const Bench *bench, const char *metric, const char *unit, double value)
{
    printf("{\"bench\":\"upsert\",\"format\":%d,\"mode\":\"%s\",\"metric\":\"%s\",\"unit\":\"%s\","
           "\"ours\":%.3f}\n",
           bench->spec.format_version, bench->spec.mode == MODE_APPEND ? "Append" : "Upsert",
           metric, unit, value);
}

static void copy_rows(Bench *bench, Table *table)
{
    Error err;
    TableCopy *copy = table_copy_start(table);
    TableCopyWriter *writer = table_copy_writer_open(copy, &err);
    if (!writer)
        die(&err);
    double spent = 0;
    for (uint64_t id = 0; id < bench->rows;) {
        Batch *batch = batch_new(bench->source, 0, bench->batch_rows);
        for (uint32_t i = 0; i < bench->batch_rows && id < bench->rows; i++)
            put_row(bench, batch, ROW_READ, id++, (RowPosition){0});
        double start = cpu_s();
        if (!table_copy_put(writer, batch, &err))
            die(&err);
        spent += cpu_s() - start;
        batch_free(batch);
    }
    Position position = position_at(bench);
    double start = cpu_s();
    if (!table_copy_finish(writer, &err) || !commit_copy_now(TAKE(copy), table, &position, &err))
        die(&err);
    spent += cpu_s() - start;
    table_copy_writer_free(writer);
    figure(bench, "copy", "CPU-s per million rows", spent * 1e6 / (double)bench->rows);
}

static void run(Bench *bench, const TableOptions *options)
{
    Error err;
    Table *table = table_open(options, &err);
    if (!table)
        die(&err);
    bench->next_id = bench->rows;
    copy_rows(bench, table);
    Batch *first = changes_batch(bench, 1);
    double start = cpu_s();
    if (!table_put(table, first, &err))
        die(&err);
    figure(bench, "index build", "CPU-s per million rows",
           (cpu_s() - start) * 1e6 / (double)bench->rows);
    batch_free(first);
    double putting = 0, committing = 0;
    size_t resident = 0;
    uint64_t pending = 0;
    for (uint64_t done = 0; done < bench->changes;) {
        Batch *batch = changes_batch(bench, bench->batch_rows);
        start = cpu_s();
        if (!table_put(table, batch, &err))
            die(&err);
        putting += cpu_s() - start;
        done += batch->row_count;
        pending += batch->row_count;
        batch_free(batch);
        if (pending >= bench->commit_every || done >= bench->changes) {
            pending = 0;
            size_t now = resident_bytes();
            resident = now > resident ? now : resident;
            Position position = position_at(bench);
            start = cpu_s();
            if (!commit_now(table, &position, &err))
                die(&err);
            committing += cpu_s() - start;
        }
    }
    double millions = (double)bench->changes / 1e6;
    TableFigures figures;
    table_figures(table, &figures);
    figure(bench, "put", "CPU-s per million changes", putting / millions);
    if (bench->unchanged)
        figure(bench, "put with a value left out", "CPU-ms per 1,000 updates", putting / millions);
    figure(bench, "commit", "CPU-s per million changes", committing / millions);
    figure(bench, "all", "CPU-s per million changes", (putting + committing) / millions);
    figure(bench, "resident before commit", "MiB", (double)resident / 1048576);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    figure(bench, "resident peak", "MiB", (double)usage.ru_maxrss / 1024);
    figure(bench, "memory said", "MiB", (double)figures.memory_bytes / 1048576);
    figure(bench, "rows", "1", (double)figures.rows);
    table_close(table);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return fprintf(stderr, "usage: upsert_bench FOLDER [--format 2|3] [--append] …\n"), 2;
    Bench bench = {.rows = 1000000,
                   .changes = 1000000,
                   .commit_every = 250000,
                   .batch_rows = 8192,
                   .note_bytes = 64,
                   .random = 88172645463325252u,
                   .major = 4096,
                   .spec = {.format_version = 2,
                            .mode = MODE_UPSERT,
                            .file_target_bytes = (uint64_t)256 << 20,
                            .zstd_level = 3}};
    bench.spec.database = mem_strdup("bench");
    bench.spec.table_name = mem_strdup("orders");
    for (int i = 2; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--append") == 0) {
            bench.spec.mode = MODE_APPEND;
            continue;
        }
        if (strcmp(argv[i], "--unchanged") == 0) {
            bench.unchanged = true;
            continue;
        }
        if (strcmp(argv[i], "--note-bytes") == 0)
            bench.note_bytes = (uint32_t)strtoul(value, NULL, 10) % 16384;
        else if (strcmp(argv[i], "--format") == 0)
            bench.spec.format_version = (int)strtol(value, NULL, 10);
        else if (strcmp(argv[i], "--rows") == 0)
            bench.rows = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--changes") == 0)
            bench.changes = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--commit-every") == 0)
            bench.commit_every = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--batch") == 0)
            bench.batch_rows = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "--partition") == 0)
            bench.partition = mem_strdup(value);
        else
            return fprintf(stderr, "upsert_bench: unknown option %s\n", argv[i]), 2;
        i++;
    }
    bench.spec.partition_by = (TextList){&bench.partition, bench.partition != NULL};
    bench.source = row_schema();
    Error err;
    char *warehouse = store_uri(argv[1], &err);
    bench.store = warehouse ? store_posix_open(argv[1], &err) : NULL;
    bench.catalog = bench.store ? catalog_directory_open(bench.store, &err) : NULL;
    if (!bench.catalog)
        die(&err);
    TableOptions options = {.spec = &bench.spec,
                            .unit = "bench/orders",
                            .create = true,
                            .source = bench.source,
                            .catalog = bench.catalog,
                            .warehouse = warehouse,
                            .memory_bytes_max = (size_t)64 << 20};
    run(&bench, &options);
    catalog_close(bench.catalog);
    store_close(bench.store);
    schema_free(bench.source);
    free(warehouse);
    free(bench.partition);
    free(bench.spec.database);
    free(bench.spec.table_name);
    return 0;
}
