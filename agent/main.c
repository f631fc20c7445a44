/* firn-agent: one binary, the subcommand is its role. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/ingest/ingest.h"
#include "agent/maintain/maintain.h"
#include "agent/options.h"
#include "agent/pipeline/pipeline.h"
#include "agent/relay/relay.h"
#include "agent/serve.h"

#define FILES_MAX ((rlim_t)65536)

/* Everything that is wrong, as "file:line: object path: message", so that an editor can jump there.
 */
static void print_findings(const Findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const Finding *finding = &findings->items[i];
        fprintf(stderr, "%s", finding->file);
        if (finding->line)
            fprintf(stderr, ":%d", finding->line);
        fprintf(stderr, ": %s%s%s%s%s\n", finding->object,
                finding->object[0] && finding->path[0] ? " " : "", finding->path,
                finding->object[0] || finding->path[0] ? ": " : "", finding->message);
    }
    fprintf(stderr, "%zu %s found\n", findings->count, findings->count == 1 ? "error" : "errors");
}

static Manifest *load(const Options *options, bool resolve_secrets)
{
    const ManifestOptions from = {.files = (const char *const *)options->files.texts,
                                  .file_count = options->files.count,
                                  .secrets_folder = options->secrets_folder};
    Findings findings = {0};
    Manifest *manifest = NULL;
    if (!manifest_load(&from, resolve_secrets, &manifest, &findings))
        print_findings(&findings);
    findings_done(&findings);
    return manifest;
}

/* As load, of what this version runs. */
static Manifest *load_to_run(const Options *options)
{
    Manifest *manifest = load(options, true);
    Findings findings = {0};
    if (manifest && !manifest_runs(manifest, &findings)) {
        print_findings(&findings);
        manifest_free(manifest);
        manifest = NULL;
    }
    findings_done(&findings);
    return manifest;
}

static int failed(const char *what, const Error *err)
{
    fprintf(stderr, "firn-agent: %s: %s: %s\n", what, err->code, err->message);
    return err->kind == ERROR_CONFIG ? EXIT_REFUSED : EXIT_FAILED;
}

static int run(const Options *options)
{
    Manifest *manifest = load_to_run(options);
    if (!manifest)
        return EXIT_REFUSED;
    int code = EXIT_REFUSED;
    if (manifest->connector_count == 0)
        fputs("firn-agent: there is no Connector in the manifests: nothing to run\n", stderr);
    else
        code = serve(manifest, options);
    manifest_free(manifest);
    return code;
}

/* Connectors whose changes go to Kafka; the others are `run`'s. */
static int capture(const Options *options)
{
    Manifest *manifest = load(options, true);
    if (!manifest)
        return EXIT_REFUSED;
    int code = EXIT_REFUSED;
    size_t streams = 0;
    for (size_t i = 0; i < manifest->connector_count; i++)
        streams += manifest->connectors[i].stream != NULL;
    if (!streams)
        fputs("firn-agent: no Connector in the manifests has spec.stream: there are no topics to "
              "fill\n",
              stderr);
    else
        code = serve(manifest, options);
    manifest_free(manifest);
    return code;
}

/* What those topics hold, into tables. */
static int ingest(const Options *options)
{
    Manifest *manifest = load(options, true);
    if (!manifest)
        return EXIT_REFUSED;
    int code = EXIT_REFUSED;
    bool found = false;
    for (size_t i = 0; i < manifest->connector_count; i++)
        found = found || (manifest->connectors[i].stream &&
                          ingest_has_units(manifest, &manifest->connectors[i], options->unit));
    for (size_t i = 0; i < manifest->unit_count; i++)
        found = found || ingests_topic(&manifest->units[i], options);
    if (!found)
        fprintf(stderr,
                "firn-agent: no IngestionUnit%s%s in the manifests is of a Connector that has "
                "spec.stream, or has spec.kafka: there are no topics to read\n",
                options->unit ? " named " : "", options->unit ? options->unit : "");
    else
        code = serve(manifest, options);
    manifest_free(manifest);
    return code;
}

static int validate(const Options *options)
{
    Manifest *manifest = load(options, false);
    if (!manifest)
        return EXIT_REFUSED;
    printf("valid: %zu connectors, %zu tables, %zu units\n", manifest->connector_count,
           manifest->table_count, manifest->unit_count);
    manifest_free(manifest);
    return EXIT_OK;
}

static int inspect(const Options *options)
{
    Error err = {0};
    if (options->location)
        return pipeline_inspect_location(options->location, options->json, &err)
                   ? EXIT_OK
                   : failed(options->location, &err);
    Manifest *manifest = load(options, false);
    if (!manifest)
        return EXIT_REFUSED;
    int code = EXIT_OK;
    size_t shown = 0;
    for (size_t i = 0; i < manifest->table_count; i++) {
        const LakeTableSpec *table = &manifest->tables[i];
        if (options->table && strcmp(options->table, table->meta.name) != 0)
            continue;
        if (shown++ && !options->json)
            putchar('\n');
        if (!pipeline_inspect(table, options->json, &err))
            code = failed(table->meta.name, &err);
    }
    manifest_free(manifest);
    if (!shown) {
        fprintf(stderr,
                "firn-agent: no LakeTable%s%s in the manifests; a table made from a pattern is "
                "shown by its folder: "
                "firn-agent inspect WAREHOUSE/DATABASE/TABLE\n",
                options->table ? " named " : "", options->table ? options->table : "");
        return EXIT_REFUSED;
    }
    return code;
}

static bool agreed(const Options *options)
{
    if (options->yes)
        return true;
    if (!isatty(STDIN_FILENO)) {
        fputs("firn-agent: drop asks first; give --yes where nobody can answer\n", stderr);
        return false;
    }
    fputs("Drop slots, publications, records, and tables with deletionPolicy Drop? [y/N] ", stderr);
    char answer[8];
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

/* What is known of topics goes before what it is known of. */
static bool drop_all(const Manifest *manifest, Error *err)
{
    for (size_t i = 0; i < manifest->connector_count; i++)
        if (manifest->connectors[i].stream && !relay_drop(&manifest->connectors[i], err))
            return error_wrap(err, "Connector/%s", manifest->connectors[i].meta.name);
    return pipeline_drop(manifest, err);
}

static int drop(const Options *options)
{
    if (!agreed(options))
        return EXIT_USAGE;
    Manifest *manifest = load(options, true);
    if (!manifest)
        return EXIT_REFUSED;
    Error err = {0};
    int code = drop_all(manifest, &err) ? EXIT_OK : failed("drop", &err);
    manifest_free(manifest);
    return code;
}

static int maintain(const Options *options)
{
    Manifest *manifest = load(options, true);
    if (!manifest)
        return EXIT_REFUSED;
    Error err = {0};
    int code = EXIT_OK;
    if (!manifest_is_maintained(manifest)) {
        fputs("firn-agent: no LakeTable in the manifests has spec.maintenance.orphanFiles: there "
              "is nothing to maintain\n",
              stderr);
        code = EXIT_REFUSED;
    } else if (!options->once) {
        code = serve_maintenance(manifest, options);
    } else if (!maintain_once(manifest, options->dry_run, &err)) {
        code = failed("maintain", &err);
    }
    manifest_free(manifest);
    return code;
}

/* Each table that has rows pending has a file open, and with partitions several: more than the
 * 1,024 that a process usually begins with, and may raise by itself. */
static void allow_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= FILES_MAX)
        return;
    files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
    (void)!setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv)
{
    Options options;
    int code;
    /* Secrets are in memory: no core file of ours for others to read. */
    prctl(PR_SET_DUMPABLE, 0);
    /* Batches come and go by the megabyte: keep their pages, and few heaps for the few threads. */
    mallopt(M_ARENA_MAX, 4);
    mallopt(M_MMAP_THRESHOLD, 8 << 20);
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    allow_files();
    if (options_parse(argc, argv, &options, &code)) {
        /* Without fast bins: each time a large block is freed all of them are emptied, and a flight
         * of records has tens of thousands of small ones. Reading frees one record at a time. */
        if (options.command != COMMAND_INGEST)
            mallopt(M_MXFAST, 0);
        log_setup(options.level, options.format);
        switch (options.command) {
        case COMMAND_RUN:
            code = run(&options);
            break;
        case COMMAND_CAPTURE:
            code = capture(&options);
            break;
        case COMMAND_INGEST:
            code = ingest(&options);
            break;
        case COMMAND_VALIDATE:
            code = validate(&options);
            break;
        case COMMAND_INSPECT:
            code = inspect(&options);
            break;
        case COMMAND_DROP:
            code = drop(&options);
            break;
        case COMMAND_MAINTAIN:
            code = maintain(&options);
            break;
        }
    }
    options_done(&options);
    return code;
}
