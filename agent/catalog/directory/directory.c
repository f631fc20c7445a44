/* The directory catalog: <location>/metadata/vN.metadata.json, made exclusively, is the truth; the
 * greatest N is the table. version-hint.text holds N for readers and saves us a search: it is
 * written after, so it may be behind (a crash between the two) or garbage; every load looks past it
 * and repairs it. https://iceberg.apache.org/spec/#file-system-tables */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/catalog/driver.h"
#include "common/crash.h"
#include "common/mem.h"

#define METADATA_BYTES_MAX ((size_t)1 << 30)
#define HINT_BYTES_MAX 64

static char *version_uri(const TableName *name, int64_t version)
{
    return mem_format("%s/metadata/v%" PRId64 ".metadata.json", name->location, version);
}

static char *hint_uri(const TableName *name)
{
    return mem_format("%s/metadata/version-hint.text", name->location);
}

/* The hint's number; 0 when there is none, or nonsense. */
static bool hint_read(Catalog *catalog, const TableName *name, int64_t *ret, Error *err)
{
    *ret = 0;
    AUTO(mem_free) char *uri = hint_uri(name);
    bool exists;
    if (!store_exists(catalog->store, uri, &exists, err))
        return false;
    if (!exists)
        return true;
    Bytes text = {0};
    Error ignored = {0};
    if (store_get(catalog->store, uri, HINT_BYTES_MAX, &text, &ignored)) {
        bytes_put_u8(&text, 0);
        char *end;
        long long number = strtoll((const char *)text.data, &end, 10);
        if (end != (const char *)text.data && strspn(end, " \r\n") == strlen(end) && number > 0)
            *ret = number;
    }
    bytes_done(&text);
    return true;
}

static bool hint_write(Catalog *catalog, const TableName *name, int64_t version, Error *err)
{
    AUTO(mem_free) char *uri = hint_uri(name);
    char text[24];
    int bytes = snprintf(text, sizeof text, "%" PRId64, version);
    return store_put(catalog->store, uri, text, (size_t)bytes, err);
}

/* For store_list: the greatest N of vN.metadata.json. */
static bool greatest(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)bytes;
    (void)modified_us;
    int64_t *most = context, version;
    int end = 0;
    const char *file = strrchr(uri, '/') + 1;
    if (sscanf(file, "v%18" SCNd64 ".metadata.json%n", &version, &end) == 1 && end && !file[end] &&
        version > *most)
        *most = version;
    return true;
}

/* The newest version there is; 0: no table. */
static bool find_version(Catalog *catalog, const TableName *name, int64_t hint, int64_t *ret,
                         Error *err)
{
    *ret = hint;
    bool exists = hint > 0;
    if (hint > 0) {
        AUTO(mem_free) char *uri = version_uri(name, hint);
        if (!store_exists(catalog->store, uri, &exists, err))
            return false;
    }
    if (!exists) {
        *ret = 0;
        AUTO(mem_free) char *folder = mem_format("%s/metadata/", name->location);
        return store_list(catalog->store, folder, greatest, ret, err);
    }
    for (;;) {
        AUTO(mem_free) char *uri = version_uri(name, *ret + 1);
        if (!store_exists(catalog->store, uri, &exists, err))
            return false;
        if (!exists)
            return true;
        ++*ret;
    }
}

static bool directory_load(Catalog *catalog, const TableName *name, CatalogEntry *ret, Error *err)
{
    int64_t hint, version;
    if (!hint_read(catalog, name, &hint, err) || !find_version(catalog, name, hint, &version, err))
        return false;
    if (version == 0)
        return true;
    if (version != hint && !hint_write(catalog, name, version, err))
        return false;
    AUTO(mem_free) char *uri = version_uri(name, version);
    if (!store_get(catalog->store, uri, METADATA_BYTES_MAX, &ret->metadata, err)) {
        catalog_entry_done(ret);
        return false;
    }
    ret->metadata_uri = TAKE(uri);
    ret->version = version;
    return true;
}

static bool directory_commit(Catalog *catalog, const TableName *name, const CatalogEntry *base,
                             const char *metadata, size_t metadata_bytes, char **ret_uri,
                             int64_t *ret_version, Error *err)
{
    int64_t version = base && base->metadata_uri ? base->version + 1 : 1;
    AUTO(mem_free) char *uri = version_uri(name, version);
    if (!store_put_new(catalog->store, uri, metadata, metadata_bytes, err)) {
        if (err && err->kind == ERROR_CONFLICT)
            error_set(err, ERROR_CONFLICT, "CommitConflict",
                      "%s.%s: version %" PRId64 " was committed by another writer", name->database,
                      name->table, version);
        return false;
    }
    CRASH_POINT("metadata-linked");
    /* The commit has taken effect; a hint that could not be written is repaired by the next load.
     */
    Error ignored = {0};
    (void)!hint_write(catalog, name, version, &ignored);
    *ret_uri = TAKE(uri);
    *ret_version = version;
    return true;
}

static bool directory_drop(Catalog *catalog, const TableName *name, bool purge, Error *err)
{
    AUTO(mem_free)
    char *folder = purge ? mem_strdup(name->location) : mem_format("%s/metadata", name->location);
    return store_delete_all(catalog->store, folder, err);
}

static void directory_close(Catalog *catalog)
{
    free(catalog);
}

static const CatalogDriver driver = {
    .close = directory_close,
    .load = directory_load,
    .commit = directory_commit,
    .drop = directory_drop,
};

Catalog *catalog_directory_open(Store *store, Error *err)
{
    (void)err;
    Catalog *catalog = mem_zalloc(sizeof *catalog);
    *catalog = (Catalog){.driver = &driver, .store = store};
    return catalog;
}
