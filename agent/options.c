#include "agent/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

static const char help[] =
    "Usage: firn-agent COMMAND [OPTION]...\n"
    "\n"
    "Keeps Apache Iceberg tables and Kafka topics in step with operational databases.\n"
    "\n"
    "Commands:\n"
    "  run       follow the Connectors of the manifests into their tables until stopped\n"
    "  capture   follow the Connectors that have a stream into their topics until stopped\n"
    "  ingest    fill tables from those topics until stopped\n"
    "  validate  check manifests and say everything that is wrong with them\n"
    "  inspect   print schema, snapshots, position, files and deletes of tables\n"
    "  drop      remove slots, publications and records of the manifests' Connectors, and\n"
    "            the tables whose deletionPolicy is Drop; without a Connector these alone\n"
    "  maintain  remove files that no snapshot names from tables that ask for it, once a day,\n"
    "            until stopped; run and ingest do it themselves\n"
    "\n"
    "Options:\n"
    "  -f, --file FILE          a manifest; a folder stands for its *.yaml, - for standard input;\n"
    "                           may be given several times\n"
    "      --secrets DIR        Secrets as files: DIR/NAME/KEY\n"
    "      --log-format FORMAT  logfmt (default) or json\n"
    "      --log-level LEVEL    debug, info (default), warn or error\n"
    "  -h, --help               this text\n"
    "  -V, --version            the version\n"
    "run, capture, ingest, maintain:\n"
    "      --http ADDRESS:PORT  serve /healthz, /readyz and /metrics\n"
    "run, capture, ingest:\n"
    "      --orders FILE        what is asked of it meanwhile, as the operator says it\n"
    "      --channel HOST:PORT  report to the operator there\n"
    "      --channel-ca FILE    the CA that its certificate is of\n"
    "      --channel-token FILE the ServiceAccount's token that is shown to it\n"
    "      --progress WHEN      auto (default: on a terminal), always or never\n"
    "      --stop-timeout TIME  how long SIGTERM may drain and commit, default 30s\n"
    "run, capture:\n"
    "      --resnapshot TABLE   load schema.table afresh, whatever was confirmed; patterns are "
    "fine\n"
    "run, ingest:\n"
    "      --no-maintenance     leave it to a maintain that runs beside\n"
    "ingest:\n"
    "      --unit NAME          only this IngestionUnit\n"
    "inspect:\n"
    "      --table NAME         only this LakeTable\n"
    "      --json               print JSON\n"
    "      FOLDER               a table by its folder, without a manifest\n"
    "drop:\n"
    "      --yes                do not ask\n"
    "maintain:\n"
    "      --once               now, and end\n"
    "      --dry-run            once, and print what would be removed in place of removing it\n"
    "\n"
    "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 refused: a manifest, the source or a table\n"
    "needs a person\n";

enum {
    OPT_SECRETS = 256,
    OPT_HTTP,
    OPT_CHANNEL,
    OPT_CHANNEL_CA,
    OPT_CHANNEL_TOKEN,
    OPT_LOG_FORMAT,
    OPT_LOG_LEVEL,
    OPT_PROGRESS,
    OPT_RESNAPSHOT,
    OPT_ORDERS,
    OPT_STOP_TIMEOUT,
    OPT_UNIT,
    OPT_TABLE,
    OPT_JSON,
    OPT_YES,
    OPT_ONCE,
    OPT_DRY_RUN,
    OPT_NO_MAINTENANCE
};

static const struct option long_options[] = {
    {"file", required_argument, NULL, 'f'},
    {"secrets", required_argument, NULL, OPT_SECRETS},
    {"http", required_argument, NULL, OPT_HTTP},
    {"orders", required_argument, NULL, OPT_ORDERS},
    {"channel", required_argument, NULL, OPT_CHANNEL},
    {"channel-ca", required_argument, NULL, OPT_CHANNEL_CA},
    {"channel-token", required_argument, NULL, OPT_CHANNEL_TOKEN},
    {"log-format", required_argument, NULL, OPT_LOG_FORMAT},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"progress", required_argument, NULL, OPT_PROGRESS},
    {"resnapshot", required_argument, NULL, OPT_RESNAPSHOT},
    {"stop-timeout", required_argument, NULL, OPT_STOP_TIMEOUT},
    {"unit", required_argument, NULL, OPT_UNIT},
    {"table", required_argument, NULL, OPT_TABLE},
    {"json", no_argument, NULL, OPT_JSON},
    {"yes", no_argument, NULL, OPT_YES},
    {"once", no_argument, NULL, OPT_ONCE},
    {"dry-run", no_argument, NULL, OPT_DRY_RUN},
    {"no-maintenance", no_argument, NULL, OPT_NO_MAINTENANCE},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

/* Which commands an option belongs to, as bits; options not named here belong to all. */
static unsigned commands_of(int option)
{
    switch (option) {
    case OPT_HTTP:
        return 1u << COMMAND_RUN | 1u << COMMAND_CAPTURE | 1u << COMMAND_INGEST |
               1u << COMMAND_MAINTAIN;
    case OPT_CHANNEL:
    case OPT_CHANNEL_CA:
    case OPT_CHANNEL_TOKEN:
    case OPT_ORDERS:
    case OPT_PROGRESS:
    case OPT_STOP_TIMEOUT:
        return 1u << COMMAND_RUN | 1u << COMMAND_CAPTURE | 1u << COMMAND_INGEST;
    case OPT_RESNAPSHOT:
        return 1u << COMMAND_RUN | 1u << COMMAND_CAPTURE;
    case OPT_UNIT:
        return 1u << COMMAND_INGEST;
    case OPT_TABLE:
    case OPT_JSON:
        return 1u << COMMAND_INSPECT;
    case OPT_YES:
        return 1u << COMMAND_DROP;
    case OPT_ONCE:
    case OPT_DRY_RUN:
        return 1u << COMMAND_MAINTAIN;
    case OPT_NO_MAINTENANCE:
        return 1u << COMMAND_RUN | 1u << COMMAND_INGEST;
    default:
        return ~0u;
    }
}

PRINTF(1, 2) static bool wrong(const char *format, ...)
{
    fputs("firn-agent: ", stderr);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nTry 'firn-agent --help'.\n", stderr);
    return false;
}

/* Index of text among names; -1 if it is none of them. */
static int one_of(const char *text, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

static void list_add(TextList *list, const char *text)
{
    list->texts = mem_regrow(list->texts, list->count + 1, sizeof *list->texts);
    list->texts[list->count++] = mem_strdup(text);
}

static void list_done(TextList *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->texts[i]);
    free(list->texts);
}

static bool parse_address(const char *name, const char *text, char **ret_host, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    unsigned long port = colon ? strtoul(colon + 1, &end, 10) : 0;
    if (!colon || colon == text || !*(colon + 1) || *end || port > 65535)
        return wrong("--%s '%s' is not ADDRESS:PORT, such as 127.0.0.1:8080", name, text);
    free(*ret_host);
    *ret_host = mem_strndup(text, (size_t)(colon - text));
    *ret_port = (uint16_t)port;
    return true;
}

static bool parse_seconds(const char *text, int64_t *ret_us)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    int64_t unit_us = strcmp(end, "s") == 0 || !*end ? 1000000
                      : strcmp(end, "m") == 0        ? 60000000
                                                     : 0;
    if (end == text || !unit_us || value > 86400)
        return wrong("--stop-timeout '%s' is not a duration such as 30s or 2m", text);
    *ret_us = (int64_t)value * unit_us;
    return true;
}

static bool take(int option, const char *value, Options *options)
{
    static const char *const formats[] = {"logfmt", "json", NULL};
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    static const char *const progress[] = {"auto", "always", "never", NULL};
    int number;
    switch (option) {
    case 'f':
        list_add(&options->files, value);
        return true;
    case OPT_SECRETS:
        free(options->secrets_folder);
        options->secrets_folder = mem_strdup(value);
        return true;
    case OPT_HTTP:
        return parse_address("http", value, &options->http_address, &options->http_port);
    case OPT_CHANNEL:
        return parse_address("channel", value, &options->channel_host, &options->channel_port);
    case OPT_ORDERS:
        free(options->orders);
        options->orders = mem_strdup(value);
        return true;
    case OPT_CHANNEL_CA:
        free(options->channel_ca);
        options->channel_ca = mem_strdup(value);
        return true;
    case OPT_CHANNEL_TOKEN:
        free(options->channel_token);
        options->channel_token = mem_strdup(value);
        return true;
    case OPT_LOG_FORMAT:
        number = one_of(value, formats);
        options->format = (LogFormat)number;
        return number >= 0 || wrong("--log-format '%s' is neither logfmt nor json", value);
    case OPT_LOG_LEVEL:
        number = one_of(value, levels);
        options->level = (LogLevel)number;
        return number >= 0 || wrong("--log-level '%s' is none of debug, info, warn, error", value);
    case OPT_PROGRESS:
        number = one_of(value, progress);
        options->progress = (Progress)number;
        return number >= 0 || wrong("--progress '%s' is none of auto, always, never", value);
    case OPT_RESNAPSHOT:
        list_add(&options->resnapshot, value);
        return true;
    case OPT_STOP_TIMEOUT:
        return parse_seconds(value, &options->stop_timeout_us);
    case OPT_UNIT:
        free(options->unit);
        options->unit = mem_strdup(value);
        return true;
    case OPT_TABLE:
        free(options->table);
        options->table = mem_strdup(value);
        return true;
    case OPT_JSON:
        options->json = true;
        return true;
    case OPT_YES:
        options->yes = true;
        return true;
    case OPT_ONCE:
        options->once = true;
        return true;
    case OPT_DRY_RUN:
        options->once = options->dry_run = true;
        return true;
    case OPT_NO_MAINTENANCE:
        options->no_maintenance = true;
        return true;
    default:
        return wrong("unknown option"); /* getopt has said which */
    }
}

static bool take_all(int argc, char **argv, Options *options, int *ret_exit)
{
    int option, at;
    while ((option = getopt_long(argc, argv, "f:hV", long_options, &at)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            *ret_exit = EXIT_OK;
            return false;
        }
        if (option == '?')
            return wrong("see what it takes");
        if (option != 'f' && option != 'V' && !(commands_of(option) & 1u << options->command))
            return wrong("--%s does not go with '%s'", long_options[at].name, argv[0]);
        if (!take(option, optarg, options))
            return false;
    }
    return true;
}

bool options_parse(int argc, char **argv, Options *ret, int *ret_exit)
{
    static const char *const commands[] = {"run",     "capture", "ingest",   "validate",
                                           "inspect", "drop",    "maintain", NULL};
    *ret = (Options){.stop_timeout_us = 30000000, .level = LOG_INFO};
    *ret_exit = EXIT_USAGE;
    if (argc < 2)
        return wrong(
            "a command is missing: run, capture, ingest, validate, inspect, drop or maintain");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        fputs(help, stdout);
        *ret_exit = EXIT_OK;
        return false;
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        puts("firn-agent " FIRN_VERSION);
        *ret_exit = EXIT_OK;
        return false;
    }
    int command = one_of(argv[1], commands);
    if (command < 0)
        return wrong(
            "'%s' is no command; there are run, capture, ingest, validate, inspect, drop and "
            "maintain",
            argv[1]);
    ret->command = (Command)command;
    argc--;
    argv++;
    if (!take_all(argc, argv, ret, ret_exit))
        return false;
    if (optind < argc && ret->command == COMMAND_INSPECT && !ret->files.count)
        ret->location = mem_strdup(argv[optind++]);
    if (optind < argc)
        return wrong("'%s' is too much; manifests are given with -f", argv[optind]);
    if (!ret->files.count && !ret->location)
        return wrong("no manifest; give one with -f FILE");
    if (ret->channel_host && (!ret->channel_ca || !ret->channel_token))
        return wrong("--channel needs --channel-ca and --channel-token");
    return true;
}

void options_done(Options *options)
{
    list_done(&options->files);
    list_done(&options->resnapshot);
    free(options->secrets_folder);
    free(options->http_address);
    free(options->orders);
    free(options->channel_host);
    free(options->channel_ca);
    free(options->channel_token);
    free(options->unit);
    free(options->table);
    free(options->location);
}
