/* See registry.h. Ids that were answered are kept by subject and schema in a ring with a hash table
 * beside it: the same schema is asked for once. */
#include "agent/topic/registry.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "agent/topic/scalar.h"
#include "common/mem.h"

#define IDS_MAX_USUAL 10000
#define ANSWER_BYTES_MAX ((size_t)8 << 20)
#define TIMEOUT_MS 30000
#define REASON_BYTES 200
#define IMPORTS_MAX 64

typedef struct Known {
    XXH128_hash_t hash; /* of subject and schema: 128 bits are as good as the texts */
    uint32_t id;
} Known;

struct Registry {
    HttpClient *client;
    char *url;
    char *authorization; /* the header's value; NULL: none */
    pthread_mutex_t lock;
    Known *known; /* a ring */
    size_t known_count, known_next, known_max;
};

void registry_free(Registry *registry)
{
    if (!registry)
        return;
    http_client_free(registry->client);
    free(registry->url);
    if (registry->authorization)
        explicit_bzero(registry->authorization, strlen(registry->authorization));
    free(registry->authorization);
    free(registry->known);
    pthread_mutex_destroy(&registry->lock);
    free(registry);
}

static char *authorization_of(const RegistryOptions *options)
{
    if (options->token)
        return mem_format("Bearer %s", options->token);
    if (!options->username)
        return NULL;
    AUTO(mem_free)
    char *pair = mem_format("%s:%s", options->username, options->password ? options->password : "");
    Bytes text = {0};
    scalar_put_text(&text, "Basic ");
    scalar_base64(&text, (const uint8_t *)pair, strlen(pair), false);
    bytes_put_u8(&text, 0);
    explicit_bzero(pair, strlen(pair));
    return (char *)text.data;
}

Registry *registry_new(const RegistryOptions *options, Error *err)
{
    const char *url = options->url ? options->url : "";
    if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) ||
        strpbrk(url, "?#@ ")) {
        error_set(
            err, ERROR_CONFIG, "RegistryUrl",
            "the schema registry's address must be http://… or https://…, without a query, and "
            "without user and password: those stand in a Secret");
        return NULL;
    }
    HttpClientOptions client_options = {.ca_pem = options->ca_pem};
    HttpClient *client = http_client_new(&client_options, err);
    if (!client) {
        error_wrap(err, "schema registry");
        return NULL;
    }
    Registry *registry = mem_zalloc(sizeof *registry);
    size_t bytes = strlen(url);
    while (url[bytes - 1] == '/')
        bytes--;
    registry->client = client;
    registry->url = mem_strndup(url, bytes);
    registry->authorization = authorization_of(options);
    registry->known_max = options->ids_max ? options->ids_max : IDS_MAX_USUAL;
    pthread_mutex_init(&registry->lock, NULL);
    return registry;
}

/* --- what is known --- */

static XXH128_hash_t hash_of(const char *subject, const char *schema)
{
    XXH3_state_t *state = XXH3_createState();
    ASSERT(state);
    XXH3_128bits_reset(state);
    XXH3_128bits_update(state, subject, strlen(subject) + 1);
    XXH3_128bits_update(state, schema, strlen(schema));
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

/* Asked once per table and version of its columns: a search through all is quick enough. */
static bool find_known(const Registry *registry, XXH128_hash_t hash, uint32_t *ret_id)
{
    for (size_t i = 0; i < registry->known_count; i++)
        if (XXH128_isEqual(registry->known[i].hash, hash)) {
            *ret_id = registry->known[i].id;
            return true;
        }
    return false;
}

static void remember(Registry *registry, XXH128_hash_t hash, uint32_t id)
{
    if (registry->known_count < registry->known_max) {
        registry->known = mem_regrow(registry->known, registry->known_count + 1, sizeof(Known));
        registry->known[registry->known_count++] = (Known){hash, id};
        return;
    }
    registry->known[registry->known_next] = (Known){hash, id};
    registry->known_next = (registry->known_next + 1) % registry->known_max;
}

/* --- answers --- */

/* What the registry says of its refusal, one line, cut; it may be anything. */
static void reason_of(const HttpAnswer *answer, char ret[REASON_BYTES])
{
    json_t *json = json_loadb((const char *)answer->body.data, answer->body.used, 0, NULL);
    const char *message = json_string_value(json_object_get(json, "message"));
    snprintf(ret, REASON_BYTES, "%s", message ? message : "no reason given");
    for (char *at = ret; *at; at++)
        if ((unsigned char)*at < 0x20)
            *at = ' ';
    json_decref(json);
}

static bool refused(const Registry *registry, const char *subject, const HttpAnswer *answer,
                    Error *err)
{
    char reason[REASON_BYTES];
    reason_of(answer, reason);
    switch (answer->status) {
    case 401:
    case 403:
        return error_set(err, ERROR_CONFIG, "RegistryDenied",
                         "schema registry %s: subject %s: %d, %s; see "
                         "stream.schemaRegistry.credentialsSecretRef",
                         registry->url, subject, answer->status, reason);
    case 404:
        return error_set(err, ERROR_CONFIG, "RegistryNotFound",
                         "schema registry %s: there is no Confluent API here (404, %s); Apicurio's "
                         "ends with /apis/ccompat/v7",
                         registry->url, reason);
    case 409:
    case 422:
        return error_set(err, ERROR_CONFIG, "SchemaRefused",
                         "schema registry %s refuses the schema of subject %s (%d): %s; set the "
                         "subject's compatibility, or write to a topic of another name",
                         registry->url, subject, answer->status, reason);
    default:
        return error_set(err, ERROR_RETRY, "RegistryAway", "schema registry %s: subject %s: %d, %s",
                         registry->url, subject, answer->status, reason);
    }
}

static bool take_id(const Registry *registry, const char *subject, const HttpAnswer *answer,
                    uint32_t *ret_id, Error *err)
{
    json_t *json = json_loadb((const char *)answer->body.data, answer->body.used, 0, NULL);
    const json_t *id = json_object_get(json, "id");
    json_int_t value = json_integer_value(id);
    bool good = json_is_integer(id) && value >= 0 && value <= INT32_MAX;
    json_decref(json);
    if (!good)
        return error_set(err, ERROR_RETRY, "RegistryAnswer",
                         "schema registry %s: subject %s: the answer has no id", registry->url,
                         subject);
    *ret_id = (uint32_t)value;
    return true;
}

static bool ask(Registry *registry, const char *subject, const char *schema, uint32_t *ret_id,
                Error *err)
{
    AUTO(mem_free) char *escaped = http_escape(subject, "");
    AUTO(mem_free) char *url = mem_format("%s/subjects/%s/versions", registry->url, escaped);
    Bytes body = {0};
    scalar_put_text(&body, "{\"schema\":");
    scalar_json_string(&body, schema, strlen(schema));
    bytes_put_u8(&body, '}');
    HttpHeader headers[] = {{"Content-Type", "application/vnd.schemaregistry.v1+json"},
                            {"Accept", "application/vnd.schemaregistry.v1+json, application/json"},
                            {"Authorization", registry->authorization}};
    HttpRequest request = {.method = "POST",
                           .url = url,
                           .headers = headers,
                           .header_count = registry->authorization ? 3 : 2,
                           .body = body.data,
                           .body_bytes = body.used,
                           .timeout_ms = TIMEOUT_MS,
                           .answer_bytes_max = ANSWER_BYTES_MAX};
    HttpAnswer answer = {0};
    bool done = http_send(registry->client, &request, &answer, err);
    if (!done)
        error_wrap(err, "schema registry");
    else if (answer.status == 200 || answer.status == 201)
        done = take_id(registry, subject, &answer, ret_id, err);
    else
        done = refused(registry, subject, &answer, err);
    http_answer_done(&answer);
    bytes_done(&body);
    return done;
}

bool registry_register(Registry *registry, const char *subject, const char *schema,
                       uint32_t *ret_id, Error *err)
{
    XXH128_hash_t hash = hash_of(subject, schema);
    pthread_mutex_lock(&registry->lock);
    bool done = find_known(registry, hash, ret_id);
    if (!done) {
        done = ask(registry, subject, schema, ret_id, err);
        if (done)
            remember(registry, hash, *ret_id);
    }
    pthread_mutex_unlock(&registry->lock);
    return done;
}

/* --- asking for what is there --- */

static bool get(Registry *registry, const char *path, HttpAnswer *ret, Error *err)
{
    AUTO(mem_free) char *url = mem_format("%s/%s", registry->url, path);
    HttpHeader headers[] = {{"Accept", "application/vnd.schemaregistry.v1+json, application/json"},
                            {"Authorization", registry->authorization}};
    HttpRequest request = {.method = "GET",
                           .url = url,
                           .headers = headers,
                           .header_count = registry->authorization ? 2 : 1,
                           .timeout_ms = TIMEOUT_MS,
                           .answer_bytes_max = ANSWER_BYTES_MAX};
    pthread_mutex_lock(&registry->lock);
    bool done = http_send(registry->client, &request, ret, err);
    pthread_mutex_unlock(&registry->lock);
    return done || error_wrap(err, "schema registry");
}

bool registry_latest(Registry *registry, const char *subject, uint32_t *ret_id, Error *err)
{
    AUTO(mem_free) char *escaped = http_escape(subject, "");
    AUTO(mem_free) char *path = mem_format("subjects/%s/versions/latest", escaped);
    HttpAnswer answer = {0};
    bool done = get(registry, path, &answer, err);
    if (done && answer.status == 404)
        done = error_set(err, ERROR_RETRY, "SchemaMissing",
                         "schema registry %s has no subject %s yet", registry->url, subject);
    else if (done && answer.status == 200)
        done = take_id(registry, subject, &answer, ret_id, err);
    else if (done)
        done = refused(registry, subject, &answer, err);
    http_answer_done(&answer);
    return done;
}

/* What a schema imports; paths[i] is where the registry has writer->imports[i]. */
typedef struct Imports {
    WriterSchema *writer;
    char *paths[IMPORTS_MAX];
} Imports;

static bool note_import(const Registry *registry, Imports *imports, const json_t *reference,
                        Error *err)
{
    WriterSchema *writer = imports->writer;
    const char *name = json_string_value(json_object_get(reference, "name"));
    const char *subject = json_string_value(json_object_get(reference, "subject"));
    const json_t *version = json_object_get(reference, "version");
    if (!name || !subject || !json_is_integer(version))
        return error_set(err, ERROR_RETRY, "RegistryAnswer",
                         "schema registry %s: a reference without name, subject and version",
                         registry->url);
    for (size_t i = 0; i < writer->import_count; i++)
        if (strcmp(writer->imports[i].name, name) == 0)
            return true;
    if (writer->import_count == IMPORTS_MAX)
        return error_set(err, ERROR_DATA, "UnknownSchemaId",
                         "schema registry %s: a schema imports more than %d others", registry->url,
                         IMPORTS_MAX);
    AUTO(mem_free) char *escaped = http_escape(subject, "");
    imports->paths[writer->import_count] =
        mem_format("subjects/%s/versions/%lld", escaped, (long long)json_integer_value(version));
    writer->imports =
        mem_regrow(writer->imports, writer->import_count + 1, sizeof *writer->imports);
    writer->imports[writer->import_count++] = (WriterImport){.name = mem_strdup(name)};
    return true;
}

static bool take_schema(const Registry *registry, const char *path, RegistryKind kind,
                        const HttpAnswer *answer, char **ret, Imports *imports, Error *err)
{
    static const char *const kinds[] = {"AVRO", "PROTOBUF"}, *const names[] = {"Avro", "Protobuf"};
    json_t *json = json_loadb((const char *)answer->body.data, answer->body.used, 0, NULL);
    const char *schema = json_string_value(json_object_get(json, "schema"));
    const char *said = json_string_value(json_object_get(json, "schemaType"));
    const json_t *references = json_object_get(json, "references");
    bool is_kind = strcmp(said ? said : kinds[REGISTRY_AVRO], kinds[kind]) == 0;
    bool ok = schema != NULL && is_kind;
    if (ok)
        *ret = mem_strdup(schema);
    for (size_t i = 0; i < json_array_size(references) && ok && kind == REGISTRY_PROTOBUF; i++)
        ok = note_import(registry, imports, json_array_get(references, i), err);
    bool has_schema = schema != NULL;
    json_decref(json);
    if (!has_schema)
        return error_set(err, ERROR_RETRY, "RegistryAnswer",
                         "schema registry %s: %s: the answer has no schema", registry->url, path);
    if (!is_kind)
        return error_set(err, ERROR_DATA, "UnknownSchemaId", "schema registry %s: %s is none of %s",
                         registry->url, path, names[kind]);
    return ok;
}

static bool fetch_one(Registry *registry, const char *path, RegistryKind kind, char **ret,
                      Imports *imports, Error *err)
{
    HttpAnswer answer = {0};
    bool done = get(registry, path, &answer, err);
    if (done && answer.status == 404)
        done = error_set(err, ERROR_DATA, "UnknownSchemaId", "schema registry %s has no %s",
                         registry->url, path);
    else if (done && answer.status == 200)
        done = take_schema(registry, path, kind, &answer, ret, imports, err);
    else if (done)
        done = refused(registry, path, &answer, err);
    http_answer_done(&answer);
    return done;
}

bool registry_fetch(Registry *registry, uint32_t id, RegistryKind kind, WriterSchema *ret,
                    Error *err)
{
    AUTO(mem_free) char *path = mem_format("schemas/ids/%u", id);
    Imports imports = {.writer = ret};
    *ret = (WriterSchema){0};
    bool done = fetch_one(registry, path, kind, &ret->text, &imports, err);
    for (size_t i = 0; i < ret->import_count && done; i++) {
        char *text = NULL; /* imports may move: more are found */
        done = fetch_one(registry, imports.paths[i], kind, &text, &imports, err);
        ret->imports[i].text = text;
    }
    for (size_t i = 0; i < ret->import_count; i++)
        free(imports.paths[i]);
    if (!done)
        writer_schema_done(ret);
    return done;
}
