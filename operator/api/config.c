/* A kubeconfig's current context, or the files that every Pod with a ServiceAccount has.
 * https://kubernetes.io/docs/reference/config-api/kubeconfig.v1 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

#include "common/yaml.h"
#include "operator/api/api.h"

#define FILE_BYTES_MAX (1u << 20)
#define POD_FOLDER "/var/run/secrets/kubernetes.io/serviceaccount"

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void api_config_free(ApiConfig *config)
{
    if (!config)
        return;
    free(config->server);
    free(config->namespace_name);
    free(config->ca_pem);
    free(config->ca_file);
    wipe(config->token);
    free(config->token_file);
    free(config->client_pem);
    wipe(config->client_key_pem);
    free(config->server_name);
    free(config);
}

static char *read_file(const char *path, Error *err)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        error_errno(err, ERROR_CONFIG, "BadKubeconfig", errno, "%s can't be opened", path);
        return NULL;
    }
    char *text = mem_alloc(FILE_BYTES_MAX + 1);
    size_t got = fread(text, 1, FILE_BYTES_MAX + 1, file);
    bool whole = !ferror(file) && got <= FILE_BYTES_MAX;
    fclose(file);
    if (!whole) {
        wipe(text);
        error_set(err, ERROR_CONFIG, "BadKubeconfig", "%s can't be read, or is larger than %u",
                  path, FILE_BYTES_MAX);
        return NULL;
    }
    text[got] = '\0';
    char *fit = mem_strndup(text, got);
    explicit_bzero(text, got);
    free(text);
    return fit;
}

char *api_base64(const char *text)
{
    size_t bytes = strlen(text);
    char *out = mem_alloc(bytes / 4 * 3 + 4);
    int got = bytes % 4 == 0 && bytes <= FILE_BYTES_MAX
                  ? EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)bytes)
                  : -1;
    if (got < 0) {
        free(out);
        return NULL;
    }
    size_t padding =
        bytes && text[bytes - 1] == '=' ? 1 + (bytes > 1 && text[bytes - 2] == '=') : 0;
    out[(size_t)got - padding] = '\0';
    return out;
}

typedef struct Source {
    const char *file;
    Error *err;
} Source;

static const char *text_at(const YamlNode *node, const char *key)
{
    const YamlNode *value = yaml_get(node, key);
    return value && value->kind == YAML_TEXT && *value->text ? value->text : NULL;
}

/* The mapping `what` of the entry called `name` in a list of {name, what}. */
static const YamlNode *named(const YamlNode *list, const char *name, const char *what)
{
    for (size_t i = 0; list && list->kind == YAML_LIST && name && i < list->count; i++) {
        const char *own = text_at(list->values[i], "name");
        if (own && strcmp(own, name) == 0)
            return yaml_get(list->values[i], what);
    }
    return NULL;
}

/* A file that is named relative to the kubeconfig. */
static char *path_of(const Source *source, const char *path)
{
    const char *slash = strrchr(source->file, '/');
    if (*path == '/' || !slash)
        return mem_strdup(path);
    return mem_format("%.*s/%s", (int)(slash - source->file), source->file, path);
}

/* "x-data" in base64, or the content of the file that "x" names. */
static bool pem_of(const Source *source, const YamlNode *node, const char *field, char **ret)
{
    AUTO(mem_free) char *data_field = mem_format("%s-data", field);
    const char *data = text_at(node, data_field), *path = text_at(node, field);
    if (data)
        *ret = api_base64(data);
    if (data && !*ret)
        return error_set(source->err, ERROR_CONFIG, "BadKubeconfig", "%s: %s is no base64",
                         source->file, data_field);
    if (!data && path) {
        AUTO(mem_free) char *file = path_of(source, path);
        *ret = read_file(file, source->err);
        return *ret;
    }
    return true;
}

static bool read_cluster(const Source *source, const YamlNode *cluster, ApiConfig *config)
{
    const char *server = text_at(cluster, "server");
    const YamlNode *insecure = yaml_get(cluster, "insecure-skip-tls-verify");
    if (!server || strncmp(server, "https://", 8) != 0)
        return error_set(source->err, ERROR_CONFIG, "BadKubeconfig",
                         "%s: the current context's cluster has no server that begins with "
                         "https://",
                         source->file);
    if (insecure && insecure->kind == YAML_TEXT && strcmp(insecure->text, "true") == 0)
        return error_set(source->err, ERROR_CONFIG, "BadKubeconfig",
                         "%s: insecure-skip-tls-verify is not taken: write "
                         "certificate-authority-data",
                         source->file);
    size_t bytes = strlen(server);
    config->server = mem_strndup(server, bytes - (server[bytes - 1] == '/'));
    const char *name = text_at(cluster, "tls-server-name"), *ca;
    config->server_name = name ? mem_strdup(name) : NULL;
    if (!text_at(cluster, "certificate-authority-data") &&
        (ca = text_at(cluster, "certificate-authority")))
        config->ca_file = path_of(source, ca);
    return pem_of(source, cluster, "certificate-authority", &config->ca_pem);
}

static bool read_user(const Source *source, const YamlNode *user, ApiConfig *config)
{
    const char *token = text_at(user, "token"), *file = text_at(user, "tokenFile");
    if (yaml_get(user, "exec") || yaml_get(user, "auth-provider"))
        return error_set(
            source->err, ERROR_CONFIG, "BadKubeconfig",
            "%s: the current context's user logs in by a program (exec): give one with "
            "a token, tokenFile or client certificate",
            source->file);
    if (file)
        config->token_file = path_of(source, file);
    else if (token)
        config->token = mem_strdup(token);
    return pem_of(source, user, "client-certificate", &config->client_pem) &&
           pem_of(source, user, "client-key", &config->client_key_pem);
}

bool api_config_parse(const char *file, const char *text, size_t bytes, ApiConfig **ret, Error *err)
{
    AUTO(yaml_tree_free) YamlTree *yaml = NULL;
    YamlFault fault;
    *ret = NULL;
    if (!yaml_tree_parse(text, bytes, &yaml, &fault))
        return error_set(err, ERROR_CONFIG, "BadKubeconfig", "%s:%d: %s", file, fault.line,
                         fault.message);
    const YamlNode *root = yaml_tree_count(yaml) ? yaml_tree_document(yaml, 0) : NULL;
    const YamlNode *context =
        named(yaml_get(root, "contexts"), text_at(root, "current-context"), "context");
    if (!context)
        return error_set(err, ERROR_CONFIG, "BadKubeconfig", "%s: current-context names no context",
                         file);
    const YamlNode *cluster =
        named(yaml_get(root, "clusters"), text_at(context, "cluster"), "cluster");
    const YamlNode *user = named(yaml_get(root, "users"), text_at(context, "user"), "user");
    ApiConfig *config = mem_zalloc(sizeof *config);
    const char *namespace_name = text_at(context, "namespace");
    config->namespace_name = mem_strdup(namespace_name ? namespace_name : "default");
    Source source = {file, err};
    if (read_cluster(&source, cluster, config) && read_user(&source, user, config)) {
        *ret = config;
        return true;
    }
    api_config_free(config);
    return false;
}

static bool pod_config(ApiConfig **ret, Error *err)
{
    const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
    if (!host || !port)
        return error_set(err, ERROR_CONFIG, "BadKubeconfig", "this is no Pod");
    ApiConfig *config = mem_zalloc(sizeof *config);
    bool v6 = strchr(host, ':');
    config->server = mem_format("https://%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", port);
    config->ca_file = mem_strdup(POD_FOLDER "/ca.crt");
    config->token_file = mem_strdup(POD_FOLDER "/token");
    config->namespace_name = read_file(POD_FOLDER "/namespace", err);
    config->ca_pem = read_file(config->ca_file, err);
    if (config->namespace_name && config->ca_pem) {
        *ret = config;
        return true;
    }
    api_config_free(config);
    return false;
}

bool api_config_load(const char *kubeconfig, ApiConfig **ret, Error *err)
{
    *ret = NULL;
    const char *home = getenv("HOME");
    const char *named_file = kubeconfig ? kubeconfig : getenv("KUBECONFIG");
    if (!named_file && getenv("KUBERNETES_SERVICE_HOST"))
        return pod_config(ret, err);
    AUTO(mem_free)
    char *path = named_file && *named_file ? mem_strdup(named_file)
                                           : mem_format("%s/.kube/config", home ? home : "");
    char *text = read_file(path, err);
    bool ok = text && api_config_parse(path, text, strlen(text), ret, err);
    wipe(text);
    return ok;
}
