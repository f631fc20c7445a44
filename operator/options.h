/* The command line of firn-operator. */
#pragma once

#include "common/log.h"
#include "operator/channel/channel.h"
#include "operator/desired/desired.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3 };

typedef enum Command { COMMAND_RUN, COMMAND_CRDS, COMMAND_ASK } Command;

typedef struct Options {
    Command command;
    const char *kubeconfig; /* NULL: as api_config_load has it */
    const char **namespaces;
    size_t namespace_count;
    bool leader_elect;
    const char *lease_namespace; /* NULL: the kubeconfig's, or the Pod's */
    const char *lease_name, *identity;
    AgentDefaults agent;
    char *http_address; /* NULL: no server */
    uint16_t http_port;
    char *channel_address; /* NULL: agents don't report */
    uint16_t channel_port;
    const char *channel_host, *channel_secret; /* NULL: as the Lease is called */
    char *page_address;                        /* NULL: there is no page */
    uint16_t page_port;
    const char *page_proxy, *page_header; /* NULL: there is no proxy */
    unsigned workers;
    int64_t cleanup_us, missing_us, figures_us;
    const char *output; /* crds; NULL: to stdout */
    const char *url;    /* ask */
    LogLevel level;
    LogFormat format;
} Options;

/* As agent/options.h. The texts are argv's. */
MUST_CHECK bool options_parse(int argc, char **argv, Options *ret, int *ret_exit);
void options_done(Options *options);
