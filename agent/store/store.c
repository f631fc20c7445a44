/* Sends each call to its driver, and what is the same for all of them. */
#include "agent/store/store.h"

#include <string.h>

#include "agent/store/driver.h"

void store_close(Store *store)
{
    if (store)
        store->driver->close(store);
}

void store_writer_free(StoreWriter *writer)
{
    if (writer)
        writer->driver->writer_free(writer);
}

StoreWriter *store_create(Store *store, const char *uri, Error *err)
{
    return store->driver->create(store, uri, err);
}

bool store_write(StoreWriter *writer, const void *data, size_t bytes, Error *err)
{
    return writer->driver->write(writer, data, bytes, err);
}

bool store_finish(StoreWriter *writer, Error *err)
{
    return writer->driver->finish(writer, err);
}

bool store_put(Store *store, const char *uri, const void *data, size_t bytes, Error *err)
{
    return store->driver->put(store, uri, data, bytes, false, err);
}

bool store_put_new(Store *store, const char *uri, const void *data, size_t bytes, Error *err)
{
    return store->driver->put(store, uri, data, bytes, true, err);
}

bool store_get(Store *store, const char *uri, size_t bytes_max, Bytes *ret, Error *err)
{
    AUTO(store_reader_free) StoreReader *reader = store_open(store, uri, err);
    if (!reader)
        return false;
    if (reader->bytes > bytes_max)
        return error_set(err, ERROR_DATA, "ObjectTooLarge",
                         "%s has %llu bytes; at most %zu are read", uri,
                         (unsigned long long)reader->bytes, bytes_max);
    bytes_reserve(ret, reader->bytes);
    if (!store_read(reader, 0, ret->data + ret->used, reader->bytes, err))
        return false;
    ret->used += reader->bytes;
    return true;
}

void store_reader_free(StoreReader *reader)
{
    if (reader)
        reader->driver->reader_free(reader);
}

StoreReader *store_open(Store *store, const char *uri, Error *err)
{
    return store->driver->open(store, uri, err);
}

uint64_t store_reader_bytes(const StoreReader *reader)
{
    return reader->bytes;
}

bool store_read(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    return reader->driver->read(reader, offset, to, bytes, err);
}

bool store_delete(Store *store, const char *uri, Error *err)
{
    return store->driver->remove(store, uri, err);
}

bool store_exists(Store *store, const char *uri, bool *ret, Error *err)
{
    return store->driver->exists(store, uri, ret, err);
}

bool store_list(Store *store, const char *prefix, StoreEach *each, void *context, Error *err)
{
    return store->driver->list(store, prefix, each, context, err);
}

bool store_delete_all(Store *store, const char *prefix, Error *err)
{
    return store->driver->remove_all(store, prefix, err);
}

char *store_uri(const char *location, Error *err)
{
    const char *path = strncmp(location, "file://", 7) == 0 ? location + 7 : location;
    if (strncmp(location, "file:/", 6) == 0 && location[6] != '/')
        path = location + 5;
    if (path[0] != '/') {
        error_set(err, ERROR_CONFIG, "BadLocation",
                  "location '%.200s' is neither file:///… nor an absolute path", location);
        return NULL;
    }
    if (strstr(path, "/../") || (strlen(path) >= 3 && !strcmp(path + strlen(path) - 3, "/.."))) {
        error_set(err, ERROR_CONFIG, "BadLocation", "location '%.200s' has '..' in it", location);
        return NULL;
    }
    char *uri = mem_format("file://%s", path);
    for (size_t end = strlen(uri); end > strlen("file:///") && uri[end - 1] == '/'; end--)
        uri[end - 1] = '\0';
    return uri;
}
