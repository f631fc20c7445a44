/* Iceberg's REST catalog: the server writes metadata, from the updates it is sent, if what a commit
 * requires still holds. That is its compare and swap; what it answers is the table.
 * https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml */
#include "agent/catalog/rest/rest.h"

#include <string.h>

#include "common/json/text.h"
#include "common/mem.h"

#define ANSWER_BYTES_MAX (METADATA_BYTES_MAX + ((size_t)4 << 20))
#define SMALL_BYTES_MAX ((size_t)4 << 20)

static Span span_of(const HttpAnswer *answer)
{
    return (Span){(const char *)answer->body.data, answer->body.used};
}

/* Secrets may stand in it. */
static void answer_wipe(HttpAnswer *answer)
{
    if (answer->body.used)
        explicit_bzero(answer->body.data, answer->body.used);
    http_answer_done(answer);
}

/* A refusal in the protocol's own form: the table or its namespace is not there. Anything else that
 * answers 404 is no catalog. */
static bool says_missing(const HttpAnswer *answer)
{
    const char *type, *message;
    json_t *error = rest_error(answer, &type, &message);
    json_decref(error);
    return answer->status == 404 && error;
}

/* ---------- load ---------- */
/* The metadata of a table's answer, which is noted. */
static bool read_table(RestCatalog *catalog, const TableName *name, const HttpAnswer *answer,
                       CatalogEntry *ret, Error *err)
{
    Span metadata = member_span(span_of(answer), "metadata");
    ret->metadata_uri = member_text(span_of(answer), "metadata-location");
    if (!metadata.at || metadata.at[0] != '{' || !ret->metadata_uri || !*ret->metadata_uri)
        return error_set(err, ERROR_RETRY, "AnswerBad",
                         "catalog %s gave an answer without metadata or metadata-location",
                         catalog->uri);
    bytes_put(&ret->metadata, metadata.at, metadata.bytes);
    rest_note(catalog, name, span_of(answer));
    return true;
}

static void remember(RestCatalog *catalog, const TableName *name, const HttpAnswer *answer,
                     const CatalogEntry *entry)
{
    char *etag = http_answer_header(answer, "ETag");
    pthread_mutex_lock(&catalog->lock);
    RestTable *table = rest_table(catalog, name);
    free(table->etag);
    free(table->metadata_uri);
    table->etag = table->metadata_uri = NULL;
    bytes_done(&table->metadata);
    if (etag && strlen(etag) < 1024 && entry->metadata.used <= REMEMBERED_BYTES_MAX) {
        table->etag = TAKE(etag);
        table->metadata_uri = mem_strdup(entry->metadata_uri);
        bytes_put(&table->metadata, entry->metadata.data, entry->metadata.used);
    }
    pthread_mutex_unlock(&catalog->lock);
    free(etag);
}

static bool recall(RestCatalog *catalog, const TableName *name, CatalogEntry *ret, Error *err)
{
    pthread_mutex_lock(&catalog->lock);
    const RestTable *table = rest_table(catalog, name);
    bool there = table->metadata_uri != NULL;
    if (there) {
        ret->metadata_uri = mem_strdup(table->metadata_uri);
        bytes_put(&ret->metadata, table->metadata.data, table->metadata.used);
    }
    pthread_mutex_unlock(&catalog->lock);
    return there || error_set(err, ERROR_RETRY, "AnswerBad",
                              "catalog %s says that nothing changed, of what it was not asked",
                              catalog->uri);
}

bool rest_load(Catalog *at, const TableName *name, CatalogEntry *ret, Error *err)
{
    RestCatalog *catalog = (RestCatalog *)at;
    AUTO(mem_free)
    char *url = rest_url(catalog, name->database, 0, true, name->table, "?snapshots=all");
    AUTO(mem_free) char *etag = NULL;
    pthread_mutex_lock(&catalog->lock);
    const RestTable *table = rest_table(catalog, name);
    /* with vended keys every load is to bring fresh ones */
    if (table->etag && !catalog->vended)
        etag = mem_strdup(table->etag);
    pthread_mutex_unlock(&catalog->lock);
    RestCall call = {.method = "GET",
                     .url = url,
                     .etag = etag,
                     .delegate = catalog->vended,
                     .what = "load the table",
                     .answer_bytes_max = ANSWER_BYTES_MAX};
    HttpAnswer answer;
    if (!rest_call(catalog, &call, &answer, err))
        return false;
    bool ok;
    if (answer.status == 200) {
        ok = read_table(catalog, name, &answer, ret, err);
        if (ok)
            remember(catalog, name, &answer, ret);
    } else if (answer.status == 304) {
        ok = recall(catalog, name, ret, err);
    } else if (says_missing(&answer)) {
        ok = true;
    } else {
        ok = rest_refused(catalog, &answer, call.what, ERROR_CONFIG, "CatalogRefused",
                          "check spec.catalog.uri and warehouse, spec.database and tableName", err);
    }
    answer_wipe(&answer);
    return ok;
}

/* ---------- namespaces ---------- */
static bool make_namespace(RestCatalog *catalog, const char *database, int levels, Error *err)
{
    AUTO(mem_free) char *url = rest_url(catalog, NULL, 0, false, NULL, "");
    json_t *json =
        json_pack("{s:o,s:{}}", "namespace", rest_namespace(database, levels), "properties");
    char *body = json_text(json, JSON_COMPACT);
    RestCall call = {.method = "POST",
                     .url = url,
                     .body = body,
                     .what = "make the namespace",
                     .answer_bytes_max = SMALL_BYTES_MAX};
    HttpAnswer answer = {0};
    bool ok = rest_call(catalog, &call, &answer, err);
    /* 409: it is there; made by somebody, or by a request whose answer was lost */
    if (ok && answer.status != 200 && answer.status != 201 && answer.status != 204 &&
        answer.status != 409)
        ok = rest_refused(catalog, &answer, call.what, ERROR_CONFIG, "NamespaceRefused",
                          "make the namespace by hand, or set another spec.database", err);
    http_answer_done(&answer);
    free(body);
    json_decref(json);
    return ok;
}

static bool need_namespace(RestCatalog *catalog, const char *database, Error *err)
{
    AUTO(mem_free) char *url = rest_url(catalog, database, 0, false, NULL, "");
    RestCall call = {.method = "GET",
                     .url = url,
                     .what = "look for the namespace",
                     .answer_bytes_max = SMALL_BYTES_MAX};
    HttpAnswer answer = {0};
    if (!rest_call(catalog, &call, &answer, err))
        return false;
    bool there = answer.status == 200 || answer.status == 204, missing = says_missing(&answer);
    bool ok = there || missing ||
              rest_refused(catalog, &answer, call.what, ERROR_CONFIG, "NamespaceRefused",
                           "check spec.database", err);
    http_answer_done(&answer);
    int levels = rest_levels(database);
    for (int level = 1; ok && !there && level <= levels; level++)
        ok = make_namespace(catalog, database, level, err);
    return ok;
}

/* ---------- stage ---------- */
/* The first of the metadata's list: a table that is to be made has one of each. */
static void put_first(json_t *to, const char *key, const json_t *metadata, const char *list)
{
    json_t *first = json_array_get(json_object_get(metadata, list), 0);
    if (first)
        json_object_set(to, key, first);
}

static char *stage_body(const TableName *name, const json_t *metadata)
{
    json_t *body = json_pack("{s:s,s:b}", "name", name->table, "stage-create", 1);
    json_t *properties = json_copy(json_object_get(metadata, "properties"));
    AUTO(mem_free)
    char *version =
        mem_format("%d", (int)json_integer_value(json_object_get(metadata, "format-version")));
    put_first(body, "schema", metadata, "schemas");
    put_first(body, "partition-spec", metadata, "partition-specs");
    put_first(body, "write-order", metadata, "sort-orders");
    if (name->location)
        json_object_set_new(body, "location", json_string(name->location));
    json_object_set_new(properties, "format-version", json_string(version));
    json_object_set_new(body, "properties", properties);
    char *text = json_text(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

static bool stage(Catalog *at, const TableName *name, const json_t *metadata, char **ret_location,
                  Error *err)
{
    RestCatalog *catalog = (RestCatalog *)at;
    if (!need_namespace(catalog, name->database, err))
        return false;
    AUTO(mem_free) char *url = rest_url(catalog, name->database, 0, true, NULL, "");
    AUTO(mem_free) char *body = stage_body(name, metadata);
    RestCall call = {.method = "POST",
                     .url = url,
                     .body = body,
                     .delegate = catalog->vended,
                     .what = "stage the table",
                     .answer_bytes_max = ANSWER_BYTES_MAX};
    HttpAnswer answer;
    if (!rest_call(catalog, &call, &answer, err))
        return false;
    bool ok = false;
    if (answer.status == 200) {
        *ret_location = member_text(member_span(span_of(&answer), "metadata"), "location");
        ok = *ret_location ||
             error_set(err, ERROR_RETRY, "AnswerBad",
                       "catalog %s stages a table without a location", catalog->uri);
        if (ok)
            rest_note(catalog, name, span_of(&answer));
    } else if (answer.status == 409) {
        rest_refused(catalog, &answer, call.what, ERROR_CONFLICT, "TableExists", NULL, err);
    } else {
        rest_refused(catalog, &answer, call.what, ERROR_CONFIG, "TableRefused",
                     "check the LakeTable's spec", err);
    }
    answer_wipe(&answer);
    return ok;
}

/* ---------- commit ---------- */
static char *commit_body(const TableName *name, const CatalogChange *change)
{
    json_t *body = json_pack("{s:{s:o,s:s},s:O,s:O}", "identifier", "namespace",
                             rest_namespace(name->database, 0), "name", name->table, "requirements",
                             change->requirements, "updates", change->updates);
    ASSERT(body);
    char *text = json_text(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

static bool commit(Catalog *at, const TableName *name, const CatalogChange *change,
                   CatalogEntry *ret, Error *err)
{
    RestCatalog *catalog = (RestCatalog *)at;
    AUTO(mem_free) char *url = rest_url(catalog, name->database, 0, true, name->table, "");
    AUTO(mem_free) char *body = commit_body(name, change);
    RestCall call = {.method = "POST",
                     .url = url,
                     .body = body,
                     .key = catalog->idempotent ? change->id : NULL,
                     .once = true,
                     .what = "commit",
                     .answer_bytes_max = ANSWER_BYTES_MAX};
    HttpAnswer answer;
    if (!rest_call(catalog, &call, &answer, err))
        return false;
    bool ok = false;
    if (answer.status == 200)
        ok = read_table(catalog, name, &answer, ret, err);
    else if (answer.status == 409 || (change->base && answer.status == 404))
        rest_refused(catalog, &answer, call.what, ERROR_CONFLICT, "CommitConflict", NULL, err);
    else
        rest_refused(catalog, &answer, call.what, ERROR_CONFIG, "CommitRefused", NULL, err);
    http_answer_done(&answer);
    return ok;
}

/* ---------- drop ---------- */
static bool forget(RestCatalog *catalog, const TableName *name, bool purge, bool *ret_refused,
                   Error *err)
{
    AUTO(mem_free)
    char *url = rest_url(catalog, name->database, 0, true, name->table,
                         purge ? "?purgeRequested=true" : "?purgeRequested=false");
    RestCall call = {.method = "DELETE",
                     .url = url,
                     .what = "drop the table",
                     .answer_bytes_max = SMALL_BYTES_MAX};
    HttpAnswer answer;
    if (!rest_call(catalog, &call, &answer, err))
        return false;
    bool ok = answer.status == 204 || answer.status == 200 || answer.status == 202 ||
              says_missing(&answer);
    *ret_refused = !ok;
    if (!ok)
        rest_refused(catalog, &answer, call.what, ERROR_CONFIG, "DropRefused",
                     "drop it by hand, with its files", err);
    http_answer_done(&answer);
    return ok;
}

/* Servers purge what the metadata names, some of them later, some not at all: what is left in the
 * table's folder goes, too. */
static bool drop(Catalog *at, const TableName *name, bool purge, Error *err)
{
    RestCatalog *catalog = (RestCatalog *)at;
    CatalogEntry entry = {0};
    Store *store = NULL;
    AUTO(mem_free) char *root = NULL;
    if (purge && !rest_load(at, name, &entry, err)) {
        catalog_entry_done(&entry);
        return false;
    }
    bool there = entry.metadata_uri != NULL;
    if (purge && there) {
        Span metadata = {(const char *)entry.metadata.data, entry.metadata.used};
        AUTO(mem_free) char *location = member_text(metadata, "location");
        AUTO(mem_free) char *uri = location ? store_uri(location, err) : NULL;
        root = uri ? mem_format("%s/", uri) : NULL;
        if (uri && !rest_store(at, name, &entry, &store, err))
            store = NULL;
    }
    catalog_entry_done(&entry);
    if (purge && there && !store)
        return false;
    bool refused = false;
    Error why = {0};
    if (!forget(catalog, name, purge, &refused, &why)) {
        refused |= strcmp(why.code, "Unsupported") == 0;
        if (!purge || !refused || !forget(catalog, name, false, &refused, &why)) {
            if (err)
                *err = why;
            return false;
        }
    }
    return !store || store_delete_all(store, root, err);
}

/* ---------- opening ---------- */
static void close_catalog(Catalog *at)
{
    RestCatalog *catalog = (RestCatalog *)at;
    rest_tables_done(catalog);
    rest_forget_token(catalog);
    rest_wipe(catalog->client_secret);
    aws_credentials_free(catalog->own_signing);
    http_client_free(catalog->http);
    char *const texts[] = {catalog->uri,         catalog->warehouse,       catalog->ca_pem,
                           catalog->client_id,   catalog->oauth2_uri,      catalog->scope,
                           catalog->s3_region,   catalog->s3_ca_pem,       catalog->signing_region,
                           catalog->s3_endpoint, catalog->signing_service, catalog->prefix,
                           catalog->separator};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
    json_decref(catalog->defaults);
    json_decref(catalog->overrides);
    pthread_mutex_destroy(&catalog->token_lock);
    pthread_mutex_destroy(&catalog->lock);
    free(catalog);
}

static const CatalogDriver rest_driver = {
    .close = close_catalog,
    .load = rest_load,
    .store = rest_store,
    .stage = stage,
    .commit = commit,
    .drop = drop,
};

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static RestCatalog *copy_options(const RestOptions *options)
{
    RestCatalog *catalog = mem_zalloc(sizeof *catalog);
    *catalog = (RestCatalog){.catalog.driver = &rest_driver,
                             .uri = copy(options->uri),
                             .warehouse = copy(options->warehouse),
                             .ca_pem = copy(options->ca_pem),
                             .auth = options->auth,
                             .client_id = copy(options->client_id),
                             .client_secret = copy(options->client_secret),
                             .oauth2_uri = copy(options->oauth2_uri),
                             .scope = copy(options->scope ? options->scope : "catalog"),
                             .signing = options->signing_credentials,
                             .signing_region = copy(options->signing_region),
                             .signing_service = copy(options->signing_service),
                             .vended = options->vended,
                             .store = options->store,
                             .prefix = copy(""),
                             .separator = copy("%1F")};
    if (options->auth == REST_AUTH_BEARER)
        catalog->token = copy(options->token);
    for (size_t bytes = strlen(catalog->uri); bytes && catalog->uri[bytes - 1] == '/';)
        catalog->uri[--bytes] = 0;
    if (!catalog->oauth2_uri)
        catalog->oauth2_uri = mem_format("%s/v1/oauth/tokens", catalog->uri);
    if (options->s3) {
        catalog->s3_endpoint = copy(options->s3->endpoint);
        catalog->s3_region = copy(options->s3->region);
        catalog->s3_path_style = options->s3->path_style;
        catalog->s3_ca_pem = copy(options->s3->ca_pem);
        catalog->s3_credentials = options->s3->credentials;
    }
    pthread_mutex_init(&catalog->token_lock, NULL);
    pthread_mutex_init(&catalog->lock, NULL);
    return catalog;
}

Catalog *catalog_rest_open(const RestOptions *options, Error *err)
{
    RestCatalog *catalog = copy_options(options);
    HttpClientOptions http = {.ca_pem = catalog->ca_pem};
    catalog->http = http_client_new(&http, err);
    if (catalog->http && rest_configure(catalog, err))
        return &catalog->catalog;
    close_catalog(&catalog->catalog);
    return NULL;
}
