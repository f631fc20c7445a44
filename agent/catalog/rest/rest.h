/* The REST catalog from inside; for the files of this folder alone.
 * https://github.com/apache/iceberg/blob/main/open-api/rest-catalog-open-api.yaml
 *
 *   config.c   what the server says of itself, and opening
 *   call.c     one request: what may be asked again, and when
 *   auth.c     tokens and signatures; errors.c: what a refusal means
 *   path.c     namespaces and tables in URLs; members.c: parts of an answer that is not parsed
 *   rest.c     the driver: load, stage, commit, drop
 *   tables.c   what the server said of each table; its store and vended keys */
#pragma once

#include <pthread.h>

#include "agent/catalog/driver.h"
#include "common/http/http_client.h"

#define METADATA_BYTES_MAX ((size_t)512 << 20)
#define REMEMBERED_BYTES_MAX ((size_t)256 << 10)

/* What the server said of a table, the last time it was asked; under the catalog's lock. They live
 * as long as the catalog: stores and keys refer to them. */
typedef struct RestTable {
    struct RestTable *next;
    struct RestCatalog *catalog;
    char *database, *table;
    char *location;       /* NULL: not known */
    json_t *config;       /* NULL or object */
    json_t *vended;       /* storage-credentials; NULL or array */
    bool keys_fresh;      /* not handed out yet */
    AwsCredentials *keys; /* vended; NULL: none so far */
    /* of the last load, if it is small: for If-None-Match */
    char *etag, *metadata_uri;
    Bytes metadata;
} RestTable;

/* A store for tables whose options say the same. */
typedef struct RestStore {
    struct RestStore *next;
    char *options; /* all of them, as one text */
    Store *store;
} RestStore;

typedef struct RestCatalog {
    Catalog catalog;
    HttpClient *http;
    char *uri, *warehouse, *ca_pem;
    RestAuth auth;
    char *token; /* bearer's; OAuth2's as last given, NULL: none */
    char *client_id, *client_secret, *oauth2_uri, *scope;
    int64_t token_renew_us; /* monotonic; 0: never */
    pthread_mutex_t token_lock;
    AwsCredentials *signing, *own_signing;
    char *signing_region, *signing_service;
    bool vended;
    char *s3_endpoint, *s3_region, *s3_ca_pem;
    bool s3_path_style;
    AwsCredentials *s3_credentials;
    Store *store;
    json_t *defaults, *overrides;
    char *prefix;    /* escaped, with a slash at the end; or empty */
    char *separator; /* of a namespace's levels, escaped */
    bool renews;     /* has the endpoint for credentials */
    bool idempotent; /* takes Idempotency-Key */
    pthread_mutex_t lock;
    RestTable *tables;
    RestStore *stores;
} RestCatalog;

/* ---------- call.c ---------- */
typedef struct RestCall {
    const char *method;
    const char *url;
    const char *body; /* JSON; NULL: none */
    const char *key;  /* Idempotency-Key; NULL: none */
    const char *etag; /* If-None-Match; NULL: none */
    bool delegate;    /* ask for the credentials of files */
    bool once;        /* what may have been carried out is not sent again: RETRY says so */
    const char *what; /* for messages: "load the table" */
    size_t answer_bytes_max;
} RestCall;

/* True: an answer, whatever its status, but for those that are dealt with here: 401, 403, 419
 * (CONFIG), 429 and 5xx (asked again for a while, then RETRY: "NotSent" if surely nothing happened,
 * "CommitStateUnknown" if it may have). */
MUST_CHECK bool rest_call(RestCatalog *catalog, const RestCall *call, HttpAnswer *ret, Error *err);

/* ---------- auth.c ---------- */
#define REST_HEADERS_MAX 12
typedef struct RestHeaders {
    HttpHeader items[REST_HEADERS_MAX];
    char *owned[REST_HEADERS_MAX]; /* names and values, wiped */
    char *owned_names[REST_HEADERS_MAX];
    size_t count;
} RestHeaders;
void rest_headers_put(RestHeaders *headers, const char *name, const char *value);
void rest_headers_done(RestHeaders *headers);
/* Adds what proves who we are; request->headers must be the headers' items. */
MUST_CHECK bool rest_authorize(RestCatalog *catalog, HttpRequest *request, RestHeaders *headers,
                               Error *err);
/* The server refused: is there something new to try? */
bool rest_reauthorize(RestCatalog *catalog);
void rest_forget_token(RestCatalog *catalog); /* wipes */
void rest_wipe(char *text);                   /* and frees; NULL is fine */

/* ---------- errors.c ---------- */
/* The error object of an answer; both may be empty. NULL: it has none. Caller frees with
 * json_decref. */
json_t *rest_error(const HttpAnswer *answer, const char **ret_type, const char **ret_message);
/* A refusal, by whatever status (some say 500), of what the server can't do: surely nothing
 * happened.
 */
bool rest_unsupported(const HttpAnswer *answer);
/* False: "<what>: the server refuses (<status> <type>: <message>); <way out>". */
bool rest_refused(const RestCatalog *catalog, const HttpAnswer *answer, const char *what,
                  ErrorKind kind, const char *code, const char *way_out, Error *err);

/* ---------- path.c ---------- */
/* <uri>/v1/<prefix>namespaces[/<namespace>[/tables[/<table>]]]<tail>; NULL: not that far. Caller
 * frees. levels 0: all of the database's. */
char *rest_url(const RestCatalog *catalog, const char *database, int levels, bool tables,
               const char *table, const char *tail) OWNED_BY(free);
json_t *rest_namespace(const char *database, int levels); /* ["a", "b"] */
int rest_levels(const char *database);

/* ---------- members.c ---------- */
typedef struct Span {
    const char *at; /* NULL: not there */
    size_t bytes;
} Span;
/* The value of a member of the object that the text is, unparsed. What is no JSON gives nothing or
 * something that does not parse either. */
Span member_span(Span object, const char *key);
char *member_text(Span object, const char *key) OWNED_BY(free); /* a string's; NULL: is none */
json_t *member_json(Span object, const char *key);              /* NULL: is none */

/* ---------- config.c ---------- */
/* Of the server's overrides, else ours, else the server's defaults; NULL. */
const char *rest_setting(const RestCatalog *catalog, const char *key, const char *ours);
MUST_CHECK bool rest_configure(RestCatalog *catalog, Error *err);

/* ---------- tables.c ---------- */
/* The one of that name, made if need be; under the lock. */
RestTable *rest_table(RestCatalog *catalog, const TableName *name);
/* Keeps what an answer about the table says. */
void rest_note(RestCatalog *catalog, const TableName *name, Span answer);
MUST_CHECK bool rest_store(Catalog *at, const TableName *name, const CatalogEntry *entry,
                           Store **ret, Error *err);
void rest_tables_done(RestCatalog *catalog);
/* rest.c; asks the server, whatever is remembered. */
MUST_CHECK bool rest_load(Catalog *at, const TableName *name, CatalogEntry *ret, Error *err);
