#include "operator/options.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/text.h"

static const char help[] =
    "Usage: firn-operator COMMAND [OPTION]...\n"
    "\n"
    "Makes Connectors, LakeTables and IngestionUnits of a Kubernetes cluster into running agents.\n"
    "\n"
    "Commands:\n"
    "  run   watch the cluster until stopped\n"
    "  crds  print the CustomResourceDefinitions\n"
    "  ask   get a URL, such as http://firn.firn-system.svc:8080/readyz, and end with 0 if that\n"
    "        answers 200\n"
    "\n"
    "Options:\n"
    "      --log-format FORMAT  logfmt (default) or json\n"
    "      --log-level LEVEL    debug, info (default), warn or error\n"
    "  -h, --help               this text\n"
    "  -V, --version            the version\n"
    "run:\n"
    "      --agent-image IMAGE  the image of the agents that are made\n"
    "      --agent-pull-policy POLICY\n"
    "                           IfNotPresent (default), Always or Never\n"
    "      --kubeconfig FILE    outside a cluster; default KUBECONFIG, the Pod's ServiceAccount,\n"
    "                           or ~/.kube/config\n"
    "  -n, --namespace NAME     only this namespace; may be given several times\n"
    "      --leader-elect BOOL  true (default): only the holder of a Lease works\n"
    "      --lease-namespace NAME, --lease-name NAME, --identity NAME\n"
    "                           where the Lease is, and who one is in it\n"
    "      --http ADDRESS:PORT  serve /healthz, /readyz and /metrics\n"
    "      --channel ADDRESS:PORT\n"
    "                           where agents report, by WebSocket with TLS; without it they don't\n"
    "      --channel-host NAME  the name by which agents find and verify it; default that of a\n"
    "                           Service, LEASE-channel.NAMESPACE.svc\n"
    "      --channel-secret NAME\n"
    "                           a Secret with tls.crt, tls.key and ca.crt for that name, such as\n"
    "                           cert-manager's; default keys of its own, kept in LEASE-channel\n"
    "      --page ADDRESS:PORT  serve the live page there: plain HTTP, so 127.0.0.1 unless for a "
    "proxy\n"
    "      --page-proxy ADDRESS, --page-user-header NAME\n"
    "                           a proxy that has logged people in, and says who in this header;\n"
    "                           without them everybody shows a Kubernetes token\n"
    "      --workers N          resources that are looked at side by side, default 4\n"
    "      --cleanup-timeout TIME\n"
    "                           how long a deleted Connector waits for its source, default 5m\n"
    "      --missing-timeout TIME\n"
    "                           how long a reference may lead nowhere before that counts as\n"
    "                           Stalled, default 15s\n"
    "      --figures-interval TIME\n"
    "                           how often rows, lag and freshness are written into statuses,\n"
    "                           default 60s\n"
    "crds:\n"
    "      --output FOLDER      write connectors.yaml, laketables.yaml, ingestionunits.yaml there\n"
    "\n"
    "Exit codes: 0 done; 1 failed, or the lease was lost; 2 wrong usage; 3 refused\n";

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-"

enum {
    OPT_AGENT_IMAGE = 256,
    OPT_PULL_POLICY,
    OPT_KUBECONFIG,
    OPT_LEADER_ELECT,
    OPT_LEASE_NAMESPACE,
    OPT_LEASE_NAME,
    OPT_IDENTITY,
    OPT_HTTP,
    OPT_CHANNEL,
    OPT_CHANNEL_HOST,
    OPT_CHANNEL_SECRET,
    OPT_PAGE,
    OPT_PAGE_PROXY,
    OPT_PAGE_HEADER,
    OPT_WORKERS,
    OPT_CLEANUP,
    OPT_MISSING,
    OPT_FIGURES,
    OPT_OUTPUT,
    OPT_LOG_FORMAT,
    OPT_LOG_LEVEL
};

static const struct option long_options[] = {
    {"agent-image", required_argument, NULL, OPT_AGENT_IMAGE},
    {"agent-pull-policy", required_argument, NULL, OPT_PULL_POLICY},
    {"kubeconfig", required_argument, NULL, OPT_KUBECONFIG},
    {"namespace", required_argument, NULL, 'n'},
    {"leader-elect", required_argument, NULL, OPT_LEADER_ELECT},
    {"lease-namespace", required_argument, NULL, OPT_LEASE_NAMESPACE},
    {"lease-name", required_argument, NULL, OPT_LEASE_NAME},
    {"identity", required_argument, NULL, OPT_IDENTITY},
    {"http", required_argument, NULL, OPT_HTTP},
    {"channel", required_argument, NULL, OPT_CHANNEL},
    {"channel-host", required_argument, NULL, OPT_CHANNEL_HOST},
    {"channel-secret", required_argument, NULL, OPT_CHANNEL_SECRET},
    {"page", required_argument, NULL, OPT_PAGE},
    {"page-proxy", required_argument, NULL, OPT_PAGE_PROXY},
    {"page-user-header", required_argument, NULL, OPT_PAGE_HEADER},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"cleanup-timeout", required_argument, NULL, OPT_CLEANUP},
    {"missing-timeout", required_argument, NULL, OPT_MISSING},
    {"figures-interval", required_argument, NULL, OPT_FIGURES},
    {"output", required_argument, NULL, OPT_OUTPUT},
    {"log-format", required_argument, NULL, OPT_LOG_FORMAT},
    {"log-level", required_argument, NULL, OPT_LOG_LEVEL},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {NULL, 0, NULL, 0},
};

PRINTF(1, 2) static bool wrong(const char *format, ...)
{
    fputs("firn-operator: ", stderr);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputs("\nTry 'firn-operator --help'.\n", stderr);
    return false;
}

static int one_of(const char *text, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (strcmp(names[i], text) == 0)
            return i;
    return -1;
}

static bool parse_address(const char *name, const char *text, char **ret_address,
                          uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    int64_t port = -1;
    if (!colon || colon == text || !text_integer_parse(colon + 1, &port) || port < 0 ||
        port > 65535)
        return wrong("--%s '%s' is not ADDRESS:PORT, such as 127.0.0.1:8080", name, text);
    free(*ret_address);
    *ret_address = mem_strndup(text, (size_t)(colon - text));
    *ret_port = (uint16_t)port;
    return true;
}

static bool parse_time(const char *name, const char *text, int64_t *ret_us)
{
    int64_t ms;
    if (!text_duration_parse(text, &ms) || ms < 1 || ms > 86400000)
        return wrong("--%s '%s' is not a duration such as 30s or 5m", name, text);
    *ret_us = ms * 1000;
    return true;
}

static bool take_log(int option, const char *value, Options *options)
{
    static const char *const formats[] = {"logfmt", "json", NULL};
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    int number = one_of(value, option == OPT_LOG_FORMAT ? formats : levels);
    if (number < 0)
        return wrong("'%s' is neither %s", value,
                     option == OPT_LOG_FORMAT ? "logfmt nor json" : "debug, info, warn nor error");
    if (option == OPT_LOG_FORMAT)
        options->format = (LogFormat)number;
    else
        options->level = (LogLevel)number;
    return true;
}

static bool take_run(int option, const char *name, const char *value, Options *options)
{
    static const char *const policies[] = {"IfNotPresent", "Always", "Never", NULL};
    int64_t number;
    switch (option) {
    case OPT_AGENT_IMAGE:
        options->agent.image = value;
        return true;
    case OPT_PULL_POLICY:
        options->agent.pull_policy = value;
        return one_of(value, policies) >= 0 ||
               wrong("--%s '%s' is none of IfNotPresent, Always, Never", name, value);
    case OPT_KUBECONFIG:
        options->kubeconfig = value;
        return true;
    case 'n':
        options->namespaces = mem_regrow(options->namespaces, options->namespace_count + 1,
                                         sizeof *options->namespaces);
        options->namespaces[options->namespace_count++] = value;
        return text_is_object_name(value) || wrong("--namespace '%s' is no name", value);
    case OPT_LEADER_ELECT:
        options->leader_elect = strcmp(value, "true") == 0;
        return options->leader_elect || strcmp(value, "false") == 0 ||
               wrong("--%s '%s' is neither true nor false", name, value);
    case OPT_LEASE_NAMESPACE:
        options->lease_namespace = value;
        return text_is_object_name(value) || wrong("--%s '%s' is no name", name, value);
    case OPT_LEASE_NAME:
        options->lease_name = value;
        return text_is_object_name(value) || wrong("--%s '%s' is no name", name, value);
    case OPT_IDENTITY:
        options->identity = value;
        return *value || wrong("--identity is empty");
    case OPT_HTTP:
        return parse_address(name, value, &options->http_address, &options->http_port);
    case OPT_CHANNEL:
        return parse_address(name, value, &options->channel_address, &options->channel_port);
    case OPT_CHANNEL_HOST:
        options->channel_host = value;
        return text_is_object_name(value) || wrong("--%s '%s' is no DNS name", name, value);
    case OPT_CHANNEL_SECRET:
        options->channel_secret = value;
        return text_is_object_name(value) || wrong("--%s '%s' is no name", name, value);
    case OPT_PAGE:
        return parse_address(name, value, &options->page_address, &options->page_port);
    case OPT_PAGE_PROXY:
        options->page_proxy = value;
        return true; /* which the page looks at */
    case OPT_PAGE_HEADER:
        options->page_header = value;
        return (*value && !value[strspn(value, LETTERS)]) ||
               wrong("--%s '%s' is no header's name", name, value);
    case OPT_WORKERS:
        if (!text_integer_parse(value, &number) || number < 1 || number > 64)
            return wrong("--workers '%s' is no number from 1 to 64", value);
        options->workers = (unsigned)number;
        return true;
    case OPT_CLEANUP:
        return parse_time(name, value, &options->cleanup_us);
    case OPT_FIGURES:
        return parse_time(name, value, &options->figures_us);
    default:
        return parse_time(name, value, &options->missing_us);
    }
}

static bool take(int option, const char *name, const char *value, Options *options)
{
    if (option == OPT_LOG_FORMAT || option == OPT_LOG_LEVEL)
        return take_log(option, value, options);
    if (options->command == COMMAND_ASK ||
        (option == OPT_OUTPUT) != (options->command == COMMAND_CRDS))
        return wrong("--%s does not go with this command", name);
    if (option == OPT_OUTPUT) {
        options->output = value;
        return true;
    }
    return take_run(option, name, value, options);
}

bool options_parse(int argc, char **argv, Options *ret, int *ret_exit)
{
    static const char *const commands[] = {"run", "crds", "ask", NULL};
    *ret = (Options){.leader_elect = true,
                     .lease_name = "firn-operator",
                     .agent = {.image = NULL, .pull_policy = "IfNotPresent"},
                     .level = LOG_INFO};
    *ret_exit = EXIT_USAGE;
    const char *first = argc > 1 ? argv[1] : "";
    if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0) {
        fputs(help, stdout);
        *ret_exit = EXIT_OK;
        return false;
    }
    if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
        puts("firn-operator " FIRN_VERSION);
        *ret_exit = EXIT_OK;
        return false;
    }
    int command = one_of(first, commands), option, at = 0;
    if (command < 0)
        return wrong("a command is missing: run, crds or ask");
    ret->command = (Command)command;
    argc--;
    argv++;
    while ((option = getopt_long(argc, argv, "n:hV", long_options, &at)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            *ret_exit = EXIT_OK;
            return false;
        }
        if (option == '?' || option == 'V')
            return wrong("see what it takes");
        if (!take(option, option == 'n' ? "namespace" : long_options[at].name, optarg, ret))
            return false;
    }
    if (ret->command == COMMAND_ASK && optind < argc)
        ret->url = argv[optind++];
    if (optind < argc)
        return wrong("'%s' is too much", argv[optind]);
    if (ret->command == COMMAND_ASK && !ret->url)
        return wrong("no URL");
    if (ret->command == COMMAND_RUN && !ret->agent.image)
        return wrong("no --agent-image");
    return true;
}

void options_done(Options *options)
{
    free(options->namespaces);
    free(options->http_address);
    free(options->channel_address);
    free(options->page_address);
}
