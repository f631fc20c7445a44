/* links: firn_iceberg */
/* What a commit costs, by itself: COMMITS commits of some data files that are only names, each with
 * the figures of eight columns, through the directory catalog or a REST server.
 *
 *   commit_bench FOLDER COMMITS [--format-version N] [--files N] [--every MS] [--rest URI]
 *                [--table NAME] [--young-most N] [--merge N]
 *
 * --every: the clock that the table sees goes on by so much with each commit, so that snapshots age
 * and expire as they do in hours. --young-most, --merge: another retention than the default.
 *
 * Prints, for every hundred commits: commits and snapshots so far, wall and CPU milliseconds of one
 * commit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/iceberg/commit.h"
#include "agent/table/iceberg/iceberg.h"
#include "common/clock.h"
#include "common/mem.h"

#define COLUMNS 8
#define ROWS 1000
#define WINDOW 100

typedef struct Options {
    const char *folder, *rest, *table;
    int commits, format_version, files, young_most, merge;
    int64_t every_ms;
} Options;

/* The C library's, for the whole process, but that the wall clock may run fast. */
static int64_t ahead_ms;
int clock_gettime(clockid_t id, struct timespec *ret)
{
    int code = (int)syscall(SYS_clock_gettime, id, ret);
    if (id == CLOCK_REALTIME) {
        ret->tv_sec += ahead_ms / 1000;
        ret->tv_nsec += ahead_ms % 1000 * 1000000;
        if (ret->tv_nsec >= 1000000000) {
            ret->tv_nsec -= 1000000000;
            ret->tv_sec++;
        }
    }
    return code;
}

static void must(bool ok, const Error *err)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", err->code, err->message);
    exit(1);
}

static double cpu_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec / 1e6;
}

static DataFile file_of(IcebergTable *table, int number)
{
    DataFile file = {.content = FILE_DATA,
                     .path = iceberg_new_file_uri(table, "", ".parquet"),
                     .record_count = ROWS,
                     .file_bytes = 20000,
                     .first_row_id = -1,
                     .content_offset = -1,
                     .content_bytes = -1,
                     .metric_count = COLUMNS};
    file.metrics = mem_array(COLUMNS, sizeof *file.metrics);
    for (int c = 0; c < COLUMNS; c++) {
        ParquetFieldMetrics *metrics = &file.metrics[c];
        *metrics = (ParquetFieldMetrics){.field_id = c + 1,
                                         .column_bytes = 2000 + c,
                                         .value_count = ROWS,
                                         .nan_count = -1,
                                         .has_lower = true,
                                         .has_upper = true,
                                         .lower_bytes = 8,
                                         .upper_bytes = 8};
        int64_t lower = (int64_t)number * ROWS, upper = lower + ROWS - 1;
        memcpy(metrics->lower, &lower, sizeof lower);
        memcpy(metrics->upper, &upper, sizeof upper);
    }
    return file;
}

static void commit_one(IcebergTable *table, int number, int files)
{
    Error err = {0};
    int64_t id;
    char position[80];
    snprintf(position, sizeof position, "postgresql/7000000000000000000/1/firn_shop@%016X.0",
             (unsigned)number);
    const char *const summary[] = {"firn.position.default/shop", position};
    DataFile *added = mem_array((size_t)files, sizeof *added);
    for (int f = 0; f < files; f++)
        added[f] = file_of(table, number * files + f);
    IcebergCommit commit = {
        .added = added, .added_count = (size_t)files, .summary = summary, .summary_count = 1};
    must(commit_once(table, &commit, &id, &err), &err);
    for (int f = 0; f < files; f++)
        data_file_done(&added[f]);
    free(added);
}

static void commit_all(IcebergTable *table, const Options *options)
{
    int64_t wall_us = clock_mono_us();
    double cpu = cpu_ms();
    for (int number = 1; number <= options->commits; number++) {
        commit_one(table, number, options->files);
        ahead_ms += options->every_ms;
        if (number % WINDOW)
            continue;
        int64_t now_us = clock_mono_us();
        double now_cpu = cpu_ms();
        printf("%d\t%zu\t%.4f\t%.4f\n", number,
               json_array_size(json_object_get(iceberg_metadata(table), "snapshots")),
               (double)(now_us - wall_us) / 1e3 / WINDOW, (now_cpu - cpu) / WINDOW);
        fflush(stdout);
        wall_us = now_us;
        cpu = now_cpu;
    }
}

static IcebergTable *make(Catalog *catalog, const TableName *name, const Options *options)
{
    Error err = {0};
    AUTO(schema_free) Schema *schema = schema_new(COLUMNS, 1);
    for (int c = 0; c < COLUMNS; c++)
        schema->fields[c] =
            (Field){.name = mem_format("c%d", c), .type.kind = TYPE_INT64, .required = c == 0};
    schema->key[0] = 0;
    IcebergCreate create = {.format_version = options->format_version, .schema = schema};
    IcebergTable *table;
    must(iceberg_table_create(catalog, name, &create, &table, &err), &err);
    IcebergRetention retention = iceberg_retention_default;
    if (options->young_most >= 0)
        retention.burst_most = retention.young_most = options->young_most;
    if (options->merge)
        retention.merge_manifests = options->merge;
    iceberg_set_retention(table, &retention);
    return table;
}

static Options options_of(int argc, char **argv)
{
    Options options = {.table = "t", .format_version = 2, .files = 1, .young_most = -1};
    bool right = argc >= 3;
    if (right) {
        options.folder = argv[1];
        options.commits = atoi(argv[2]);
    }
    for (int i = 3; right && i + 1 < argc; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--format-version") == 0)
            options.format_version = atoi(value);
        else if (strcmp(argv[i], "--files") == 0)
            options.files = atoi(value);
        else if (strcmp(argv[i], "--every") == 0)
            options.every_ms = atoll(value);
        else if (strcmp(argv[i], "--rest") == 0)
            options.rest = value;
        else if (strcmp(argv[i], "--table") == 0)
            options.table = value;
        else if (strcmp(argv[i], "--young-most") == 0)
            options.young_most = atoi(value);
        else if (strcmp(argv[i], "--merge") == 0)
            options.merge = atoi(value);
        else
            right = false;
    }
    if (!right || argc % 2 == 0) {
        fprintf(stderr, "usage: commit_bench FOLDER COMMITS [--format-version N] [--files N] "
                        "[--every MS] [--rest URI] [--table NAME] [--young-most N] [--merge N]\n");
        exit(2);
    }
    return options;
}

int main(int argc, char **argv)
{
    Error err = {0};
    const Options options = options_of(argc, argv);
    AUTO(store_close) Store *store = store_posix_open(options.folder, &err);
    must(store != NULL, &err);
    const RestOptions rest = {.uri = options.rest, .store = store};
    AUTO(catalog_close)
    Catalog *catalog =
        options.rest ? catalog_rest_open(&rest, &err) : catalog_directory_open(store, &err);
    must(catalog != NULL, &err);
    AUTO(mem_free) char *root = store_uri(options.folder, &err);
    AUTO(mem_free) char *location = mem_format("%s/lake/%s", root, options.table);
    TableName name = {"lake", options.table, options.rest ? NULL : location};
    AUTO(iceberg_table_free) IcebergTable *table = make(catalog, &name, &options);
    commit_all(table, &options);
    return 0;
}
