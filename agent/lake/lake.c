#include "agent/lake/lake.h"

#include <string.h>

#include "common/mem.h"

/* Is it a place, or a name that only the catalog knows? */
static bool is_location(const char *text)
{
    return text[0] == '/' || strstr(text, "://");
}

/* The folder of all tables, canonical: the warehouse, else what the table's own folder is in. A
 * warehouse that only the catalog can place says nothing of where the record may stand. */
static char *folder_of(const LakeTableSpec *spec, Error *err)
{
    if (spec->catalog.warehouse && is_location(spec->catalog.warehouse))
        return store_uri(spec->catalog.warehouse, err);
    if (!spec->location) {
        error_set(err, ERROR_CONFIG, "NoRecordPlace",
                  "LakeTable/%s spec.catalog.warehouse: '%s' is a name of the catalog's, and Firn "
                  "has to keep the record of what it confirmed to the source beside the tables; "
                  "write spec.location, the table's own folder (s3://bucket/folder/table)",
                  spec->meta.name, spec->catalog.warehouse ? spec->catalog.warehouse : "");
        return NULL;
    }
    char *uri = store_uri(spec->location, err);
    char *slash = uri ? strrchr(uri, '/') : NULL;
    if (slash)
        *slash = '\0';
    return uri;
}

/* What two specs must agree in to share a Lake. */
static char *key_of(const LakeTableSpec *spec, Error *err)
{
    const CatalogSpec *catalog = &spec->catalog;
    const StorageSpec *storage = &spec->storage;
    AUTO(mem_free) char *folder = folder_of(spec, err);
    if (!folder)
        return NULL;
    const char *parts[] = {catalog->uri,      catalog->warehouse,      catalog->credentials.name,
                           catalog->ca.name,  catalog->oauth2_uri,     catalog->scope,
                           catalog->ca.key,   catalog->signing_region, catalog->signing_service,
                           storage->endpoint, storage->region,         storage->credentials.name,
                           storage->ca.name,  storage->ca.key,         spec->meta.namespace_name};
    bool by_folder = catalog->type == CATALOG_DIRECTORY;
    char *key = mem_format("%d %d %d %d %s", catalog->type, catalog->auth,
                           catalog->vended_credentials, storage->path_style, folder);
    for (size_t i = by_folder ? 9 : 0; i < ARRAY_LEN(parts); i++) {
        char *longer = mem_format("%s\n%s", key, parts[i] ? parts[i] : "");
        free(key);
        key = longer;
    }
    return key;
}

static AwsCredentials *keys_of(char *access_key, char *secret_key, char *session_token)
{
    AwsKeys keys = {
        .access_key = access_key, .secret_key = secret_key, .session_token = session_token};
    return access_key ? aws_credentials_static(&keys) : NULL;
}

static RestAuth rest_auth(CatalogAuth auth)
{
    static const RestAuth kinds[] = {[AUTH_NONE] = REST_AUTH_NONE,
                                     [AUTH_BEARER] = REST_AUTH_BEARER,
                                     [AUTH_OAUTH2] = REST_AUTH_OAUTH2,
                                     [AUTH_SIGV4] = REST_AUTH_SIGV4};
    return kinds[auth];
}

static Catalog *open_rest(Lake *lake, const CatalogSpec *spec, const S3Options *s3, Error *err)
{
    lake->signing_keys = keys_of(spec->access_key, spec->secret_key, spec->session_token);
    RestOptions options = {.uri = spec->uri,
                           .warehouse = spec->warehouse,
                           .ca_pem = spec->ca_pem,
                           .auth = rest_auth(spec->auth),
                           .token = spec->token,
                           .client_id = spec->client_id,
                           .client_secret = spec->client_secret,
                           .oauth2_uri = spec->oauth2_uri,
                           .scope = spec->scope,
                           .signing_credentials = lake->signing_keys,
                           .signing_region =
                               spec->signing_region ? spec->signing_region : s3->region,
                           .signing_service = spec->signing_service,
                           .vended = spec->vended_credentials,
                           .s3 = s3,
                           .store = lake->store};
    return catalog_rest_open(&options, err);
}

void lake_close(Lake *lake)
{
    if (!lake)
        return;
    catalog_close(lake->catalog);
    store_close(lake->store);
    aws_credentials_free(lake->storage_keys);
    aws_credentials_free(lake->signing_keys);
    free(lake->folder);
    free(lake->key);
    free(lake);
}

Lake *lake_open(const LakeTableSpec *spec, Error *err)
{
    const StorageSpec *storage = &spec->storage;
    AUTO(lake_close) Lake *lake = mem_zalloc(sizeof *lake);
    lake->folder = folder_of(spec, err);
    lake->key = lake->folder ? key_of(spec, err) : NULL;
    if (!lake->key)
        return NULL;
    lake->storage_keys = keys_of(storage->access_key, storage->secret_key, storage->session_token);
    S3Options s3 = {.endpoint = storage->endpoint,
                    .region = storage->region,
                    .path_style = storage->path_style,
                    .ca_pem = storage->ca_pem,
                    .credentials = lake->storage_keys};
    lake->store = store_open(lake->folder, &s3, err);
    if (!lake->store)
        return NULL;
    lake->is_directory = spec->catalog.type == CATALOG_DIRECTORY;
    lake->catalog = lake->is_directory ? catalog_directory_open(lake->store, err)
                                       : open_rest(lake, &spec->catalog, &s3, err);
    return lake->catalog ? TAKE(lake) : NULL;
}

bool lake_serves(const Lake *lake, const LakeTableSpec *spec)
{
    AUTO(mem_free) char *key = key_of(spec, NULL);
    return key && strcmp(key, lake->key) == 0;
}

const char *lake_tables(const Lake *lake)
{
    return lake->is_directory ? lake->folder : NULL;
}

bool lake_location(const Lake *lake, const LakeTableSpec *spec, char **ret, Error *err)
{
    if (spec->location)
        *ret = store_uri(spec->location, err);
    else if (lake->is_directory)
        *ret = mem_format("%s/%s/%s", lake->folder, spec->database, spec->table_name);
    else
        *ret = NULL;
    return *ret || !spec->location;
}

char *lake_record_uri(const Lake *lake, const ConnectorSpec *connector)
{
    return mem_format("%s/_firn/%s.%s.json", lake->folder, connector->meta.namespace_name,
                      connector->meta.name);
}
