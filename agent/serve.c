#include "agent/serve.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/channel/channel.h"
#include "agent/ingest/ingest.h"
#include "agent/maintain/maintain.h"
#include "agent/pipeline/pipeline.h"
#include "agent/relay/relay.h"
#include "common/clock.h"
#include "common/http/http_server.h"
#include "common/mem.h"
#include "common/thread.h"

#define LOOK_MS 1000

typedef struct Run {
    Supervised *flow;
    Thread *thread;
    const char *name;
    int done_fd; /* written to when the flow ends */
    atomic_bool ended;
    bool ok;
    Error err;
} Run;

typedef struct Server {
    Run *runs;
    size_t run_count;
    uint64_t rows_before;
    int64_t looked_us;
    bool line_open; /* a progress line without its newline is on the terminal */
    bool measures;  /* how far it is behind its source, in bytes: consumers of topics do not */
} Server;

static void run_flow(void *argument)
{
    Run *run = argument;
    run->ok = supervised_run(run->flow, &run->err);
    atomic_store(&run->ended, true);
    uint64_t one = 1;
    ssize_t written = write(run->done_fd, &one, sizeof one);
    (void)written; /* the loop also looks once a second */
}

static bool healthy(void *context, char *text, size_t text_bytes)
{
    (void)context;
    snprintf(text, text_bytes, "ok");
    return true;
}

/* Ready: every flow follows its source, or pauses as it is told. */
static bool ready(void *context, char *text, size_t text_bytes)
{
    Server *server = context;
    snprintf(text, text_bytes, "ok");
    for (size_t i = 0; i < server->run_count; i++) {
        Figures figures;
        supervised_figures(server->runs[i].flow, &figures);
        if (figures.phase != PHASE_STREAMING && figures.phase != PHASE_CATCHING_UP &&
            figures.phase != PHASE_PAUSED) {
            snprintf(text, text_bytes, "%s: %s", server->runs[i].name, phase_name(figures.phase));
            return false;
        }
    }
    return true;
}

static int advance(Phase phase)
{
    return phase == PHASE_RETRYING ? -2 : phase == PHASE_PAUSED ? -1 : (int)phase;
}

/* Of all flows together; the least advanced phase counts. */
static void all_figures(const Server *server, Figures *ret)
{
    Figures all = {.phase = PHASE_STOPPED};
    for (size_t i = 0; i < server->run_count; i++) {
        Figures one;
        supervised_figures(server->runs[i].flow, &one);
        if (advance(one.phase) < advance(all.phase))
            all.phase = one.phase;
        if (!all.error[0]) {
            memcpy(all.error, one.error, sizeof all.error);
            memcpy(all.reason, one.reason, sizeof all.reason);
        }
        all.tables += one.tables;
        all.rows += one.rows;
        all.copy.tables += one.copy.tables;
        all.copy.rows += one.copy.rows;
        all.copy.rows_estimate += one.copy.rows_estimate;
        all.copy.bytes += one.copy.bytes;
        all.copy.bytes_estimate += one.copy.bytes_estimate;
        all.lag_bytes += one.lag_bytes;
        all.commits += one.commits;
        if (one.request[0]) {
            memcpy(all.request, one.request, sizeof all.request);
            memcpy(all.refusal, one.refusal, sizeof all.refusal);
            memcpy(all.request_from, one.request_from, sizeof all.request_from);
            memcpy(all.request_to, one.request_to, sizeof all.request_to);
            all.request_state = one.request_state;
        }
        if (one.freshness_us > all.freshness_us)
            all.freshness_us = one.freshness_us;
    }
    *ret = all;
}

/* What the operator is told beside the metrics. */
static void flow_told(void *context, ChannelFlow *flow)
{
    const Server *server = context;
    Figures all;
    all_figures(server, &all);
    snprintf(flow->phase, sizeof flow->phase, "%s", phase_name(all.phase));
    if (all.error[0]) {
        memcpy(flow->reason, all.reason, sizeof flow->reason);
        flow->error = mem_strdup(all.error);
    }
    memcpy(flow->request, all.request, sizeof flow->request);
    snprintf(flow->request_state, sizeof flow->request_state, "%s",
             request_state_name(all.request_state));
    memcpy(flow->request_why, all.refusal, sizeof all.refusal);
    memcpy(flow->request_from, all.request_from, sizeof all.request_from);
    memcpy(flow->request_to, all.request_to, sizeof all.request_to);
    flow->freshness_ms = all.freshness_us / 1000;
    if (server->measures)
        flow->lag_bytes = (int64_t)all.lag_bytes;
}

/* A pause and copies are asked of flows that read a source, the rest of consumers of topics. */
static void ordered(void *context, const ChannelOrders *orders)
{
    const Server *server = context;
    for (size_t i = 0; i < server->run_count; i++)
        if (server->measures)
            supervised_order(server->runs[i].flow, orders->pause, orders->resnapshot);
        else
            supervised_unit_order(server->runs[i].flow, orders->positions, orders->rollback);
}

/* As they stood when it was started; the channel has what is asked since. A file that is not there
 * asks nothing. */
static void read_orders(const Server *server, const char *path)
{
    FILE *file = path ? fopen(path, "re") : NULL;
    if (!file)
        return;
    char *text = mem_alloc(CHANNEL_MESSAGE_BYTES_MAX + 1);
    ChannelWord word;
    Error err = {0};
    size_t bytes = fread(text, 1, CHANNEL_MESSAGE_BYTES_MAX + 1, file);
    fclose(file);
    bool good = channel_take(text, bytes, &word, &err);
    if (good && word.kind == CHANNEL_ORDERS)
        ordered((void *)(uintptr_t)server, &word.orders);
    else
        log_warn("what is asked can't be read", LOG_T("file", path), LOG_T("error", err.message));
    if (good)
        channel_word_done(&word);
    free(text);
}

/* One glance: phase, rows, rows/s, lag, freshness of all flows. */
static void progress_line(Server *server, bool terminal)
{
    Figures all;
    all_figures(server, &all);
    int64_t now_us = clock_mono_us();
    double seconds = (double)(now_us - server->looked_us) / 1e6;
    uint64_t new_rows = all.rows > server->rows_before ? all.rows - server->rows_before : 0;
    char copy[120] = "";
    if (all.copy.tables)
        snprintf(copy, sizeof copy, "  copying %u: %llu/~%llu rows, %.1f/~%.1f MiB",
                 all.copy.tables, (unsigned long long)all.copy.rows,
                 (unsigned long long)all.copy.rows_estimate, (double)all.copy.bytes / (1 << 20),
                 (double)all.copy.bytes_estimate / (1 << 20));
    fprintf(stderr,
            "%s%-12s tables %u  rows %llu%s  %.0f rows/s  commits %llu  lag %.1f MiB  freshness "
            "%.1f s%s",
            terminal ? "\r\033[K" : "", phase_name(all.phase), all.tables,
            (unsigned long long)all.rows, copy, seconds > 0 ? (double)new_rows / seconds : 0,
            (unsigned long long)all.commits, (double)all.lag_bytes / (1 << 20),
            (double)all.freshness_us / 1e6, terminal ? "" : "\n");
    server->line_open = terminal;
    server->rows_before = all.rows;
    server->looked_us = now_us;
}

static void stop_all(Server *server)
{
    for (size_t i = 0; i < server->run_count; i++)
        supervised_stop(server->runs[i].flow);
}

static bool any_running(const Server *server, bool *ret_failed)
{
    bool running = false;
    for (size_t i = 0; i < server->run_count; i++) {
        bool ended = atomic_load(&server->runs[i].ended);
        running = running || !ended;
        *ret_failed = *ret_failed || (ended && !server->runs[i].ok);
    }
    return running;
}

/* Until every flow has ended. SIGTERM and SIGINT drain; a second one, or the time limit, gives
 * up. False: gave up. */
static bool wait_for_end(Server *server, const Options *options, int signals, int done)
{
    bool line = options->progress == PROGRESS_ALWAYS ||
                (options->progress == PROGRESS_AUTO && isatty(STDERR_FILENO));
    bool terminal = isatty(STDERR_FILENO);
    int64_t give_up_us = 0;
    server->looked_us = clock_mono_us();
    for (;;) {
        bool failed = false;
        if (!any_running(server, &failed))
            return true;
        if (failed &&
            !give_up_us) { /* one Connector's end is everybody's: the exit code must show it */
            stop_all(server);
            give_up_us = clock_mono_us() + options->stop_timeout_us;
        }
        if (give_up_us && clock_mono_us() > give_up_us) {
            log_error("draining took longer than --stop-timeout; what is not committed is still at "
                      "the source");
            return false;
        }
        struct pollfd polled[] = {{.fd = signals, .events = POLLIN},
                                  {.fd = done, .events = POLLIN}};
        int count = poll(polled, 2, LOOK_MS);
        if (count > 0 && polled[0].revents) {
            struct signalfd_siginfo info;
            if (read(signals, &info, sizeof info) != sizeof info)
                continue;
            if (give_up_us) {
                log_warn("a second signal: not waiting for the drain");
                return false;
            }
            log_info("draining", LOG_T("signal", sigabbrev_np((int)info.ssi_signo)));
            stop_all(server);
            give_up_us = clock_mono_us() + options->stop_timeout_us;
        } else if (count > 0) {
            uint64_t number;
            ssize_t got = read(done, &number, sizeof number);
            (void)got;
        } else if (line) {
            progress_line(server, terminal);
        }
    }
}

static int outcome(Server *server)
{
    int code = EXIT_OK;
    for (size_t i = 0; i < server->run_count; i++) {
        const Run *run = &server->runs[i];
        if (run->ok)
            continue;
        log_error("stopped", LOG_T("connector", run->name),
                  LOG_T("kind", error_kind_name(run->err.kind)), LOG_T("reason", run->err.code),
                  LOG_T("error", run->err.message));
        if (code == EXIT_OK)
            code = run->err.kind == ERROR_CONFIG ? EXIT_REFUSED : EXIT_FAILED;
    }
    return code;
}

bool ingests_topic(const IngestionUnitSpec *unit, const Options *options)
{
    return options->command == COMMAND_INGEST && unit->kafka && unit->state == STATE_RUNNING &&
           (!options->unit || strcmp(unit->meta.name, options->unit) == 0);
}

static void runs_start(Server *server, const Manifest *manifest, const Options *options, int done)
{
    server->runs =
        mem_array(manifest->connector_count + manifest->unit_count + 1, sizeof *server->runs);
    for (size_t i = 0; i < manifest->connector_count; i++) {
        const ConnectorSpec *connector = &manifest->connectors[i];
        bool relays = options->command == COMMAND_CAPTURE;
        bool ingests = options->command == COMMAND_INGEST;
        if (connector->state == STATE_STOPPED ||
            (relays || ingests) != (connector->stream != NULL) ||
            (ingests && !ingest_has_units(manifest, connector, options->unit))) {
            log_info("not running", LOG_T("connector", connector->meta.name));
            continue;
        }
        Run *run = &server->runs[server->run_count++];
        run->name = connector->meta.name;
        run->done_fd = done;
        run->flow = ingests  ? ingest_new(manifest, connector, options->unit)
                    : relays ? relay_new(connector, &options->resnapshot)
                             : pipeline_new(manifest, connector, &options->resnapshot);
    }
    for (size_t i = 0; i < manifest->unit_count; i++) {
        const IngestionUnitSpec *unit = &manifest->units[i];
        if (!ingests_topic(unit, options))
            continue;
        server->runs[server->run_count++] = (Run){
            .name = unit->meta.name, .done_fd = done, .flow = ingest_new_topic(manifest, unit)};
    }
    read_orders(server, options->orders);
    for (size_t i = 0; i < server->run_count; i++)
        server->runs[i].thread = thread_start("flow", run_flow, &server->runs[i]);
}

static sigset_t block_signals(void)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    return wanted;
}

/* NULL without an error where none is asked for. */
static HttpServer *http_start(const Options *options, const HttpHealth *health)
{
    Error err = {0};
    if (!options->http_address)
        return NULL;
    HttpServer *http = http_server_start(options->http_address, options->http_port, health, &err);
    if (http)
        log_info("serving", LOG_T("address", options->http_address),
                 LOG_U("port", http_server_port(http)));
    else
        log_error("no HTTP server", LOG_T("reason", err.code), LOG_T("error", err.message));
    return http;
}

int serve_maintenance(const Manifest *manifest, const Options *options)
{
    const HttpHealth health = {.healthy = healthy, .ready = healthy};
    sigset_t wanted = block_signals();
    HttpServer *http = http_start(options, &health);
    if (options->http_address && !http)
        return EXIT_REFUSED;
    Maintainer *maintainer = maintain_start(manifest);
    int signal;
    sigwait(&wanted, &signal);
    log_info("stopping", LOG_T("signal", sigabbrev_np(signal)));
    maintain_stop(maintainer);
    http_server_stop(http);
    return EXIT_OK;
}

int serve(const Manifest *manifest, const Options *options)
{
    sigset_t wanted = block_signals();
    int signals = signalfd(-1, &wanted, SFD_CLOEXEC);
    int done = eventfd(0, EFD_CLOEXEC);
    ASSERT(signals >= 0 && done >= 0);

    Server server = {.measures = options->command != COMMAND_INGEST};
    runs_start(&server, manifest, options, done);
    const HttpHealth health = {.healthy = healthy, .ready = ready, .context = &server};
    HttpServer *http = http_start(options, &health);
    if (options->http_address && !http)
        stop_all(&server);
    bool maintains = options->command != COMMAND_CAPTURE && !options->no_maintenance;
    Maintainer *maintainer = maintains ? maintain_start(manifest) : NULL;
    const ChannelClientOptions channel_options = {.host = options->channel_host,
                                                  .port = options->channel_port,
                                                  .ca_file = options->channel_ca,
                                                  .token_file = options->channel_token,
                                                  .flow = flow_told,
                                                  .ordered = ordered,
                                                  .context = &server};
    ChannelClient *channel = options->channel_host ? channel_client_start(&channel_options) : NULL;
    bool ended = wait_for_end(&server, options, signals, done);
    if (server.line_open)
        fputc('\n', stderr);
    if (!ended)
        _exit(EXIT_FAILED); /* threads are stuck in a call; everything durable is durable */
    for (size_t i = 0; i < server.run_count; i++)
        thread_join(server.runs[i].thread);
    maintain_stop(maintainer);
    int code = options->http_address && !http ? EXIT_REFUSED : outcome(&server);
    http_server_stop(http);
    channel_client_stop(channel);
    for (size_t i = 0; i < server.run_count; i++)
        supervised_free(server.runs[i].flow);
    free(server.runs);
    close(signals);
    close(done);
    return code;
}
