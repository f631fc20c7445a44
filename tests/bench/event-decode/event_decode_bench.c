/* links: firn_event */
/* event_decode_bench FORMAT VALUES SCHEMA ROWS: decodes so many of Debezium's records into batches
 * and prints "cpu seconds, bytes of values, memory at its highest".
 *
 *   FORMAT  json    without schemas; SCHEMA is Connect's, of the envelope
 *           schema  each record with its own; SCHEMA is not read
 *           avro    SCHEMA is the writer's
 *   VALUES  as topic_encode_bench writes them: each behind 4 bytes of length */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "agent/event/event.h"
#include "common/mem.h"

#define BATCH_ROWS 1024

static char *schema_text;

static bool fetch(void *context, uint32_t id, WriterSchema *ret, Error *err)
{
    (void)context;
    (void)id;
    (void)err;
    ret->text = mem_strdup(schema_text);
    return true;
}

static Bytes read_file(const char *path)
{
    Bytes bytes = {0};
    FILE *file = fopen(path, "rb");
    ASSERT(file);
    for (size_t got = 1; got;) {
        bytes_reserve(&bytes, 65536);
        got = fread(bytes.data + bytes.used, 1, 65536, file);
        bytes.used += got;
    }
    fclose(file);
    return bytes;
}

static long peak_memory(void)
{
    char line[256];
    long peak = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0)
            peak = strtol(line + 6, NULL, 10);
    if (file)
        fclose(file);
    return peak;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static EventRecord *split(const Bytes *values, size_t *ret_count)
{
    EventRecord *records = NULL;
    size_t count = 0;
    for (size_t at = 0; at + 4 <= values->used;) {
        uint32_t bytes;
        memcpy(&bytes, values->data + at, 4);
        at += 4;
        records = mem_regrow(records, count + 1, sizeof *records);
        records[count] = (EventRecord){
            .value = values->data + at, .value_bytes = bytes, .offset = count, .partition = 0};
        count++;
        at += bytes;
    }
    *ret_count = count;
    return records;
}

int main(int argument_count, char **arguments)
{
    if (argument_count < 5)
        return 2;
    Error err = {0};
    bool avro = strcmp(arguments[1], "avro") == 0;
    Bytes values = read_file(arguments[2]), schema = read_file(arguments[3]);
    bytes_put_u8(&schema, 0);
    schema_text = (char *)schema.data;
    size_t count;
    EventRecord *records = split(&values, &count);
    bool fixed = strcmp(arguments[1], "json") == 0;
    EventReader *reader =
        event_reader_new(&(EventOptions){.format = avro ? EVENT_AVRO : EVENT_JSON,
                                         .value_schema = fixed ? schema_text : NULL,
                                         .fetch = fetch},
                         &err);
    Schema *columns = NULL;
    ASSERT(reader && event_wanted(reader, fixed ? NULL : &records[0], &columns, &err) && columns);
    event_reader_target(reader, columns);
    uint64_t wanted = strtoull(arguments[4], NULL, 10), bytes = 0;
    double cpu = cpu_seconds();
    Batch *batch = batch_new(columns, 0, BATCH_ROWS);
    for (uint64_t row = 0; row < wanted; row++) {
        const EventRecord *record = &records[row % count];
        Event event;
        if (!event_decode(reader, record, batch, &event, &err) || event.kind != EVENT_ROW) {
            fprintf(stderr, "%s: %s\n", err.code, err.message);
            return 1;
        }
        bytes += record->value_bytes;
        if (batch_is_full(batch)) {
            batch_free(batch);
            batch = batch_new(columns, 0, BATCH_ROWS);
        }
    }
    cpu = cpu_seconds() - cpu;
    printf("%.6f %" PRIu64 " %ld\n", cpu, bytes, peak_memory() << 10);
    batch_free(batch);
    schema_free(columns);
    event_reader_free(reader);
    free(records);
    bytes_done(&values);
    bytes_done(&schema);
    return 0;
}
