/* The store's front: every call goes to the driver that opened it, what drivers share is here. */
#include "agent/store/driver.h"

#include <string.h>

void store_close(Store *store)
{
    if (store)
        store->driver->close(store);
}

StoreWriter *store_create(Store *store, const char *uri, Error *err)
{
    return store->driver->create(store, uri, err);
}

void store_writer_free(StoreWriter *writer)
{
    if (writer)
        writer->store->driver->writer_free(writer);
}

bool store_write(StoreWriter *writer, const void *data, size_t bytes, Error *err)
{
    return writer->store->driver->write(writer, data, bytes, err);
}

bool store_finish(StoreWriter *writer, Error *err)
{
    return writer->store->driver->finish(writer, err);
}

bool store_put(Store *store, const char *uri, const void *data, size_t bytes, Error *err)
{
    return store->driver->put(store, uri, data, bytes, NULL, err);
}

bool store_put_new(Store *store, const char *uri, const void *data, size_t bytes, Error *err)
{
    return store->driver->put(store, uri, data, bytes, &(StoreTag){{0}}, err);
}

bool store_put_tagged(Store *store, const char *uri, const void *data, size_t bytes, StoreTag *tag,
                      Error *err)
{
    return store->driver->put(store, uri, data, bytes, tag, err);
}

StoreReader *store_reader_open(Store *store, const char *uri, Error *err)
{
    return store->driver->open(store, uri, err);
}

void store_reader_free(StoreReader *reader)
{
    if (reader)
        reader->store->driver->reader_free(reader);
}

uint64_t store_reader_bytes(const StoreReader *reader)
{
    return reader->bytes;
}

bool store_read(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    return reader->store->driver->read(reader, offset, to, bytes, err);
}

static bool get(Store *store, const char *uri, size_t bytes_max, Bytes *ret, StoreTag *ret_tag,
                Error *err)
{
    if (store->driver->get)
        return store->driver->get(store, uri, bytes_max, ret, ret_tag, err);
    AUTO(store_reader_free) StoreReader *reader = store_reader_open(store, uri, err);
    if (!reader)
        return false;
    if (reader->bytes > bytes_max)
        return error_set(err, ERROR_DATA, "ObjectTooLarge", "%s has %llu bytes, the limit is %zu",
                         uri, (unsigned long long)reader->bytes, bytes_max);
    size_t bytes = (size_t)reader->bytes;
    bytes_reserve(ret, bytes + 1); /* an empty object has a place, too */
    if (!store_read(reader, 0, ret->data + ret->used, bytes, err))
        return false;
    ret->used += bytes;
    if (ret_tag)
        *ret_tag = reader->tag;
    return true;
}

bool store_get(Store *store, const char *uri, size_t bytes_max, Bytes *ret, Error *err)
{
    return get(store, uri, bytes_max, ret, NULL, err);
}

bool store_get_tagged(Store *store, const char *uri, size_t bytes_max, Bytes *ret,
                      StoreTag *ret_tag, Error *err)
{
    Error why = {0};
    *ret_tag = (StoreTag){{0}};
    if (get(store, uri, bytes_max, ret, ret_tag, &why) || strcmp(why.code, "ObjectMissing") == 0)
        return true;
    if (err)
        *err = why;
    return false;
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

bool store_sweep_unfinished(Store *store, const char *prefix, int64_t before_us, Error *err)
{
    return !store->driver->sweep || store->driver->sweep(store, prefix, before_us, err);
}

/* What follows "s3://", "s3a://" or "s3n://"; NULL: another scheme. */
static const char *after_s3(const char *location)
{
    if (strncmp(location, "s3", 2) != 0)
        return NULL;
    const char *rest = location + 2 + (location[2] == 'a' || location[2] == 'n');
    return strncmp(rest, "://", 3) == 0 ? rest + 3 : NULL;
}

static char *not_plain(const char *location, Error *err)
{
    error_set(err, ERROR_CONFIG, "LocationNotPlain",
              "%s has a '.' or '..' in it; write the location without", location);
    return NULL;
}

static bool is_dots(const char *name, size_t bytes)
{
    return name[0] == '.' && (bytes == 1 || (bytes == 2 && name[1] == '.'));
}

/* Keys stay as they are, doubled slashes too; only slashes at the end go. */
static char *s3_uri(const char *location, const char *rest, Error *err)
{
    size_t bytes = strlen(rest);
    while (bytes && rest[bytes - 1] == '/')
        bytes--;
    if (!bytes || rest[0] == '/') {
        error_set(err, ERROR_CONFIG, "LocationUnusable",
                  "%s names no bucket; write s3://BUCKET/PREFIX", location);
        return NULL;
    }
    for (const char *at = rest; at < rest + bytes; at++) {
        size_t name_bytes = strcspn(at, "/");
        if (is_dots(at, name_bytes))
            return not_plain(location, err);
        at += name_bytes;
    }
    return mem_format("s3://%.*s", (int)bytes, rest);
}

Store *store_open(const char *location, const S3Options *s3, Error *err)
{
    AUTO(mem_free) char *uri = store_uri(location, err);
    if (!uri)
        return NULL;
    return after_s3(uri) ? store_s3_open(s3, err) : store_posix_open(uri, err);
}

char *store_uri(const char *location, Error *err)
{
    const char *path = location, *rest = after_s3(location);
    if (rest)
        return s3_uri(location, rest, err);
    if (strncmp(location, "file:", 5) == 0) {
        path = location + 5;
        if (strncmp(path, "//", 2) == 0)
            path += 2; /* file:///a; with a host in between, no slash follows */
    } else if (strstr(location, "://")) {
        error_set(err, ERROR_CONFIG, "StoreUnsupported",
                  "%s: no store serves this scheme; use s3://…, file:///… or an absolute path",
                  location);
        return NULL;
    }
    if (path[0] != '/') {
        error_set(err, ERROR_CONFIG, "LocationNotAbsolute",
                  "%s is not absolute; write file:///… or a path that starts with /", location);
        return NULL;
    }
    char *uri = mem_alloc(strlen("file://") + strlen(path) + 2);
    char *to = stpcpy(uri, "file://");
    while (*path) {
        path += strspn(path, "/");
        size_t bytes = strcspn(path, "/");
        if (!bytes)
            break;
        if (is_dots(path, bytes)) {
            free(uri);
            return not_plain(location, err);
        }
        *to++ = '/';
        to = mempcpy(to, path, bytes);
        path += bytes;
    }
    if (to == uri + strlen("file://"))
        *to++ = '/';
    *to = '\0';
    return uri;
}
