/* What a store driver implements. The structs are the first member of the driver's own. */
#pragma once

#include "agent/store/store.h"

typedef struct StoreDriver {
    void (*close)(Store *store);
    StoreWriter *(*create)(Store *store, const char *uri, Error *err);
    bool (*write)(StoreWriter *writer, const void *data, size_t bytes, Error *err);
    bool (*finish)(StoreWriter *writer, Error *err);
    void (*writer_free)(StoreWriter *writer);
    bool (*put)(Store *store, const char *uri, const void *data, size_t bytes, bool only_new,
                Error *err);
    StoreReader *(*open)(Store *store, const char *uri, Error *err);
    bool (*read)(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err);
    void (*reader_free)(StoreReader *reader);
    bool (*remove)(Store *store, const char *uri, Error *err);
    bool (*exists)(Store *store, const char *uri, bool *ret, Error *err);
    bool (*list)(Store *store, const char *prefix, StoreEach *each, void *context, Error *err);
    bool (*remove_all)(Store *store, const char *prefix, Error *err);
} StoreDriver;

struct Store {
    const StoreDriver *driver;
};
struct StoreWriter {
    const StoreDriver *driver;
};
struct StoreReader {
    const StoreDriver *driver;
    uint64_t bytes;
};
