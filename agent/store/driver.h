/* What a store driver fills in; store.c dispatches to it. A driver's Store, StoreWriter and
 * StoreReader begin with the structs below. Tests put their own driver here to fail the n-th call.
 */
#pragma once

#include "agent/store/store.h"

typedef struct StoreDriver {
    void (*close)(Store *store);
    StoreWriter *(*create)(Store *store, const char *uri, Error *err);
    void (*writer_free)(StoreWriter *writer);
    bool (*write)(StoreWriter *writer, const void *data, size_t bytes, Error *err);
    bool (*finish)(StoreWriter *writer, Error *err);
    /* tag NULL: whatever stands there; else as store_put_tagged. */
    bool (*put)(Store *store, const char *uri, const void *data, size_t bytes, StoreTag *tag,
                Error *err);
    /* ret_tag NULL: not asked for. NULL: open and read do. */
    bool (*get)(Store *store, const char *uri, size_t bytes_max, Bytes *ret, StoreTag *ret_tag,
                Error *err);
    StoreReader *(*open)(Store *store, const char *uri, Error *err);
    void (*reader_free)(StoreReader *reader);
    bool (*read)(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err);
    bool (*remove)(Store *store, const char *uri, Error *err);
    bool (*exists)(Store *store, const char *uri, bool *ret, Error *err);
    bool (*list)(Store *store, const char *prefix, StoreEach *each, void *context, Error *err);
    bool (*remove_all)(Store *store, const char *prefix, Error *err);
    /* NULL: nothing is ever left. */
    bool (*sweep)(Store *store, const char *prefix, int64_t before_us, Error *err);
} StoreDriver;

struct Store {
    const StoreDriver *driver;
};
struct StoreWriter {
    Store *store;
};
struct StoreReader {
    Store *store;
    uint64_t bytes;
    StoreTag tag; /* where the driver has no `get` */
};
