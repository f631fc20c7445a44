/* Files → YAML documents → the structs, by the tables of fields.c. Documents of kinds that are not
 * ours (a Namespace, a ConfigMap) are let pass: kubectl takes the same file. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/manifest/load.h"
#include "common/mem.h"
#include "common/text.h"

#define API_GROUP "firn.dev"
#define API_VERSION "firn.dev/v1alpha1"
#define OBJECTS_MAX 20000u
#define LIST_DEPTH_MAX 4

/* What the caller gets as Manifest, and what its structs point to. */
typedef struct Loaded {
    Manifest manifest; /* first */
    char **files;
    size_t file_count;
} Loaded;

typedef struct Parse {
    Load load;
    Loaded *loaded;
    YamlTree **yamls;
    size_t yaml_tree_count;
} Parse;

/* --- one document --- */

static void *object_add(void **items, const YamlNode ***nodes, size_t *count, size_t each_bytes,
                        const YamlNode *node)
{
    *items = mem_regrow(*items, *count + 1, each_bytes);
    *nodes = mem_regrow(*nodes, *count + 1, sizeof **nodes);
    (*nodes)[*count] = node;
    void *item = (char *)*items + (*count)++ * each_bytes;
    memset(item, 0, each_bytes);
    return item;
}

static void read_object(Load *load, const Shape *shape, void *object, ObjectMeta *meta,
                        const YamlNode *node, Report *report)
{
    report->root = shape;
    meta->line = node->line;
    meta->file = report->file;
    shape_defaults(shape, object);
    shape_read(shape, object, node, report);
    if (!meta->name)
        load->incomplete = true;
}

/* NULL: there is none. */
static char *annotation_of(const YamlNode *node, const char *name)
{
    const YamlNode *found = yaml_get(yaml_get(yaml_get(node, "metadata"), "annotations"), name);
    return found && found->kind == YAML_TEXT ? mem_strdup(found->text) : NULL;
}

static void read_kind(Parse *parse, const char *kind, const YamlNode *node, Report *report)
{
    Load *load = &parse->load;
    Manifest *manifest = load->manifest;
    if (manifest->connector_count + manifest->table_count + manifest->unit_count >= OBJECTS_MAX) {
        report_at(report, node->line, NULL, "there are more than %u objects", OBJECTS_MAX);
        load->incomplete = true;
    } else if (strcmp(kind, "Connector") == 0) {
        ConnectorSpec *connector =
            object_add((void **)&manifest->connectors, &load->connector_nodes,
                       &manifest->connector_count, sizeof *connector, node);
        read_object(load, &connector_shape, connector, &connector->meta, node, report);
        connector->resnapshot = annotation_of(node, ANNOTATION_RESNAPSHOT);
    } else if (strcmp(kind, "LakeTable") == 0) {
        LakeTableSpec *table = object_add((void **)&manifest->tables, &load->table_nodes,
                                          &manifest->table_count, sizeof *table, node);
        read_object(load, &lake_table_shape, table, &table->meta, node, report);
    } else {
        IngestionUnitSpec *unit = object_add((void **)&manifest->units, &load->unit_nodes,
                                             &manifest->unit_count, sizeof *unit, node);
        read_object(load, &ingestion_unit_shape, unit, &unit->meta, node, report);
        unit->positions = annotation_of(node, ANNOTATION_POSITIONS);
        unit->rollback = annotation_of(node, ANNOTATION_ROLLBACK);
    }
}

/* The text of a field, or NULL with a finding. */
static const char *text_of(const YamlNode *node, const char *field, Report *report)
{
    const YamlNode *value = yaml_get(node, field);
    if (value && value->kind == YAML_TEXT && yaml_type(value) == YAML_IS_TEXT && value->text_bytes)
        return value->text;
    report_at(report, value ? value->line : node->line, field,
              "%s is required and must be a text: a document says what it is by apiVersion and "
              "kind",
              field);
    return NULL;
}

/* Whether the document is one that we read; a slip of the pen is a finding. */
static bool is_ours(const char *api, const char *kind, const YamlNode *node, Report *report)
{
    static const char *const kinds[] = {"Connector", "LakeTable", "IngestionUnit"};
    char group[64];
    size_t group_bytes = strcspn(api, "/");
    snprintf(group, sizeof group, "%.*s", (int)(group_bytes < 64 ? group_bytes : 63), api);
    bool named = false;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        named = named || strcmp(kinds[i], kind) == 0;
    if (named && strcmp(api, API_VERSION) == 0)
        return true;
    if (named) {
        report_value(report, yaml_get(node, "apiVersion")->line, "apiVersion", api,
                     "is no version of %s that is known here: did you mean \"%s\"?", kind,
                     API_VERSION);
    } else if (text_distance(group, API_GROUP, 3) < 3) {
        const char *near = text_nearest(kind, kinds, ARRAY_LEN(kinds));
        report_value(report, yaml_get(node, "kind")->line, "kind", kind, "is no kind of %s: %s%s%s",
                     API_GROUP,
                     near ? "did you mean \"" : "they are Connector, LakeTable and IngestionUnit",
                     near ? near : "", near ? "\"?" : "");
    }
    return false;
}

static void read_document(Parse *parse, const char *file, const YamlNode *node, int lists)
{
    Load *load = &parse->load;
    Report report = {.findings = load->findings, .file = file};
    size_t findings = load->findings->count;
    if (node->kind == YAML_TEXT && yaml_type(node) == YAML_IS_NULL)
        return;
    if (node->kind != YAML_MAP) {
        report_at(&report, node->line, NULL,
                  "a document must be a mapping with apiVersion, kind, metadata and spec");
        load->incomplete = true;
        return;
    }
    const char *kind = text_of(node, "kind", &report);
    const char *api = text_of(node, "apiVersion", &report);
    const YamlNode *items = yaml_get(node, "items");
    if (kind && api && strcmp(kind, "List") == 0 && strcmp(api, "v1") == 0 && items) {
        for (size_t i = 0; items->kind == YAML_LIST && i < items->count; i++)
            if (lists < LIST_DEPTH_MAX)
                read_document(parse, file, items->values[i], lists + 1);
        return;
    }
    const YamlNode *name = yaml_get(yaml_get(node, "metadata"), "name");
    bool good = name && name->kind == YAML_TEXT && text_is_object_name(name->text);
    AUTO(mem_free)
    char *object =
        kind ? mem_format("%.64s%s%s", kind, good ? "/" : "", good ? name->text : "") : NULL;
    report.object = object;
    if (kind && api && strcmp(kind, "Secret") == 0 && strcmp(api, "v1") == 0) {
        report.root = &secret_shape;
        secret_store_read(load->manifest->secrets, node, &report);
    } else if (kind && api && is_ours(api, kind, node, &report)) {
        read_kind(parse, kind, node, &report);
    } else if (load->findings->count > findings) {
        load->incomplete = true;
    }
    report_done(&report);
}

/* --- files --- */

static const char *file_keep(Parse *parse, const char *name)
{
    Loaded *loaded = parse->loaded;
    loaded->files = mem_regrow(loaded->files, loaded->file_count + 1, sizeof *loaded->files);
    loaded->files[loaded->file_count++] = mem_strdup(name);
    return loaded->files[loaded->file_count - 1];
}

static void read_text(Parse *parse, const char *name, const char *text, size_t bytes)
{
    const char *file = file_keep(parse, name);
    YamlTree *yaml;
    YamlFault fault;
    bool good = yaml_tree_parse(text, bytes, &yaml, &fault);
    parse->yamls = mem_regrow(parse->yamls, parse->yaml_tree_count + 1, sizeof *parse->yamls);
    parse->yamls[parse->yaml_tree_count++] = yaml;
    for (size_t i = 0; i < yaml_tree_count(yaml); i++)
        read_document(parse, file, yaml_tree_document(yaml, i), 0);
    if (!good) {
        Report report = {.findings = parse->load.findings, .file = file};
        report_at(&report, fault.line, NULL, "column %d: %s", fault.column, fault.message);
        parse->load.incomplete = true;
    }
}

static void file_fault(Parse *parse, const char *name, const char *what, int number)
{
    Report report = {.findings = parse->load.findings, .file = name};
    const char *reason = number ? strerrordesc_np(number) : NULL;
    report_at(&report, 0, NULL, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
    parse->load.incomplete = true;
}

static void read_file(Parse *parse, const char *name)
{
    bool standard = strcmp(name, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        file_fault(parse, name, "can't be opened", errno);
        return;
    }
    Bytes text = {0};
    ssize_t got = 1;
    while (got > 0 && text.used <= YAML_BYTES_MAX) {
        /* Grown by hand: a freed block must not keep what may be a password. */
        if (text.held - text.used < 65536) {
            Bytes larger = {0};
            bytes_reserve(&larger, text.held * 2 + 65536);
            bytes_put(&larger, text.data, text.used);
            if (text.data)
                explicit_bzero(text.data, text.used);
            bytes_done(&text);
            text = larger;
        }
        got = read(fd, text.data + text.used, text.held - text.used);
        if (got < 0 && errno == EINTR)
            got = 1;
        else if (got > 0)
            text.used += (size_t)got;
    }
    int failed = got < 0 ? errno : 0;
    if (!standard)
        close(fd);
    if (failed)
        file_fault(parse, name, "can't be read", failed);
    else
        read_text(parse, standard ? "<stdin>" : name, (const char *)text.data, text.used);
    if (text.data)
        explicit_bzero(text.data, text.used);
    bytes_done(&text);
}

static int is_manifest_file(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);
    return entry->d_name[0] != '.' && bytes > 5 && strcmp(entry->d_name + bytes - 5, ".yaml") == 0;
}

static void read_path(Parse *parse, const char *path)
{
    struct stat status;
    if (strcmp(path, "-") == 0 || stat(path, &status) != 0 || !S_ISDIR(status.st_mode)) {
        read_file(parse, path);
        return;
    }
    struct dirent **entries;
    int count = scandir(path, &entries, is_manifest_file, alphasort);
    if (count < 0) {
        file_fault(parse, path, "can't be listed", errno);
        return;
    }
    if (count == 0)
        file_fault(parse, path, "the folder holds no *.yaml", 0);
    for (int i = 0; i < count; i++) {
        size_t path_bytes = strlen(path);
        bool slash = path_bytes && path[path_bytes - 1] == '/';
        AUTO(mem_free)
        char *name = mem_format("%s%s%s", path, slash ? "" : "/", entries[i]->d_name);
        read_file(parse, name);
        free(entries[i]);
    }
    free(entries);
}

/* --- the whole --- */

static Parse parse_begin(const char *secrets_folder, Findings *findings)
{
    *findings = (Findings){0};
    Loaded *loaded = mem_zalloc(sizeof *loaded);
    loaded->manifest.secrets = secret_store_new(secrets_folder);
    return (Parse){.loaded = loaded, .load = {.manifest = &loaded->manifest, .findings = findings}};
}

static bool parse_end(Parse *parse, bool resolve_secrets, Manifest **ret)
{
    Load *load = &parse->load;
    Manifest *manifest = load->manifest;
    if (!manifest->connector_count && !manifest->table_count && !manifest->unit_count &&
        !load->incomplete && !load->findings->count)
        file_fault(parse, parse->loaded->file_count ? parse->loaded->files[0] : "",
                   "there is no Connector, LakeTable or IngestionUnit", 0);
    manifest_complete(load);
    manifest_validate(load);
    if (resolve_secrets)
        manifest_resolve_secrets(load);
    for (size_t i = 0; i < parse->yaml_tree_count; i++)
        yaml_tree_free(parse->yamls[i]);
    free(parse->yamls);
    free(load->connector_nodes);
    free(load->table_nodes);
    free(load->unit_nodes);
    *ret = NULL;
    if (load->findings->count) {
        findings_sort(load->findings);
        manifest_free(manifest);
        return false;
    }
    *ret = manifest;
    return true;
}

bool manifest_load(const ManifestOptions *options, bool resolve_secrets, Manifest **ret,
                   Findings *findings)
{
    Parse parse = parse_begin(options->secrets_folder, findings);
    for (size_t i = 0; i < options->file_count; i++)
        read_path(&parse, options->files[i]);
    return parse_end(&parse, resolve_secrets, ret);
}

bool manifest_parse(const char *name, const char *text, size_t bytes, Manifest **ret,
                    Findings *findings)
{
    Parse parse = parse_begin(NULL, findings);
    read_text(&parse, name, text, bytes);
    return parse_end(&parse, false, ret);
}

void manifest_free(Manifest *manifest)
{
    if (!manifest)
        return;
    Loaded *loaded = (Loaded *)manifest;
    for (size_t i = 0; i < manifest->connector_count; i++) {
        ConnectorSpec *connector = &manifest->connectors[i];
        secret_wipe(connector->username);
        secret_wipe(connector->password);
        secret_wipe(connector->client_pem);
        secret_wipe(connector->client_key_pem);
        secret_wipe(connector->ca_pem);
        if (connector->stream)
            stream_secrets_wipe(connector->stream);
        free(connector->resnapshot);
        shape_free(&connector_shape, connector);
    }
    for (size_t i = 0; i < manifest->table_count; i++) {
        lake_secrets_wipe(&manifest->tables[i]);
        shape_free(&lake_table_shape, &manifest->tables[i]);
    }
    for (size_t i = 0; i < manifest->unit_count; i++) {
        IngestionUnitSpec *unit = &manifest->units[i];
        if (unit->kafka)
            stream_secrets_wipe(unit->kafka);
        if (unit->lake) { /* has a name and secrets, which the unit's shape does not know */
            lake_secrets_wipe(unit->lake);
            shape_free(&lake_table_shape, unit->lake);
        }
        free(unit->positions);
        free(unit->rollback);
        shape_free(&ingestion_unit_shape, unit);
    }
    free(manifest->connectors);
    free(manifest->tables);
    free(manifest->units);
    secret_store_free(manifest->secrets);
    for (size_t i = 0; i < loaded->file_count; i++)
        free(loaded->files[i]);
    free(loaded->files);
    free(loaded);
}
