/* One object in memory behind the store's writer and reader, so that these tests need no files.
 * Include it in one source of a test only. A write or read can be made to fail. */
#pragma once

#include "agent/store/store.h"

struct StoreWriter {
    Bytes *object;
    int fail_after; /* writes until one fails; -1: never */
};
struct StoreReader {
    const Bytes *object;
};

__attribute__((unused)) static bool memory_finished;
static int memory_open; /* writers and readers not yet freed */

static inline StoreWriter *memory_writer(Bytes *object)
{
    StoreWriter *writer = mem_zalloc(sizeof *writer);
    *writer = (StoreWriter){object, -1};
    memory_finished = false;
    memory_open++;
    return writer;
}

static inline StoreReader *memory_reader(const Bytes *object)
{
    StoreReader *reader = mem_zalloc(sizeof *reader);
    reader->object = object;
    memory_open++;
    return reader;
}

void store_writer_free(StoreWriter *writer)
{
    memory_open -= writer != NULL;
    free(writer);
}

void store_reader_free(StoreReader *reader)
{
    memory_open -= reader != NULL;
    free(reader);
}

bool store_write(StoreWriter *writer, const void *data, size_t bytes, Error *err)
{
    if (writer->fail_after >= 0 && writer->fail_after-- == 0)
        return error_set(err, ERROR_RETRY, "DiskFull", "the write was made to fail");
    bytes_put(writer->object, data, bytes);
    return true;
}

bool store_finish(StoreWriter *writer, Error *err)
{
    (void)writer, (void)err;
    memory_finished = true;
    return true;
}

uint64_t store_reader_bytes(const StoreReader *reader)
{
    return reader->object->used;
}

bool store_read(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    if (offset > reader->object->used || bytes > reader->object->used - offset)
        return error_set(err, ERROR_DATA, "ShortRead", "read past the end");
    if (bytes)
        memcpy(to, reader->object->data + offset, bytes);
    return true;
}
