/* Tables in plain folders: <location>/metadata/vN.metadata.json, where the highest N is the table.
 *
 * A commit creates v(N+1) exclusively: that is the compare and swap, and the only truth.
 * version-hint.text holds a version for readers that don't look further; it is written after and
 * may lag (a crash in between), so that loading starts at the hint and goes forward while there is
 * a next file. A missing, unreadable or wrong hint costs a listing, and is repaired.
 *
 * Old versions are deleted by the tables' retention. A writer that slept through a hundred commits
 * would then find the name after its base free again; hence a commit looks, before and after the
 * link, whether its base is still there and whether the hint has passed it.
 *
 * https://iceberg.apache.org/spec/#file-system-tables */
#include "agent/catalog/driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/crash.h"
#include "common/mem.h"

#define METADATA_BYTES_MAX ((size_t)512 << 20)
#define VERSION_DIGITS_MAX 15

typedef struct DirectoryCatalog {
    Catalog catalog;
    Store *store;
} DirectoryCatalog;

static Store *store_of(Catalog *catalog)
{
    return ((DirectoryCatalog *)catalog)->store;
}

static char *version_uri(const TableName *name, int64_t version)
{
    return mem_format("%s/metadata/v%" PRId64 ".metadata.json", name->location, version);
}

static char *hint_uri(const TableName *name)
{
    return mem_format("%s/metadata/version-hint.text", name->location);
}

static bool pass_on(Error *err, const Error *why)
{
    if (err)
        *err = *why;
    return false;
}

/* Digits up to the end, or up to `tail`; 0 for anything else. */
static int64_t parse_version(const char *text, size_t bytes)
{
    int64_t version = 0;
    if (bytes == 0 || bytes > VERSION_DIGITS_MAX)
        return 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9')
            return 0;
        version = version * 10 + (text[i] - '0');
    }
    return version;
}

/* What the hint says; 0: nothing of use. */
static bool read_hint(Catalog *catalog, const TableName *name, int64_t *ret, Error *err)
{
    AUTO(mem_free) char *uri = hint_uri(name);
    Bytes text = {0};
    Error why = {0};
    *ret = 0;
    if (store_get(store_of(catalog), uri, 64, &text, &why)) {
        while (text.used && strchr(" \r\n", (char)text.data[text.used - 1]))
            text.used--;
        *ret = parse_version((const char *)text.data, text.used);
    } else if (why.kind != ERROR_DATA && strcmp(why.code, "ChecksumWrong") != 0) {
        /* the latter: read while somebody wrote it, of a store that replaces in place */
        bytes_done(&text);
        return pass_on(err, &why);
    }
    bytes_done(&text);
    return true;
}

/* The hint is a convenience: a failure to write it changes nothing. */
static void write_hint(Catalog *catalog, const TableName *name, int64_t version)
{
    AUTO(mem_free) char *uri = hint_uri(name);
    char text[32];
    int bytes = snprintf(text, sizeof text, "%" PRId64, version);
    Error ignored;
    if (!store_put(store_of(catalog), uri, text, (size_t)bytes, &ignored))
        return;
}

static bool version_exists(Catalog *catalog, const TableName *name, int64_t version, bool *ret,
                           Error *err)
{
    AUTO(mem_free) char *uri = version_uri(name, version);
    return store_exists(store_of(catalog), uri, ret, err);
}

typedef struct Versions {
    int64_t *at;
    size_t count, held;
} Versions;

static bool collect_version(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)bytes;
    (void)modified_us;
    Versions *versions = context;
    const char *file = strrchr(uri, '/') + 1, *tail = strstr(file, ".metadata.json");
    if (file[0] != 'v' || !tail || tail[strlen(".metadata.json")])
        return true;
    int64_t version = parse_version(file + 1, (size_t)(tail - file - 1));
    if (version <= 0)
        return true;
    if (versions->count == versions->held) {
        versions->held = versions->held ? versions->held * 2 : 128;
        versions->at = mem_regrow(versions->at, versions->held, sizeof *versions->at);
    }
    versions->at[versions->count++] = version;
    return true;
}

static int compare_versions(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Ascending; the caller frees ret->at. */
static bool list_versions(Catalog *catalog, const TableName *name, Versions *ret, Error *err)
{
    AUTO(mem_free) char *folder = mem_format("%s/metadata/", name->location);
    *ret = (Versions){0};
    if (!store_list(store_of(catalog), folder, collect_version, ret, err)) {
        free(ret->at);
        return false;
    }
    if (ret->count)
        qsort(ret->at, ret->count, sizeof *ret->at, compare_versions);
    return true;
}

/* *ret 0: there is no such table. */
static bool newest_version(Catalog *catalog, const TableName *name, int64_t *ret, Error *err)
{
    int64_t hint, version;
    bool there = false;
    if (!read_hint(catalog, name, &hint, err))
        return false;
    version = hint;
    if (hint && !version_exists(catalog, name, hint, &there, err))
        return false;
    if (!there) {
        Versions versions;
        if (!list_versions(catalog, name, &versions, err))
            return false;
        version = versions.count ? versions.at[versions.count - 1] : 0;
        free(versions.at);
    }
    while (there) {
        if (!version_exists(catalog, name, version + 1, &there, err))
            return false;
        version += there;
    }
    if (version && version != hint)
        write_hint(catalog, name, version);
    *ret = version;
    return true;
}

static bool load(Catalog *catalog, const TableName *name, CatalogEntry *ret, Error *err)
{
    for (int attempt = 0;; attempt++) {
        int64_t version;
        if (!newest_version(catalog, name, &version, err))
            return false;
        if (!version)
            return true;
        ret->version = version;
        ret->metadata_uri = version_uri(name, version);
        Error why = {0};
        if (store_get(store_of(catalog), ret->metadata_uri, METADATA_BYTES_MAX, &ret->metadata,
                      &why))
            return true;
        catalog_entry_done(ret);
        /* It may have been retired between the look and the read. */
        if (strcmp(why.code, "ObjectMissing") != 0 || attempt == 3)
            return pass_on(err, &why);
    }
}

/* Whether a commit on top of `base` (0: none) may stand; see the head of the file. linked: ours is
 * there already, and may have a successor. */
static bool may_stand(Catalog *catalog, const TableName *name, int64_t base, bool linked, bool *ret,
                      Error *err)
{
    int64_t hint;
    *ret = false;
    if (!read_hint(catalog, name, &hint, err))
        return false;
    if (hint > base + 1) {
        bool followed = false;
        if (linked && !version_exists(catalog, name, base + 2, &followed, err))
            return false;
        if (!followed)
            return true;
    }
    if (base)
        return version_exists(catalog, name, base, ret, err);
    Versions versions;
    if (!list_versions(catalog, name, &versions, err))
        return false;
    *ret = linked ? versions.count && versions.at[versions.count - 1] == (int64_t)versions.count
                  : versions.count == 0;
    free(versions.at);
    return true;
}

static bool store_for(Catalog *catalog, const TableName *name, const CatalogEntry *entry,
                      Store **ret, Error *err)
{
    (void)name;
    (void)entry;
    (void)err;
    *ret = store_of(catalog);
    return true;
}

static bool stage(Catalog *catalog, const TableName *name, const json_t *metadata,
                  char **ret_location, Error *err)
{
    (void)catalog;
    (void)metadata;
    (void)err;
    *ret_location = mem_strdup(name->location);
    return true;
}

static bool commit(Catalog *catalog, const TableName *name, const CatalogChange *change,
                   CatalogEntry *ret, Error *err)
{
    const CatalogEntry *base = change->base;
    int64_t from = base && base->metadata_uri ? base->version : 0;
    bool stands;
    if (!may_stand(catalog, name, from, false, &stands, err))
        return false;
    if (!stands)
        return error_set(err, ERROR_CONFLICT, "CommitConflict",
                         "%s has moved on from version %" PRId64 ", or is gone", name->location,
                         from);
    AUTO(mem_free) char *uri = version_uri(name, from + 1);
    Error why = {0};
    if (!store_put_new(store_of(catalog), uri, change->metadata, change->metadata_bytes, &why)) {
        if (why.kind == ERROR_CONFLICT)
            return error_set(err, ERROR_CONFLICT, "CommitConflict",
                             "%s exists: somebody else committed first", uri);
        return pass_on(err, &why);
    }
    CRASH_POINT("metadata-linked");
    if (!may_stand(catalog, name, from, true, &stands, err))
        return false;
    if (!stands)
        return error_set(err, ERROR_RETRY, "CommitUnknown",
                         "%s was written, but the table has gone on meanwhile", uri);
    write_hint(catalog, name, from + 1);
    ret->metadata_uri = TAKE(uri);
    ret->version = from + 1;
    return true;
}

/* The newest version goes last, so that a crash leaves the table as it was or none at all. */
static bool drop(Catalog *catalog, const TableName *name, bool purge, Error *err)
{
    Versions versions;
    if (!list_versions(catalog, name, &versions, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < versions.count; i++) {
        AUTO(mem_free) char *uri = version_uri(name, versions.at[i]);
        ok = store_delete(store_of(catalog), uri, err);
    }
    free(versions.at);
    AUTO(mem_free) char *hint = hint_uri(name);
    if (!ok || !store_delete(store_of(catalog), hint, err))
        return false;
    AUTO(mem_free) char *root = mem_format("%s/", name->location);
    return !purge || store_delete_all(store_of(catalog), root, err);
}

static void close_catalog(Catalog *catalog)
{
    free(catalog);
}

static const CatalogDriver directory_driver = {
    .keeps_metadata = true,
    .close = close_catalog,
    .load = load,
    .store = store_for,
    .stage = stage,
    .commit = commit,
    .drop = drop,
};

Catalog *catalog_directory_open(Store *store, Error *err)
{
    (void)err; /* nothing to reach; other catalogs connect here */
    DirectoryCatalog *catalog = mem_zalloc(sizeof *catalog);
    *catalog = (DirectoryCatalog){{&directory_driver}, store};
    return &catalog->catalog;
}
