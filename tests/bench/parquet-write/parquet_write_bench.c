/* links: firn_parquet */
/* parquet_write_bench FOLDER TO ROWS BATCH_ROWS TIMES: writes the mixed table of ten columns, whose
 * raw Arrow buffers run.py has left in FOLDER (NAME.values, NAME.offsets), in batches of
 * BATCH_ROWS; prints "cpu seconds, wall seconds, bytes, memory at its highest" for each time.
 * BATCH_ROWS 0: one put of the whole table. */
#include <sys/mman.h>
#include <sys/resource.h>

#include "tests/integration/parquet_files.h"

#include "agent/table/parquet/parquet.h"
#include "common/clock.h"

#define COLUMNS 10

static const struct {
    const char *name;
    Type type;
} columns_of_table[COLUMNS] = {
    {"id", {.kind = TYPE_INT64}},
    {"qty", {.kind = TYPE_INT32}},
    {"price", {.kind = TYPE_FLOAT64}},
    {"amount", {.kind = TYPE_DECIMAL, .precision = 12, .scale = 2}},
    {"ts", {.kind = TYPE_TIMESTAMP}},
    {"day", {.kind = TYPE_DATE}},
    {"status", {.kind = TYPE_STRING}},
    {"email", {.kind = TYPE_STRING}},
    {"token", {.kind = TYPE_STRING}},
    {"flag", {.kind = TYPE_BOOL}},
};

/* Mapped private and writable, because Column's pointers are not const. */
static void *map(const char *folder, const char *name, const char *part)
{
    char path[4096];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, part);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        perror(path);
        exit(1);
    }
    void *data = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_POPULATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return data;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void stop(const Error *err)
{
    fprintf(stderr, "parquet_write_bench: %s: %s\n", err->code, err->message);
    exit(1);
}

/* Views of the next rows: what a capture's batch would hold. */
static void slice(const Column *whole, Column *part, size_t at, size_t rows)
{
    *part = *whole;
    part->rows = (uint32_t)rows;
    if (whole->offsets)
        part->offsets = whole->offsets + at;
    else if (whole->width)
        part->values = whole->values + at * whole->width;
    else
        part->values = whole->values + at / 8;
}

static void write_once(const Schema *schema, const Column *whole, const char *to, size_t rows,
                       size_t batch)
{
    Error err = {0};
    ParquetOptions options;
    parquet_options_default(&options);
    options.row_group_bytes = (size_t)1 << 30; /* one row group, as the peer's */
    double cpu = cpu_seconds();
    int64_t wall = clock_mono_us();
    size_t memory = 0;
    AUTO(parquet_writer_free)
    ParquetWriter *writer = parquet_writer_open(schema, &options, file_writer(to), &err);
    if (!writer)
        stop(&err);
    for (size_t at = 0; at < rows; at += batch) {
        Column parts[COLUMNS];
        const Column *pointers[COLUMNS];
        size_t count = rows - at < batch ? rows - at : batch;
        for (size_t i = 0; i < COLUMNS; i++) {
            slice(&whole[i], &parts[i], at, count);
            pointers[i] = &parts[i];
        }
        if (!parquet_writer_put(writer, pointers, NULL, count, &err))
            stop(&err);
        if (parquet_writer_memory(writer) > memory)
            memory = parquet_writer_memory(writer);
    }
    ParquetFileInfo info;
    if (!parquet_writer_finish(writer, &info, &err))
        stop(&err);
    printf("%.4f %.4f %llu %zu\n", cpu_seconds() - cpu, (double)(clock_mono_us() - wall) / 1e6,
           (unsigned long long)info.bytes, memory);
    fflush(stdout);
    parquet_file_info_done(&info);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: parquet_write_bench FOLDER TO ROWS BATCH_ROWS TIMES\n");
        return 2;
    }
    size_t rows = (size_t)atol(argv[3]), batch = (size_t)atol(argv[4]);
    if (!batch)
        batch = rows;
    AUTO(schema_free) Schema *schema = schema_new(COLUMNS, 0);
    Column whole[COLUMNS] = {0};
    for (int i = 0; i < COLUMNS; i++) {
        Field *field = &schema->fields[i];
        *field = (Field){.id = i + 1,
                         .name = mem_strdup(columns_of_table[i].name),
                         .type = columns_of_table[i].type};
        whole[i] = (Column){.field = field, .width = type_width(&field->type)};
        whole[i].values = map(argv[1], field->name, "values");
        if (field->type.kind == TYPE_STRING)
            whole[i].offsets = map(argv[1], field->name, "offsets");
    }
    for (int i = 0; i < atoi(argv[5]); i++)
        write_once(schema, whole, argv[2], rows, batch);
    return 0;
}
