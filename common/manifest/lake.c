/* spec.catalog and spec.storage: what goes beyond one field, the defaults that hang on other
 * fields, and the Secrets of both. */
#include <stdlib.h>
#include <string.h>

#include "common/manifest/checks.h"
#include "common/manifest/load.h"
#include "common/mem.h"

static bool starts_with(const char *text, const char *start)
{
    return text && strncmp(text, start, strlen(start)) == 0;
}

static char *join(const char *prefix, const char *below)
{
    return mem_format("%s%s", prefix, below);
}

/* --- defaults --- */

static void complete_ca(SecretRef *authority)
{
    if (authority->name && !authority->key)
        authority->key = mem_strdup("ca.crt");
}

void storage_complete(StorageSpec *storage, const YamlNode *node)
{
    if (storage->endpoint && !yaml_get(node, "pathStyle"))
        storage->path_style = true;
    complete_ca(&storage->ca);
}

void lake_complete(LakeTableSpec *table, const YamlNode *spec)
{
    const YamlNode *catalog = yaml_get(spec, "catalog");
    if (table->catalog.type == CATALOG_REST && !yaml_get(catalog, "vendedCredentials"))
        table->catalog.vended_credentials = !table->storage.credentials.name;
    complete_ca(&table->catalog.ca);
    storage_complete(&table->storage, yaml_get(spec, "storage"));
}

/* --- checks --- */

/* The names that belong to one way of showing who one is. */
static void check_auth_field(const Place *place, const char *prefix, const YamlNode *catalog,
                             const CatalogSpec *spec, const char *field, CatalogAuth auth,
                             const char *auth_name)
{
    if (!yaml_get(catalog, field))
        return;
    bool open = !yaml_get(catalog, "auth") && spec->credentials.name; /* the Secret decides */
    if (open || spec->auth == auth)
        return;
    AUTO(mem_free) char *path = mem_format("%scatalog.%s", prefix, field);
    place_report(place, path, NULL, "is for auth %s alone: leave it out, or write auth: %s",
                 auth_name, auth_name);
}

static void check_rest(const Place *place, const char *prefix, const YamlNode *catalog,
                       const CatalogSpec *spec)
{
    AUTO(mem_free) char *uri = join(prefix, "catalog.uri");
    AUTO(mem_free) char *warehouse = join(prefix, "catalog.warehouse");
    AUTO(mem_free) char *credentials = join(prefix, "catalog.credentialsSecretRef");
    AUTO(mem_free) char *ca = join(prefix, "catalog.caSecretRef");
    const char *wanted;
    if (!spec->uri && !yaml_get(catalog, "uri"))
        place_report(place, uri, NULL, "uri is required of a Rest catalog: where it answers");
    bool is_location =
        spec->warehouse && (*spec->warehouse == '/' || strstr(spec->warehouse, "://"));
    if (is_location && !check_location(spec->warehouse, &wanted))
        place_report(place, warehouse, spec->warehouse, "is not %s", wanted);
    if (spec->ca.name && starts_with(spec->uri, "http://") &&
        !starts_with(spec->oauth2_uri, "https://"))
        place_report(place, ca, NULL, "has nothing to check: uri is not https");
    bool given = yaml_get(catalog, "auth"), has_secret = yaml_get(catalog, "credentialsSecretRef");
    if (given && spec->auth == AUTH_NONE && has_secret)
        place_report(place, credentials, NULL, "is not used with auth None: leave out one of both");
    if (given && !has_secret && (spec->auth == AUTH_BEARER || spec->auth == AUTH_OAUTH2))
        place_report(place, credentials, NULL,
                     "auth %s needs credentialsSecretRef: the Secret with %s",
                     spec->auth == AUTH_BEARER ? "Bearer" : "OAuth2",
                     spec->auth == AUTH_BEARER
                         ? "the key token"
                         : "the keys clientId and clientSecret, or credential (id:secret)");
    check_auth_field(place, prefix, catalog, spec, "oauth2Uri", AUTH_OAUTH2, "OAuth2");
    check_auth_field(place, prefix, catalog, spec, "scope", AUTH_OAUTH2, "OAuth2");
    check_auth_field(place, prefix, catalog, spec, "signingRegion", AUTH_SIGV4, "SigV4");
    check_auth_field(place, prefix, catalog, spec, "signingService", AUTH_SIGV4, "SigV4");
}

static void check_directory(const Place *place, const char *prefix, const YamlNode *spec,
                            const LakeTableSpec *table)
{
    static const char *const rest_only[] = {
        "uri",   "auth",          "credentialsSecretRef", "caSecretRef",      "oauth2Uri",
        "scope", "signingRegion", "signingService",       "vendedCredentials"};
    const YamlNode *catalog = yaml_get(spec, "catalog");
    for (size_t i = 0; i < ARRAY_LEN(rest_only); i++) {
        if (!yaml_get(catalog, rest_only[i]))
            continue;
        AUTO(mem_free) char *path = mem_format("%scatalog.%s", prefix, rest_only[i]);
        place_report(place, path, NULL,
                     "is for a Rest catalog, and this one is a Directory: leave it out, or write "
                     "type: Rest");
    }
    AUTO(mem_free) char *warehouse = join(prefix, "catalog.warehouse");
    const char *wanted;
    if (!yaml_get(spec, "location") && !yaml_get(catalog, "warehouse"))
        place_report(place, warehouse, NULL,
                     "a table needs a place: write catalog.warehouse, the folder of all tables, "
                     "or location, its own");
    if (table->catalog.warehouse && !check_location(table->catalog.warehouse, &wanted))
        place_report(place, warehouse, table->catalog.warehouse, "is not %s", wanted);
}

void storage_check(const Place *place, const char *path, const StorageSpec *storage)
{
    AUTO(mem_free) char *ca = join(path, ".caSecretRef");
    if (storage->ca.name && starts_with(storage->endpoint, "http://"))
        place_report(place, ca, NULL, "has nothing to check: endpoint is not https");
}

static void check_storage(const Place *place, const char *prefix, const LakeTableSpec *table)
{
    AUTO(mem_free) char *storage = join(prefix, "storage");
    if (table->catalog.type != CATALOG_REST && !starts_with(table->location, "s3://") &&
        !starts_with(table->catalog.warehouse, "s3://"))
        place_report(place, storage, NULL,
                     "is for tables in an object store: leave it out, or write an s3:// warehouse "
                     "or location");
    storage_check(place, storage, &table->storage);
}

void lake_check(const Place *place, const char *prefix, const LakeTableSpec *table)
{
    AUTO(mem_free) char *path = mem_strndup(prefix, strlen(prefix) - 1);
    const YamlNode *spec = yaml_at(place->node, path);
    if (table->catalog.type == CATALOG_REST)
        check_rest(place, prefix, yaml_get(spec, "catalog"), &table->catalog);
    else
        check_directory(place, prefix, spec, table);
    if (yaml_get(spec, "storage"))
        check_storage(place, prefix, table);
}

/* --- Secrets --- */

/* A reference of one table, where findings about it go. */
typedef struct Reference {
    const Load *load;
    const Place *place;
    char *path; /* ….credentialsSecretRef.name */
    const char *secret;
} Reference;

static bool get(const Reference *reference, const char *key, char **ret_value)
{
    Error err;
    secret_wipe(*ret_value);
    *ret_value = NULL;
    if (secret_get(reference->load->manifest->secrets, reference->place->meta->namespace_name,
                   reference->secret, key, ret_value, &err)) {
        if (**ret_value)
            return true;
        place_report(reference->place, reference->path, NULL, "key %s of Secret %s is empty", key,
                     reference->secret);
        return false;
    }
    place_report(reference->place, reference->path, NULL, "%s", err.message);
    return false;
}

static bool has(const Reference *reference, const char *key)
{
    Error err;
    char *value = NULL;
    bool found =
        secret_get(reference->load->manifest->secrets, reference->place->meta->namespace_name,
                   reference->secret, key, &value, &err);
    secret_wipe(value);
    return found || strcmp(err.code, "SecretMissing") != 0; /* one that can't be read is there */
}

static void get_keys(const Reference *reference, char **access_key, char **secret_key,
                     char **session_token)
{
    if (get(reference, "accessKeyId", access_key) &&
        get(reference, "secretAccessKey", secret_key) && has(reference, "sessionToken"))
        (void)get(reference, "sessionToken", session_token);
}

static void get_client(const Reference *reference, CatalogSpec *catalog)
{
    if (!has(reference, "credential")) {
        (void)(get(reference, "clientId", &catalog->client_id) &&
               get(reference, "clientSecret", &catalog->client_secret));
        return;
    }
    char *credential = NULL;
    if (!get(reference, "credential", &credential))
        return;
    char *colon = strchr(credential, ':');
    if (colon && colon > credential && colon[1]) {
        catalog->client_id = mem_strndup(credential, (size_t)(colon - credential));
        catalog->client_secret = mem_strdup(colon + 1);
    } else {
        place_report(reference->place, reference->path, NULL,
                     "key credential of Secret %s is not of the form id:secret", reference->secret);
    }
    secret_wipe(credential);
}

/* By the keys that are there, when auth is not given. */
static bool find_auth(const Reference *reference, CatalogAuth *ret)
{
    static const struct {
        const char *key, *name;
        CatalogAuth auth;
    } ways[] = {{"token", "Bearer", AUTH_BEARER},
                {"credential", "OAuth2", AUTH_OAUTH2},
                {"clientId", "OAuth2", AUTH_OAUTH2},
                {"accessKeyId", "SigV4", AUTH_SIGV4}};
    const char *found = NULL;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        if (!has(reference, ways[i].key))
            continue;
        if (found && *ret != ways[i].auth) {
            place_report(reference->place, reference->path, reference->secret,
                         "has keys for %s and for %s: write auth", found, ways[i].name);
            return false;
        }
        found = ways[i].name;
        *ret = ways[i].auth;
    }
    if (!found)
        place_report(reference->place, reference->path, reference->secret,
                     "names no Secret that shows who one is: its keys are token (Bearer), clientId "
                     "and clientSecret, or credential (OAuth2), or accessKeyId and secretAccessKey "
                     "(SigV4)");
    return found;
}

static void resolve_catalog(const Reference *reference, CatalogSpec *catalog, bool auth_given)
{
    if (!auth_given && !find_auth(reference, &catalog->auth))
        return;
    switch (catalog->auth) {
    case AUTH_NONE:
        return;
    case AUTH_BEARER:
        (void)get(reference, "token", &catalog->token);
        return;
    case AUTH_OAUTH2:
        get_client(reference, catalog);
        return;
    case AUTH_SIGV4:
        get_keys(reference, &catalog->access_key, &catalog->secret_key, &catalog->session_token);
        return;
    }
}

static void resolve_ca(const Reference *reference, const char *key, char **ca_pem)
{
    if (get(reference, key, ca_pem) && !strstr(*ca_pem, "-----BEGIN CERTIFICATE-----"))
        place_report(reference->place, reference->path, NULL,
                     "key %s of Secret %s holds no certificate in PEM form", key,
                     reference->secret);
}

void storage_resolve(const Load *load, const Place *place, const char *path, StorageSpec *storage)
{
    AUTO(mem_free) char *keys = join(path, ".credentialsSecretRef.name");
    AUTO(mem_free) char *ca = join(path, ".caSecretRef.name");
    if (storage->credentials.name)
        get_keys(&(Reference){load, place, keys, storage->credentials.name}, &storage->access_key,
                 &storage->secret_key, &storage->session_token);
    if (storage->ca.name)
        resolve_ca(&(Reference){load, place, ca, storage->ca.name}, storage->ca.key,
                   &storage->ca_pem);
}

void lake_resolve(const Load *load, const Place *place, const char *prefix, LakeTableSpec *table)
{
    AUTO(mem_free) char *path = mem_strndup(prefix, strlen(prefix) - 1);
    bool auth_given = yaml_get(yaml_get(yaml_at(place->node, path), "catalog"), "auth");
    AUTO(mem_free) char *catalog = join(prefix, "catalog.credentialsSecretRef.name");
    AUTO(mem_free) char *catalog_ca = join(prefix, "catalog.caSecretRef.name");
    AUTO(mem_free) char *storage = join(prefix, "storage");
    CatalogSpec *rest = &table->catalog;
    if (rest->credentials.name)
        resolve_catalog(&(Reference){load, place, catalog, rest->credentials.name}, rest,
                        auth_given);
    if (rest->ca.name)
        resolve_ca(&(Reference){load, place, catalog_ca, rest->ca.name}, rest->ca.key,
                   &rest->ca_pem);
    storage_resolve(load, place, storage, &table->storage);
}

/* --- what the shapes do not know --- */

static const size_t secrets[] = {
    offsetof(LakeTableSpec, catalog.token),         offsetof(LakeTableSpec, catalog.client_id),
    offsetof(LakeTableSpec, catalog.client_secret), offsetof(LakeTableSpec, catalog.access_key),
    offsetof(LakeTableSpec, catalog.secret_key),    offsetof(LakeTableSpec, catalog.session_token),
    offsetof(LakeTableSpec, catalog.ca_pem),        offsetof(LakeTableSpec, storage.access_key),
    offsetof(LakeTableSpec, storage.secret_key),    offsetof(LakeTableSpec, storage.session_token),
    offsetof(LakeTableSpec, storage.ca_pem)};

void lake_secrets_copy(LakeTableSpec *to, const LakeTableSpec *from)
{
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        const char *value = *(char *const *)((const char *)from + secrets[i]);
        *(char **)((char *)to + secrets[i]) = value ? mem_strdup(value) : NULL;
    }
    to->catalog.auth = from->catalog.auth;
}

void lake_secrets_wipe(LakeTableSpec *table)
{
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        char **value = (char **)((char *)table + secrets[i]);
        secret_wipe(*value);
        *value = NULL;
    }
}
