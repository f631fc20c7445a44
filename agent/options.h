/* The command line of firn-agent: what each subcommand may be given. */
#pragma once

#include "common/log.h"
#include "common/manifest/manifest.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_REFUSED = 3 };

typedef enum Command {
    COMMAND_RUN,
    COMMAND_CAPTURE,
    COMMAND_INGEST,
    COMMAND_VALIDATE,
    COMMAND_INSPECT,
    COMMAND_DROP,
    COMMAND_MAINTAIN
} Command;
typedef enum Progress { PROGRESS_AUTO, PROGRESS_ALWAYS, PROGRESS_NEVER } Progress;

typedef struct Options {
    Command command;
    TextList files;
    char *secrets_folder; /* NULL */
    char *http_address;   /* NULL: no server */
    uint16_t http_port;
    char *orders;       /* file: what is asked of it from the start; NULL: nothing */
    char *channel_host; /* of the operator; NULL: nobody is told */
    uint16_t channel_port;
    char *channel_ca, *channel_token; /* files */
    Progress progress;
    char *unit;     /* ingest; NULL: all */
    char *table;    /* inspect; NULL: all */
    char *location; /* inspect; NULL: from the manifests */
    int64_t stop_timeout_us;
    LogLevel level;
    LogFormat format;
    TextList resnapshot;
    bool json;
    bool yes;
    bool once;           /* maintain */
    bool dry_run;        /* maintain; once */
    bool no_maintenance; /* run, ingest */
} Options;

/* Fills *ret. False: *ret_exit is what the process ends with (help and version are printed to
 * stdout and end with 0, wrong usage is said on stderr). */
MUST_CHECK bool options_parse(int argc, char **argv, Options *ret, int *ret_exit);
void options_done(Options *options);
