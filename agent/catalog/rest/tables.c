/* What the server says of each table beside its metadata: where it is, how its store is reached,
 * and keys for its files, which are renewed in time, by the endpoint for it or by loading the table
 * again. */
#include <stdlib.h>
#include <string.h>

#include "agent/catalog/rest/rest.h"
#include "common/aws/aws.h"
#include "common/clock.h"
#include "common/mem.h"

#define KEYS_GOOD_US INT64_C(120000000) /* else they are renewed before they are handed out */
#define CREDENTIALS_BYTES_MAX ((size_t)4 << 20)

RestTable *rest_table(RestCatalog *catalog, const TableName *name)
{
    for (RestTable *table = catalog->tables; table; table = table->next)
        if (strcmp(table->database, name->database) == 0 && strcmp(table->table, name->table) == 0)
            return table;
    RestTable *table = mem_zalloc(sizeof *table);
    table->catalog = catalog;
    table->database = mem_strdup(name->database);
    table->table = mem_strdup(name->table);
    table->next = catalog->tables;
    catalog->tables = table;
    return table;
}

void rest_note(RestCatalog *catalog, const TableName *name, Span answer)
{
    json_t *config = member_json(answer, "config");
    json_t *vended = member_json(answer, "storage-credentials");
    char *location = member_text(member_span(answer, "metadata"), "location");
    pthread_mutex_lock(&catalog->lock);
    RestTable *table = rest_table(catalog, name);
    if (location) {
        free(table->location);
        table->location = location;
    }
    /* the answer to a commit has neither */
    if (json_is_object(config) || json_is_array(vended)) {
        json_decref(table->config);
        json_decref(table->vended);
        table->config = json_incref(config);
        table->vended = json_incref(vended);
        table->keys_fresh = true;
    }
    pthread_mutex_unlock(&catalog->lock);
    json_decref(config);
    json_decref(vended);
}

/* ---------- keys ---------- */
/* The settings for the location: of the storage-credentials with the longest prefix, else the
 * table's. */
static const json_t *settings_for(const RestTable *table)
{
    const json_t *best = NULL, *item;
    size_t i, longest = 0;
    json_array_foreach(table->vended, i, item)
    {
        const char *prefix = json_string_value(json_object_get(item, "prefix"));
        const json_t *config = json_object_get(item, "config");
        size_t bytes = prefix ? strlen(prefix) : 0;
        if (prefix && json_object_get(config, "s3.access-key-id") && (!best || bytes > longest) &&
            table->location && strncmp(table->location, prefix, bytes) == 0) {
            best = config;
            longest = bytes;
        }
    }
    return best ? best : table->config;
}

static const char *text_of(const json_t *settings, const char *key)
{
    return json_string_value(json_object_get(settings, key));
}

static bool has_keys(const RestTable *table)
{
    const json_t *settings = settings_for(table);
    return text_of(settings, "s3.access-key-id") && text_of(settings, "s3.secret-access-key");
}

static void read_keys(const RestTable *table, AwsKeys *ret)
{
    const json_t *settings = settings_for(table);
    const char *token = text_of(settings, "s3.session-token");
    const char *expires = text_of(settings, "s3.session-token-expires-at-ms");
    int64_t ms = expires ? strtoll(expires, NULL, 10) : 0;
    *ret = (AwsKeys){.access_key = mem_strdup(text_of(settings, "s3.access-key-id")),
                     .secret_key = mem_strdup(text_of(settings, "s3.secret-access-key")),
                     .session_token = token ? mem_strdup(token) : NULL,
                     .expires_us = ms > 0 && ms < INT64_MAX / 1000 ? ms * 1000 : 0};
}

/* They may have been told of long before they are asked for. */
static bool ends_soon(const RestTable *table)
{
    AwsKeys keys;
    read_keys(table, &keys);
    bool soon = keys.expires_us && keys.expires_us < clock_wall_us() + KEYS_GOOD_US;
    aws_keys_done(&keys);
    return soon;
}

static bool renew(RestTable *table, Error *err)
{
    RestCatalog *catalog = table->catalog;
    TableName name = {table->database, table->table, NULL};
    if (!catalog->renews) {
        CatalogEntry entry = {0};
        bool ok = rest_load(&catalog->catalog, &name, &entry, err);
        catalog_entry_done(&entry);
        return ok;
    }
    AUTO(mem_free)
    char *url = rest_url(catalog, name.database, 0, true, name.table, "/credentials");
    RestCall call = {.method = "GET",
                     .url = url,
                     .delegate = true,
                     .what = "give credentials of a table",
                     .answer_bytes_max = CREDENTIALS_BYTES_MAX};
    HttpAnswer answer;
    if (!rest_call(catalog, &call, &answer, err))
        return false;
    bool ok = answer.status == 200;
    if (ok)
        rest_note(catalog, &name, (Span){(const char *)answer.body.data, answer.body.used});
    else
        rest_refused(catalog, &answer, call.what, ERROR_RETRY, "NoCredentials", NULL, err);
    if (answer.body.used)
        explicit_bzero(answer.body.data, answer.body.used);
    http_answer_done(&answer);
    return ok;
}

static bool fetch_keys(void *context, AwsKeys *ret, Error *err)
{
    RestTable *table = context;
    RestCatalog *catalog = table->catalog;
    pthread_mutex_lock(&catalog->lock);
    bool fresh = table->keys_fresh && has_keys(table) && !ends_soon(table);
    pthread_mutex_unlock(&catalog->lock);
    if (!fresh && !renew(table, err))
        return false;
    pthread_mutex_lock(&catalog->lock);
    table->keys_fresh = false;
    bool ok = has_keys(table);
    if (ok)
        read_keys(table, ret);
    pthread_mutex_unlock(&catalog->lock);
    return ok || error_set(err, ERROR_RETRY, "NoCredentials",
                           "catalog %s vends no more credentials for %s.%s", catalog->uri,
                           table->database, table->table);
}

/* ---------- stores ---------- */
/* What the server says goes before what we say, but for its defaults. */
static const char *option(const RestTable *table, const char *key, const char *ours)
{
    const char *text = text_of(settings_for(table), key);
    text = text ? text : text_of(table->config, key);
    return text ? text : rest_setting(table->catalog, key, ours);
}

/* Under the lock. NULL: *err is filled. */
static Store *s3_store(RestTable *table, Error *err)
{
    RestCatalog *catalog = table->catalog;
    bool vended = catalog->vended && has_keys(table);
    const char *style =
        option(table, "s3.path-style-access", catalog->s3_path_style ? "true" : NULL);
    S3Options options = {.endpoint = option(table, "s3.endpoint", catalog->s3_endpoint),
                         .region = option(table, "client.region", catalog->s3_region),
                         .path_style = style && strcmp(style, "true") == 0,
                         .ca_pem = catalog->s3_ca_pem,
                         .credentials = catalog->s3_credentials};
    if (vended && !table->keys)
        table->keys = aws_credentials_vended(fetch_keys, table);
    if (vended)
        options.credentials = table->keys;
    AUTO(mem_free)
    char *text = mem_format("%s %s %d %p", options.endpoint ? options.endpoint : "",
                            options.region ? options.region : "", options.path_style,
                            (void *)options.credentials);
    for (RestStore *store = catalog->stores; store; store = store->next)
        if (strcmp(store->options, text) == 0)
            return store->store;
    Store *opened = store_s3_open(&options, err);
    if (!opened)
        return NULL;
    RestStore *store = mem_zalloc(sizeof *store);
    *store = (RestStore){catalog->stores, TAKE(text), opened};
    catalog->stores = store;
    return opened;
}

static bool is_s3(const char *location)
{
    return strncmp(location, "s3://", 5) == 0 || strncmp(location, "s3a://", 6) == 0 ||
           strncmp(location, "s3n://", 6) == 0;
}

bool rest_store(Catalog *at, const TableName *name, const CatalogEntry *entry, Store **ret,
                Error *err)
{
    RestCatalog *catalog = (RestCatalog *)at;
    (void)entry; /* what was said with it is remembered */
    pthread_mutex_lock(&catalog->lock);
    RestTable *table = rest_table(catalog, name);
    *ret = NULL;
    if (!table->location)
        error_set(err, ERROR_RETRY, "NotLoaded", "it was not loaded yet");
    else if (is_s3(table->location))
        *ret = s3_store(table, err);
    else if (catalog->store)
        *ret = catalog->store;
    else
        error_set(err, ERROR_CONFIG, "StoreUnsupported",
                  "the catalog keeps it in %s, and files of this machine are not for it; set "
                  "spec.location to s3://…, or spec.catalog.warehouse to one that is there",
                  table->location);
    pthread_mutex_unlock(&catalog->lock);
    return *ret != NULL;
}

void rest_tables_done(RestCatalog *catalog)
{
    for (RestStore *store = catalog->stores, *next; store; store = next) {
        next = store->next;
        store_close(store->store);
        free(store->options);
        free(store);
    }
    for (RestTable *table = catalog->tables, *next; table; table = next) {
        next = table->next;
        aws_credentials_free(table->keys);
        json_decref(table->config);
        json_decref(table->vended);
        bytes_done(&table->metadata);
        free(table->etag);
        free(table->metadata_uri);
        free(table->location);
        free(table->database);
        free(table->table);
        free(table);
    }
}
