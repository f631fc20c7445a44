/* A store that has one object, under every name: the input. */
#pragma once

#include "agent/store/driver.h"
#include "common/mem.h"

typedef struct OneObject {
    Store store;
    const uint8_t *data;
    size_t bytes;
} OneObject;

static StoreReader *open_object(Store *store, const char *uri, Error *err)
{
    (void)uri;
    (void)err;
    StoreReader *reader = mem_zalloc(sizeof *reader);
    *reader = (StoreReader){.store = store, .bytes = ((OneObject *)store)->bytes};
    return reader;
}

static void free_reader(StoreReader *reader)
{
    free(reader);
}

static bool read_object(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    const OneObject *object = (const OneObject *)reader->store;
    if (offset > object->bytes || bytes > object->bytes - offset)
        return error_set(err, ERROR_DATA, "ShortRead", "read past the end");
    memcpy(to, object->data + offset, bytes);
    return true;
}

static const StoreDriver one_object_driver = {
    .open = open_object, .reader_free = free_reader, .read = read_object};
