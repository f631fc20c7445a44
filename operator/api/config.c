/* A kubeconfig's current context, or the files that every Pod with a ServiceAccount has. Of several
 * kubeconfigs the first that has an entry of a name, or a current context, is the one that counts.
 * https://kubernetes.io/docs/reference/config-api/kubeconfig.v1
 * https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

#include "common/yaml.h"
#include "operator/api/api.h"

#define FILE_BYTES_MAX (1u << 20)
#define FILES_MAX 32
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
    YamlTree *yaml;
    const YamlNode *root;
} Source;

typedef struct Sources {
    Source all[FILES_MAX];
    size_t count;
} Sources;

static const char *text_at(const YamlNode *node, const char *key)
{
    const YamlNode *value = yaml_get(node, key);
    return value && value->kind == YAML_TEXT && *value->text ? value->text : NULL;
}

static const YamlNode *named_in(const YamlNode *list, const char *name, const char *what)
{
    for (size_t i = 0; list && list->kind == YAML_LIST && i < list->count; i++) {
        const char *own = text_at(list->values[i], "name");
        if (own && strcmp(own, name) == 0)
            return yaml_get(list->values[i], what);
    }
    return NULL;
}

/* The mapping `what` of the entry called `name` in the lists of {name, what}; *ret: whose it is. */
static const YamlNode *named(const Sources *sources, const char *list, const char *name,
                             const char *what, const Source **ret)
{
    const YamlNode *found = NULL;
    *ret = &sources->all[0];
    for (size_t i = 0; !found && name && i < sources->count; i++) {
        found = named_in(yaml_get(sources->all[i].root, list), name, what);
        if (found)
            *ret = &sources->all[i];
    }
    return found;
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
static bool pem_of(const Source *source, const YamlNode *node, const char *field, char **ret,
                   Error *err)
{
    AUTO(mem_free) char *data_field = mem_format("%s-data", field);
    const char *data = text_at(node, data_field), *path = text_at(node, field);
    if (data)
        *ret = api_base64(data);
    if (data && !*ret)
        return error_set(err, ERROR_CONFIG, "BadKubeconfig", "%s: %s is no base64", source->file,
                         data_field);
    if (!data && path) {
        AUTO(mem_free) char *file = path_of(source, path);
        *ret = read_file(file, err);
        return *ret;
    }
    return true;
}

static bool read_cluster(const Source *source, const YamlNode *cluster, ApiConfig *config,
                         Error *err)
{
    const char *server = text_at(cluster, "server");
    const YamlNode *insecure = yaml_get(cluster, "insecure-skip-tls-verify");
    if (!server || strncmp(server, "https://", 8) != 0)
        return error_set(err, ERROR_CONFIG, "BadKubeconfig",
                         "%s: the current context's cluster has no server that begins with "
                         "https://",
                         source->file);
    if (insecure && insecure->kind == YAML_TEXT && strcmp(insecure->text, "true") == 0)
        return error_set(err, ERROR_CONFIG, "BadKubeconfig",
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
    return pem_of(source, cluster, "certificate-authority", &config->ca_pem, err);
}

static bool read_user(const Source *source, const YamlNode *user, ApiConfig *config, Error *err)
{
    const char *token = text_at(user, "token"), *file = text_at(user, "tokenFile");
    if (yaml_get(user, "exec") || yaml_get(user, "auth-provider"))
        return error_set(
            err, ERROR_CONFIG, "BadKubeconfig",
            "%s: the current context's user logs in by a program (exec): give one with "
            "a token, tokenFile or client certificate",
            source->file);
    if (file)
        config->token_file = path_of(source, file);
    else if (token)
        config->token = mem_strdup(token);
    return pem_of(source, user, "client-certificate", &config->client_pem, err) &&
           pem_of(source, user, "client-key", &config->client_key_pem, err);
}

static bool add(Sources *to, const char *file, const char *text, size_t bytes, Error *err)
{
    YamlFault fault;
    Source *source = &to->all[to->count];
    source->file = file;
    bool ok = yaml_tree_parse(text, bytes, &source->yaml, &fault);
    to->count++;
    if (!ok)
        return error_set(err, ERROR_CONFIG, "BadKubeconfig", "%s:%d: %s", file, fault.line,
                         fault.message);
    source->root = yaml_tree_count(source->yaml) ? yaml_tree_document(source->yaml, 0) : NULL;
    return true;
}

static void sources_done(Sources *sources)
{
    for (size_t i = 0; i < sources->count; i++)
        yaml_tree_free(sources->all[i].yaml);
}

static bool config_of(const Sources *sources, ApiConfig **ret, Error *err)
{
    const Source *from;
    const char *current = NULL;
    for (size_t i = 0; !current && i < sources->count; i++)
        current = text_at(sources->all[i].root, "current-context");
    const YamlNode *context = named(sources, "contexts", current, "context", &from);
    if (!context)
        return error_set(err, ERROR_CONFIG, "BadKubeconfig", "%s: current-context names no context",
                         from->file);
    ApiConfig *config = mem_zalloc(sizeof *config);
    const char *namespace_name = text_at(context, "namespace");
    config->namespace_name = mem_strdup(namespace_name ? namespace_name : "default");
    const char *name = text_at(context, "cluster");
    const YamlNode *cluster = named(sources, "clusters", name, "cluster", &from);
    bool ok = read_cluster(from, cluster, config, err);
    const YamlNode *user = named(sources, "users", text_at(context, "user"), "user", &from);
    if (ok && read_user(from, user, config, err)) {
        *ret = config;
        return true;
    }
    api_config_free(config);
    return false;
}

bool api_config_parse(const char *file, const char *text, size_t bytes, ApiConfig **ret, Error *err)
{
    Sources sources = {0};
    *ret = NULL;
    bool ok = add(&sources, file, text, bytes, err) && config_of(&sources, ret, err);
    sources_done(&sources);
    return ok;
}

/* The files of a list with colons between, which is written to; those that are not there count as
 * little as empty names. */
static bool load_all(char *list, ApiConfig **ret, Error *err)
{
    Sources sources = {0};
    bool ok = true;
    AUTO(mem_free) char *names = mem_strdup(list);
    for (char *rest = list, *file; ok && (file = strsep(&rest, ":"));) {
        if (!*file || access(file, F_OK) != 0)
            continue;
        if (sources.count == FILES_MAX) {
            ok = error_set(err, ERROR_CONFIG, "BadKubeconfig",
                           "KUBECONFIG names more than %d files", FILES_MAX);
            break;
        }
        char *text = read_file(file, err);
        ok = text && add(&sources, file, text, strlen(text), err);
        wipe(text);
    }
    if (ok && !sources.count)
        ok = error_set(err, ERROR_CONFIG, "BadKubeconfig",
                       "KUBECONFIG is %s: none of these files is there", names);
    ok = ok && config_of(&sources, ret, err);
    sources_done(&sources);
    return ok;
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
    const char *home = getenv("HOME"), *named_files = getenv("KUBECONFIG");
    if (!kubeconfig && named_files && *named_files) {
        AUTO(mem_free) char *list = mem_strdup(named_files);
        return load_all(list, ret, err);
    }
    if (!kubeconfig && getenv("KUBERNETES_SERVICE_HOST"))
        return pod_config(ret, err);
    AUTO(mem_free)
    char *path =
        kubeconfig ? mem_strdup(kubeconfig) : mem_format("%s/.kube/config", home ? home : "");
    char *text = read_file(path, err);
    bool ok = text && api_config_parse(path, text, strlen(text), ret, err);
    wipe(text);
    return ok;
}
