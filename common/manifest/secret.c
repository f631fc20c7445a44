#include "common/manifest/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/manifest/checks.h"
#include "common/mem.h"

#define SECRET_BYTES_MAX (1u << 20) /* as Kubernetes limits a whole Secret */

typedef struct Value {
    char *key;
    char *data; /* a NUL behind it */
    size_t bytes;
} Value;

typedef struct Secret {
    ObjectMeta meta;
    Value *values;
    size_t count;
} Secret;

struct SecretStore {
    char *folder;
    Secret *secrets;
    size_t count;
};

SecretStore *secret_store_new(const char *folder)
{
    SecretStore *store = mem_zalloc(sizeof *store);
    store->folder = folder ? mem_strdup(folder) : NULL;
    return store;
}

static void value_free(Value *value)
{
    explicit_bzero(value->data, value->bytes);
    free(value->data);
    free(value->key);
}

void secret_store_free(SecretStore *store)
{
    if (!store)
        return;
    for (size_t i = 0; i < store->count; i++) {
        Secret *secret = &store->secrets[i];
        for (size_t j = 0; j < secret->count; j++)
            value_free(&secret->values[j]);
        free(secret->values);
        shape_free(&secret_shape, secret);
    }
    free(store->secrets);
    free(store->folder);
    free(store);
}

void secret_wipe(char *value)
{
    if (value)
        explicit_bzero(value, strlen(value));
    free(value);
}

/* --- documents --- */

/* RFC 4648, padded; line breaks between are fine, as in Kubernetes. *ret has a NUL behind it. */
static bool base64_decode(const char *text, char **ret, size_t *ret_bytes)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t held = strlen(text) / 4 * 3 + 4, bytes = 0, taken = 0, padding = 0;
    char *out = mem_alloc(held);
    uint32_t group = 0;
    bool good = true;
    for (; *text && good; text++) {
        if (*text == '\n' || *text == '\r' || *text == ' ')
            continue;
        const char *letter = strchr(letters, *text);
        if (*text == '=' && taken % 4 >= 2 && padding < 2)
            padding++;
        else if (!letter || padding)
            good = false;
        group = group << 6 | (letter && *text != '=' ? (uint32_t)(letter - letters) : 0);
        if (++taken % 4 == 0) {
            out[bytes++] = (char)(group >> 16);
            out[bytes++] = (char)(group >> 8);
            out[bytes++] = (char)group;
            group = 0;
        }
    }
    explicit_bzero(&group, sizeof group);
    if (!good || taken % 4) {
        explicit_bzero(out, bytes);
        free(out);
        return false;
    }
    bytes -= padding;
    out[bytes] = '\0';
    *ret = out;
    *ret_bytes = bytes;
    return true;
}

static void value_put(Secret *secret, const char *key, char *data, size_t bytes)
{
    Value value = {.key = mem_strdup(key), .data = data, .bytes = bytes};
    for (size_t i = 0; i < secret->count; i++) {
        if (strcmp(secret->values[i].key, key) == 0) {
            value_free(&secret->values[i]);
            secret->values[i] = value;
            return;
        }
    }
    secret->values = mem_regrow(secret->values, secret->count + 1, sizeof *secret->values);
    secret->values[secret->count++] = value;
}

static void read_values(Secret *secret, const YamlNode *document, const char *field, bool encoded,
                        Report *report)
{
    const YamlNode *node = yaml_get(document, field);
    if (!node)
        return;
    size_t path_used = report->path.used;
    bytes_put(&report->path, field, strlen(field));
    if (node->kind != YAML_MAP)
        report_at(report, node->line, NULL, "must be a mapping (key: value)");
    for (size_t i = 0; node->kind == YAML_MAP && i < node->count; i++) {
        const YamlNode *key = node->keys[i], *value = node->values[i];
        const char *wanted;
        char *data = NULL;
        size_t bytes = 0;
        if (key->repeats)
            continue; /* said already */
        if (!check_secret_key(key->text, &wanted))
            report_at(report, key->line, NULL, "a key here is not %s", wanted);
        else if (value->kind != YAML_TEXT || yaml_type(value) != YAML_IS_TEXT)
            report_at(report, value->line, key->text, "must be a text: put it in quotes");
        else if (value->text_bytes > SECRET_BYTES_MAX)
            report_at(report, value->line, key->text, "is larger than 1 MiB");
        else if (!encoded)
            value_put(secret, key->text, mem_strndup(value->text, value->text_bytes),
                      value->text_bytes);
        else if (base64_decode(value->text, &data, &bytes))
            value_put(secret, key->text, data, bytes);
        else
            report_at(report, value->line, key->text,
                      "is not base64: encode it, or write the plain text under stringData");
    }
    report->path.used = path_used;
}

void secret_store_read(SecretStore *store, const YamlNode *document, Report *report)
{
    Secret secret = {.meta = {.line = document->line, .file = report->file}};
    shape_defaults(&secret_shape, &secret);
    shape_read(&secret_shape, &secret, document, report);
    read_values(&secret, document, "data", true, report);
    read_values(&secret, document, "stringData", false, report); /* wins, as in Kubernetes */
    for (size_t i = 0; i < store->count && secret.meta.name; i++) {
        const ObjectMeta *other = &store->secrets[i].meta;
        if (other->name && strcmp(other->name, secret.meta.name) == 0 &&
            strcmp(other->namespace_name, secret.meta.namespace_name) == 0)
            report_value(report, document->line, "metadata.name", secret.meta.name,
                         "is a Secret already: the first is at %s:%d", other->file, other->line);
    }
    store->secrets = mem_regrow(store->secrets, store->count + 1, sizeof *store->secrets);
    store->secrets[store->count++] = secret;
}

/* --- looking one up --- */

static bool value_copy(const char *data, size_t bytes, const char *name, const char *key,
                       char **ret_value, Error *err)
{
    if (memchr(data, 0, bytes))
        return error_set(err, ERROR_CONFIG, "SecretInvalid",
                         "key %s of Secret %s holds a NUL byte: it must be text", key, name);
    *ret_value = mem_strndup(data, bytes);
    return true;
}

/* Wrong rights are not "missing": they are said as they are. */
static bool file_get(const char *path, const char *name, const char *key, bool *ret_found,
                     char **ret_value, Error *err)
{
    *ret_found = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return true;
    if (fd < 0)
        return error_errno(err, ERROR_CONFIG, "SecretInvalid", errno, "can't open %s", path);
    *ret_found = true;
    struct stat status;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(fd);
        return error_set(err, ERROR_CONFIG, "SecretInvalid", "%s is no file", path);
    }
    char *data = mem_alloc(SECRET_BYTES_MAX + 1);
    size_t used = 0;
    ssize_t got;
    while ((got = read(fd, data + used, SECRET_BYTES_MAX + 1 - used)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            break;
        used += (size_t)got;
    }
    int failed = got < 0 ? errno : 0;
    close(fd);
    bool good;
    if (failed)
        good = error_errno(err, ERROR_CONFIG, "SecretInvalid", failed, "can't read %s", path);
    else if (used > SECRET_BYTES_MAX)
        good = error_set(err, ERROR_CONFIG, "SecretInvalid", "%s is larger than 1 MiB", path);
    else
        good = value_copy(data, used && data[used - 1] == '\n' ? used - 1 : used, name, key,
                          ret_value, err);
    explicit_bzero(data, used);
    free(data);
    return good;
}

bool secret_get(const SecretStore *store, const char *namespace_name, const char *name,
                const char *key, char **ret_value, Error *err)
{
    const Secret *found = NULL;
    for (size_t i = 0; i < store->count; i++) {
        const Secret *secret = &store->secrets[i];
        if (!secret->meta.name || strcmp(secret->meta.name, name) != 0 ||
            strcmp(secret->meta.namespace_name, namespace_name) != 0)
            continue;
        found = secret;
        for (size_t j = 0; j < secret->count; j++)
            if (strcmp(secret->values[j].key, key) == 0)
                return value_copy(secret->values[j].data, secret->values[j].bytes, name, key,
                                  ret_value, err);
    }
    if (store->folder) {
        bool in_folder;
        AUTO(mem_free) char *path = mem_format("%s/%s/%s", store->folder, name, key);
        if (!file_get(path, name, key, &in_folder, ret_value, err))
            return false;
        if (in_folder)
            return true;
    }
    if (found)
        return error_set(err, ERROR_CONFIG, "SecretMissing",
                         "Secret %s (%s:%d) has no key %s: add it under stringData", name,
                         found->meta.file, found->meta.line, key);
    return error_set(err, ERROR_CONFIG, "SecretMissing",
                     "Secret %s with key %s is in none of the files%s%s: add a document of kind "
                     "Secret, or write the value to DIR/%s/%s and give --secrets DIR",
                     name, key, store->folder ? " and not in " : "",
                     store->folder ? store->folder : "", name, key);
}
