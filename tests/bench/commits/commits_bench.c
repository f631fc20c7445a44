/* links: firn_iceberg */
/* What a commit costs as a table's snapshots grow: COMMITS commits of one small file each through
 * the directory catalog, all within the retention's youngest hour, so that none is thinned; or
 * with snapshots kept for KEEP_MS alone, so that their number stays the same.
 *
 *   commits_bench FOLDER COMMITS [FORMAT_VERSION [KEEP_MS]]
 *
 * Prints, for every hundred commits: commits and snapshots so far, wall and CPU milliseconds of one
 * commit. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent/table/iceberg/iceberg.h"
#include "common/clock.h"
#include "common/mem.h"

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

static void commit_one(IcebergTable *table, int number)
{
    Error err = {0};
    int64_t id;
    char position[80];
    snprintf(position, sizeof position, "postgresql/7000000000000000000/1/firn_shop@%016X.0",
             (unsigned)number);
    const char *const summary[] = {"firn.position.default/shop", position};
    DataFile file = {.content = FILE_DATA,
                     .path = iceberg_new_file_uri(table, "", ".parquet"),
                     .record_count = 10,
                     .file_bytes = 1000,
                     .first_row_id = -1,
                     .content_offset = -1,
                     .content_bytes = -1};
    IcebergCommit commit = {
        .added = &file, .added_count = 1, .summary = summary, .summary_count = 1};
    must(iceberg_commit(table, &commit, &id, &err), &err);
    data_file_done(&file);
}

int main(int argc, char **argv)
{
    Error err = {0};
    if (argc < 3) {
        fprintf(stderr, "usage: commits_bench FOLDER COMMITS [FORMAT_VERSION [KEEP_MS]]\n");
        return 2;
    }
    int commits = atoi(argv[2]);
    AUTO(store_close) Store *store = store_posix_open(argv[1], &err);
    must(store != NULL, &err);
    AUTO(catalog_close) Catalog *catalog = catalog_directory_open(store, &err);
    AUTO(mem_free) char *root = store_uri(argv[1], &err);
    AUTO(mem_free) char *location = mem_format("%s/lake/t", root);
    TableName name = {"lake", "t", location};
    AUTO(schema_free) Schema *schema = schema_new(1, 1);
    schema->fields[0] =
        (Field){.name = mem_strdup("id"), .type.kind = TYPE_INT64, .required = true};
    schema->key[0] = 0;
    IcebergCreate create = {.format_version = argc > 3 ? atoi(argv[3]) : 2, .schema = schema};
    AUTO(iceberg_table_free) IcebergTable *table = NULL;
    must(iceberg_table_create(catalog, &name, &create, &table, &err), &err);
    if (argc > 4) {
        int64_t keep_ms = atoll(argv[4]);
        const IcebergRetention retention = {.all_ms = keep_ms,
                                            .hourly_ms = keep_ms,
                                            .daily_ms = keep_ms,
                                            .metadata_files = 100,
                                            .merge_manifests = 100,
                                            .manifest_bytes = 8 << 20};
        iceberg_set_retention(table, &retention);
    }
    int64_t wall_us = clock_mono_us();
    double cpu = cpu_ms();
    for (int number = 1; number <= commits; number++) {
        commit_one(table, number);
        if (number % 100)
            continue;
        int64_t now_us = clock_mono_us();
        double now_cpu = cpu_ms();
        printf("%d\t%zu\t%.3f\t%.3f\n", number,
               json_array_size(json_object_get(iceberg_metadata(table), "snapshots")),
               (double)(now_us - wall_us) / 1e5, (now_cpu - cpu) / 100);
        fflush(stdout);
        wall_us = now_us;
        cpu = now_cpu;
    }
    return 0;
}
