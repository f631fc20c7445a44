/* links: firn_iceberg */
/* A table made through iceberg.h and parquet.h alone, for engines to read: commits of new rows and
 * deletes of old ones, files that go when they are empty, small manifests merged, old snapshots
 * thinned.
 *
 *   iceberg_writer FOLDER FORMAT_VERSION PARTITION_BY [--rest URI [--warehouse NAME]] [--s3
 * ENDPOINT]
 *                  [--vended] [--table NAME] [--commits N] [--append FROM]
 *
 * With --rest the table is in that catalog, and FOLDER is where files of this machine may lie;
 * --append makes appends alone, of rows numbered from FROM on, beside other writers. Keys of an S3
 * store come from the environment. Prints what must be there, tab-separated:
 *   R  id region amount at uid row_id    a live row; row_id -1 in v2
 *   F  path content records sequence     a live file of the table
 *   S  id                                the head
 *   C  id                                --append: a commit; X  code: one that lost
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/iceberg/commit.h"
#include "agent/table/iceberg/iceberg.h"
#include "common/clock.h"
#include "common/mem.h"

#define COMMITS 16
#define ROWS 40 /* per commit */
#define FILES 2000
#define COLUMNS 6

typedef struct Made {
    DataFile file;
    int64_t ids[ROWS];
    uint32_t rows;
    roaring_bitmap_t *deleted;
    bool gone;
} Made;

typedef struct Maker {
    Store *store;
    IcebergTable *table;
    Schema *deletes; /* of position delete files */
    Made *files;
    size_t count;
    DataFile added[FILES]; /* of the commit under way */
    size_t added_count;
} Maker;

static void must(bool ok, const Error *err)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", err->code, err->message);
    exit(1);
}

/* ---------- rows that follow from their id ---------- */
static void uid_of(int64_t id, uint8_t ret[16])
{
    for (int i = 0; i < 16; i++)
        ret[i] = (uint8_t)(id % 5 * 16 + i);
}

static int64_t at_of(int64_t id)
{
    return INT64_C(1763700000000000) + id * 3700 * 1000000 - (id % 7) * INT64_C(86400000000) * 30;
}

static void put_row(Batch *batch, int64_t id)
{
    uint8_t uid[16];
    char region[16];
    batch_row_begin(batch, ROW_INSERT, (RowPosition){0, (uint64_t)id});
    column_put_i64(batch, &batch->columns[0], id);
    int bytes =
        snprintf(region, sizeof region, "r%c/\xc3\xbc %d", (char)('a' + id % 3), (int)(id % 5));
    if (id % 11 == 0)
        column_put_null(batch, &batch->columns[1]);
    else
        column_put_bytes(batch, &batch->columns[1], region, (size_t)bytes);
    column_put_i128(batch, &batch->columns[2], id % 13 * 700 - 2500);
    column_put_i64(batch, &batch->columns[3], at_of(id));
    uid_of(id, uid);
    memcpy(column_put_fixed(batch, &batch->columns[4]), uid, 16);
    for (int64_t i = 0; i < id % 3; i++) {
        column_element_room(batch, batch->columns[5].child);
        column_put_i32(batch, batch->columns[5].child, (int32_t)(id + i));
    }
    column_put_list(batch, &batch->columns[5]);
}

static void print_row(int64_t id, int64_t row_id)
{
    uint8_t uid[16];
    printf("R\t%" PRId64 "\t", id);
    if (id % 11 == 0)
        printf("\\N");
    else
        printf("r%c/\xc3\xbc %d", (char)('a' + id % 3), (int)(id % 5));
    printf("\t%" PRId64 "\t%" PRId64 "\t", id % 13 * 700 - 2500, at_of(id));
    uid_of(id, uid);
    for (int i = 0; i < 16; i++)
        printf("%02x", uid[i]);
    printf("\t%" PRId64 "\n", row_id);
}

static Schema *rows_schema(void)
{
    static const char *const names[COLUMNS] = {"id", "region", "amount", "at", "uid", "tags"};
    static const Type types[COLUMNS] = {{.kind = TYPE_INT64},
                                        {.kind = TYPE_STRING},
                                        {.kind = TYPE_DECIMAL, .precision = 12, .scale = 2},
                                        {.kind = TYPE_TIMESTAMPTZ},
                                        {.kind = TYPE_UUID},
                                        {.kind = TYPE_LIST}};
    Schema *schema = schema_new(COLUMNS, 1);
    for (size_t i = 0; i < COLUMNS; i++)
        schema->fields[i] =
            (Field){.name = mem_strdup(names[i]), .type = types[i], .required = i == 0};
    schema->fields[5].type.element = mem_zalloc(sizeof(Field));
    *schema->fields[5].type.element =
        (Field){.name = mem_strdup("element"), .type.kind = TYPE_INT32};
    return schema;
}

static Schema *deletes_schema(void)
{
    Schema *schema = schema_new(2, 0);
    schema->fields[0] = (Field){.name = mem_strdup("file_path"),
                                .type.kind = TYPE_STRING,
                                .required = true,
                                .id = ICEBERG_POS_DELETE_PATH_FIELD};
    schema->fields[1] = (Field){.name = mem_strdup("pos"),
                                .type.kind = TYPE_INT64,
                                .required = true,
                                .id = ICEBERG_POS_DELETE_POS_FIELD};
    return schema;
}

/* ---------- files ---------- */
static DataFile write_file(Maker *maker, const Schema *schema, const Batch *batch, const char *path,
                           const char *suffix, const Value *partition, size_t partition_count)
{
    Error err = {0};
    const Column *columns[COLUMNS];
    ParquetOptions options;
    ParquetFileInfo info;
    for (size_t i = 0; i < schema->field_count; i++)
        columns[i] = &batch->columns[i];
    parquet_options_default(&options);
    options.plain_strings = schema == maker->deletes;
    DataFile file = {.content = FILE_DATA,
                     .path = iceberg_new_file_uri(maker->table, path, suffix),
                     .spec_id = iceberg_partition_spec(maker->table)->spec_id,
                     .partition = mem_array(partition_count, sizeof(Value)),
                     .partition_count = partition_count,
                     .first_row_id = -1,
                     .content_offset = -1,
                     .content_bytes = -1};
    for (size_t i = 0; i < partition_count; i++)
        value_copy(&file.partition[i], &partition[i]);
    StoreWriter *sink = store_create(maker->store, file.path, &err);
    must(sink != NULL, &err);
    AUTO(parquet_writer_free)
    ParquetWriter *writer = parquet_writer_open(schema, &options, sink, &err);
    must(writer && parquet_writer_put(writer, columns, NULL, batch->row_count, &err) &&
             parquet_writer_finish(writer, &info, &err),
         &err);
    file.record_count = info.rows;
    file.file_bytes = info.bytes;
    file.metrics = TAKE(info.fields);
    file.metric_count = info.field_count;
    file.split_offsets = TAKE(info.split_offsets);
    file.split_count = info.split_count;
    return file;
}

static char *path_of(const PartitionSpec *spec, const Batch *batch, uint32_t row, Value *ret)
{
    for (size_t i = 0; i < spec->field_count; i++)
        partition_value(&spec->fields[i], &batch->columns[spec->fields[i].source], row, &ret[i]);
    return spec->field_count ? partition_path(spec, ret) : mem_strdup("");
}

/* The rows of one commit, a file for each partition. */
static void add_rows(Maker *maker, int64_t first)
{
    const PartitionSpec *spec = iceberg_partition_spec(maker->table);
    const Schema *schema = iceberg_schema(maker->table);
    AUTO(batch_free) Batch *all = batch_new(schema, 0, ROWS);
    bool done[ROWS] = {0};
    for (int64_t i = 0; i < ROWS; i++)
        put_row(all, first + i);
    for (uint32_t i = 0; i < ROWS; i++) {
        Value mine[2] = {0}, other[2];
        if (done[i])
            continue;
        AUTO(mem_free) char *path = path_of(spec, all, i, mine);
        AUTO(batch_free) Batch *batch = batch_new(schema, 0, ROWS);
        Made *made = &maker->files[maker->count++];
        for (uint32_t j = i; j < ROWS; j++) {
            AUTO(mem_free) char *its = path_of(spec, all, j, other);
            if (strcmp(its, path) == 0) {
                done[j] = true;
                made->ids[made->rows++] = first + j;
                put_row(batch, first + j);
            }
            for (size_t f = 0; f < spec->field_count; f++)
                value_done(&other[f]);
        }
        made->deleted = roaring_bitmap_create();
        made->file = write_file(maker, schema, batch, path, ".parquet", mine, spec->field_count);
        maker->added[maker->added_count++] = made->file;
        for (size_t f = 0; f < spec->field_count; f++)
            value_done(&mine[f]);
    }
}

static DataFile position_deletes(Maker *maker, const Made *made, const uint32_t *rows, size_t count)
{
    AUTO(batch_free) Batch *batch = batch_new(maker->deletes, 0, ROWS);
    for (size_t i = 0; i < count; i++) {
        batch_row_begin(batch, ROW_INSERT, (RowPosition){0, 0});
        column_put_bytes(batch, &batch->columns[0], made->file.path, strlen(made->file.path));
        column_put_i64(batch, &batch->columns[1], rows[i]);
    }
    DataFile file = write_file(maker, maker->deletes, batch, "", "-deletes.parquet",
                               made->file.partition, made->file.partition_count);
    file.content = FILE_POSITION_DELETES;
    file.referenced_data_file = mem_strdup(made->file.path);
    return file;
}

static DataFile vector(Maker *maker, const Made *made)
{
    Error err = {0};
    DataFile file;
    AUTO(mem_free) char *uri = iceberg_new_file_uri(maker->table, "", ".puffin");
    DeletionVector it = {made->file.path, made->deleted, made->file.spec_id, made->file.partition,
                         made->file.partition_count};
    must(puffin_write_vectors(maker->store, uri, &it, 1, &file, &err), &err);
    return file;
}

/* Deletes every 7th row of the files so far, another one each time; returns the file that lost its
 * last, NULL: none did. */
static const char *delete_rows(Maker *maker, size_t files, int commit)
{
    const char *empty = NULL;
    for (size_t f = 0; f < files; f++) {
        Made *made = &maker->files[f];
        uint32_t rows[ROWS];
        size_t count = 0;
        for (uint32_t i = 0; i < made->rows && !made->gone; i++)
            if ((made->ids[i] + commit * 3) % 17 == 0 &&
                roaring_bitmap_add_checked(made->deleted, i))
                rows[count++] = i;
        if (!count)
            continue;
        if (roaring_bitmap_get_cardinality(made->deleted) == made->rows && !empty) {
            empty = made->file.path;
            made->gone = true;
            continue;
        }
        maker->added[maker->added_count++] = iceberg_format_version(maker->table) >= 3
                                                 ? vector(maker, made)
                                                 : position_deletes(maker, made, rows, count);
    }
    return empty;
}

static void commit_all(Maker *maker, const char *removed)
{
    Error err = {0};
    int64_t id;
    IcebergCommit commit = {.added = maker->added,
                            .added_count = maker->added_count,
                            .removed = &removed,
                            .removed_count = removed != NULL};
    must(commit_once(maker->table, &commit, &id, &err), &err);
    for (size_t a = 0; a < maker->added_count; a++) {
        DataFile *added = &maker->added[a];
        if (added->content != FILE_DATA) {
            data_file_done(added);
            continue;
        }
        for (size_t f = 0; f < maker->count; f++)
            if (maker->files[f].file.path == added->path)
                maker->files[f].file = *added;
    }
    maker->added_count = 0;
}

static bool print_file(const DataFile *file, void *context, Error *err)
{
    (void)context;
    (void)err;
    printf("F\t%s\t%d\t%" PRIu64 "\t%" PRId64 "\n", file->path, file->content, file->record_count,
           file->sequence_number);
    return true;
}

static void print_all(const Maker *maker)
{
    Error err = {0};
    for (size_t f = 0; f < maker->count; f++) {
        const Made *made = &maker->files[f];
        for (uint32_t i = 0; i < made->rows; i++)
            if (!roaring_bitmap_contains(made->deleted, i))
                print_row(made->ids[i],
                          made->file.first_row_id < 0 ? -1 : made->file.first_row_id + i);
    }
    must(iceberg_each_file(maker->table, print_file, NULL, &err), &err);
}

/* Appends alone, side by side with others: a commit that loses is made again on top of the
 * winner's.
 */
static void append(Maker *maker, int commits, int64_t first)
{
    for (int commit = 0; commit < commits; commit++) {
        add_rows(maker, first + (int64_t)commit * ROWS);
        for (;;) {
            Error err = {0};
            int64_t id;
            bool changed;
            IcebergCommit it = {.added = maker->added, .added_count = maker->added_count};
            if (commit_once(maker->table, &it, &id, &err)) {
                printf("C\t%" PRId64 "\n", id);
                break;
            }
            must(err.kind == ERROR_CONFLICT, &err);
            printf("X\t%s\n", err.code);
            must(iceberg_table_refresh(maker->table, &changed, &err), &err);
        }
        fflush(stdout);
        maker->added_count = 0;
    }
}

static void make_all(Maker *maker, int commits)
{
    for (int commit = 0; commit < commits; commit++) {
        size_t before = maker->count;
        add_rows(maker, (int64_t)commit * ROWS);
        commit_all(maker, delete_rows(maker, before, commit));
    }
    print_all(maker);
    printf("S\t%" PRId64 "\n", iceberg_current_snapshot(maker->table));
}

/* ---------- where ---------- */
typedef struct Options {
    const char *folder, *format_version, *partition_by;
    const char *rest, *warehouse, *endpoint, *table;
    int commits;
    int64_t append_from; /* -1: not */
    bool vended;
} Options;

static Options options_of(int argc, char **argv)
{
    Options options = {.table = "t", .commits = COMMITS, .append_from = -1};
    const char **const plain[] = {&options.folder, &options.format_version, &options.partition_by};
    int plains = 0;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool takes = value && strncmp(argv[i], "--", 2) == 0;
        if (strcmp(argv[i], "--vended") == 0)
            options.vended = true;
        else if (takes && strcmp(argv[i], "--rest") == 0)
            options.rest = argv[++i];
        else if (takes && strcmp(argv[i], "--warehouse") == 0)
            options.warehouse = argv[++i];
        else if (takes && strcmp(argv[i], "--s3") == 0)
            options.endpoint = argv[++i];
        else if (takes && strcmp(argv[i], "--table") == 0)
            options.table = argv[++i];
        else if (takes && strcmp(argv[i], "--commits") == 0)
            options.commits = atoi(argv[++i]);
        else if (takes && strcmp(argv[i], "--append") == 0)
            options.append_from = atoll(argv[++i]);
        else if (plains < 3)
            *plain[plains++] = argv[i];
    }
    if (plains == 3)
        return options;
    fprintf(stderr, "usage: iceberg_writer FOLDER FORMAT_VERSION PARTITION_BY [--rest URI "
                    "[--warehouse NAME]] [--s3 ENDPOINT] [--vended] [--table NAME] [--commits N] "
                    "[--append FROM]\n");
    exit(2);
}

static void open_table(Maker *maker, Catalog *catalog, const TableName *name,
                       const Options *options)
{
    Error err = {0};
    AUTO(schema_free) Schema *schema = rows_schema();
    IcebergCreate create = {.format_version = options->format_version[0] - '0',
                            .schema = schema,
                            .partition_by = &options->partition_by,
                            .partition_count = *options->partition_by != '\0'};
    if (options->append_from >= 0)
        must(iceberg_table_load(catalog, name, &maker->table, &err), &err);
    if (!maker->table && !iceberg_table_create(catalog, name, &create, &maker->table, &err)) {
        /* another writer was first, and may be at it still: a store refuses two at once */
        must(options->append_from >= 0 && err.kind == ERROR_CONFLICT, &err);
        int64_t until_us = clock_mono_us() + 30000000;
        while (!maker->table && clock_mono_us() < until_us)
            must(iceberg_table_load(catalog, name, &maker->table, &err), &err);
        must(maker->table, &err);
    }
    maker->store = iceberg_store(maker->table);
    const IcebergRetention thin_at_once = {
        .metadata_files = 10, .merge_manifests = 6, .manifest_bytes = 8 << 20};
    if (options->append_from < 0)
        iceberg_set_retention(maker->table, &thin_at_once);
}

int main(int argc, char **argv)
{
    Error err = {0};
    const Options options = options_of(argc, argv);
    Maker *maker = mem_zalloc(sizeof *maker);
    const S3Options s3 = {.endpoint = options.endpoint, .path_style = true};
    Store *store = store_open(options.folder, &s3, &err);
    must(store != NULL, &err);
    const RestOptions rest = {.uri = options.rest,
                              .warehouse = options.warehouse,
                              .vended = options.vended,
                              .s3 = &s3,
                              .store = store};
    Catalog *catalog =
        options.rest ? catalog_rest_open(&rest, &err) : catalog_directory_open(store, &err);
    must(catalog != NULL, &err);
    AUTO(mem_free) char *root = store_uri(options.folder, &err);
    AUTO(mem_free) char *location = mem_format("%s/lake/%s", root, options.table);
    TableName name = {"lake", options.table, options.rest ? NULL : location};
    open_table(maker, catalog, &name, &options);
    maker->deletes = deletes_schema();
    maker->files = mem_array(FILES, sizeof *maker->files);
    if (options.append_from >= 0)
        append(maker, options.commits, options.append_from);
    else
        make_all(maker, options.commits);
    for (size_t f = 0; f < maker->count; f++) {
        data_file_done(&maker->files[f].file);
        roaring_bitmap_free(maker->files[f].deleted);
    }
    free(maker->files);
    schema_free(maker->deletes);
    iceberg_table_free(maker->table);
    catalog_close(catalog);
    store_close(store);
    free(maker);
    return 0;
}
