/* firn-operator: watches the three kinds and makes them run. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/http/http_client.h"
#include "common/http/http_server.h"
#include "common/thread.h"
#include "operator/crd/crd.h"
#include "operator/options.h"
#include "operator/page/page.h"
#include "operator/reconcile/reconcile.h"

#define DESCRIPTORS ((rlim_t)20480)

static int crds(const Options *options)
{
    for (const CrdKind *kind = crd_kinds; kind->kind; kind++) {
        json_t *definition = crd_definition(kind);
        Bytes text = {0};
        yaml_text_write(&text, definition);
        json_decref(definition);
        AUTO(mem_free)
        char *path =
            options->output ? mem_format("%s/%s.yaml", options->output, kind->plural) : NULL;
        FILE *file = path ? fopen(path, "we") : stdout;
        if (!path && kind != crd_kinds)
            puts("---");
        bool ok = file && fwrite(text.data, 1, text.used, file) == text.used;
        ok = (path ? file && fclose(file) == 0 : fflush(stdout) == 0) && ok;
        bytes_done(&text);
        if (!ok) {
            fprintf(stderr, "firn-operator: %s can't be written: %s\n", path ? path : "stdout",
                    strerrordesc_np(errno));
            return EXIT_FAILED;
        }
    }
    return EXIT_OK;
}

static int ask(const Options *options)
{
    Error err = {0};
    HttpAnswer answer = {0};
    AUTO(http_client_free) HttpClient *client = http_client_new(NULL, &err);
    HttpRequest request = {.method = "GET", .url = options->url, .answer_bytes_max = 65536};
    bool ok = client && http_send(client, &request, &answer, &err);
    if (ok)
        printf("%d %.*s\n", answer.status, (int)answer.body.used, (const char *)answer.body.data);
    else
        fprintf(stderr, "firn-operator: %s: %s\n", err.code, err.message);
    bool good = ok && answer.status == 200;
    http_answer_done(&answer);
    return good ? EXIT_OK : EXIT_FAILED;
}

/* --- run --- */

typedef struct Stopper {
    Api *api;
    int signals;
} Stopper;

static void wait_for_signal(void *argument)
{
    Stopper *stopper = argument;
    struct signalfd_siginfo info;
    while (read(stopper->signals, &info, sizeof info) != sizeof info && errno == EINTR) {
    }
    if (!api_stopping(stopper->api))
        log_info("stopping");
    api_stop(stopper->api);
}

static bool healthy(void *context, char *text, size_t text_bytes)
{
    (void)context;
    snprintf(text, text_bytes, "ok");
    return true;
}

/* One that waits for the lease is ready to take over. */
static bool ready(void *context, char *text, size_t text_bytes)
{
    const Operator *op = context;
    bool synced = operator_is_synced(op), works = operator_is_working(op);
    bool deaf = works && !operator_listens(op);
    snprintf(text, text_bytes, "%s",
             !synced ? "the first lists are not there yet"
             : deaf  ? "agents can't report, and nothing is made until they can: the log says why"
             : works ? "working"
                     : "waiting for the lease");
    return synced && !deaf;
}

static char *own_identity(void)
{
    char host[256] = "";
    const char *pod = getenv("POD_NAME");
    if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    return pod && *pod ? mem_strdup(pod) : mem_format("%s-%ld", host, (long)getpid());
}

/* With a connection of its own: the other is stopped. */
static void release(Lease *lease, const Options *options)
{
    ApiConfig *config;
    Error err = {0};
    if (!api_config_load(options->kubeconfig, &config, &err))
        return;
    AUTO(api_free) Api *api = api_new(config);
    lease_release(lease, api);
}

typedef struct ChannelNames {
    char *host, *secret;
} ChannelNames;

/* Called as the Lease is, in its namespace, unless other names are given. */
static ChannelOptions channel_options(const Options *options, const LeaseOptions *lease,
                                      ChannelNames *names)
{
    names->secret = mem_format("%s-channel", lease->name);
    names->host = mem_format("%s-channel.%s.svc", lease->name, lease->namespace_name);
    return (ChannelOptions){.address = options->channel_address,
                            .port = options->channel_port,
                            .host = options->channel_host ? options->channel_host : names->host,
                            .secret_namespace = lease->namespace_name,
                            .secret_name =
                                options->channel_secret ? options->channel_secret : names->secret,
                            .secret_is_foreign = options->channel_secret};
}

static bool works(void *context)
{
    return operator_is_working(context);
}

/* *ret NULL: there is none. False: it can't be served. */
static bool open_page(Api *api, const Options *options, Operator *op, Page **ret)
{
    const PageOptions page = {.address = options->page_address,
                              .port = options->page_port,
                              .proxy = options->page_proxy,
                              .user_header = options->page_header};
    const PageSource source = {.cache = operator_cache(op),
                               .reports = operator_reports(op),
                               .works = works,
                               .context = op};
    Error err = {0};
    *ret = NULL;
    if (!page.address)
        return true;
    *ret = page_start(api, &page, &source, &err);
    if (*ret)
        log_info("serving the page", LOG_T("address", page.address),
                 LOG_U("port", page_port(*ret)));
    else
        log_error("no page", LOG_T("reason", err.code), LOG_T("error", err.message));
    return *ret;
}

static int work(Api *api, const Options *options, const char *namespace_name)
{
    AUTO(mem_free)
    char *identity = options->identity ? mem_strdup(options->identity) : own_identity();
    LeaseOptions lease_options = {
        .namespace_name = options->lease_namespace ? options->lease_namespace : namespace_name,
        .name = options->lease_name,
        .identity = identity};
    OperatorOptions operator_options = {.namespaces = options->namespaces,
                                        .namespace_count = options->namespace_count,
                                        .agent = options->agent,
                                        .workers = options->workers,
                                        .cleanup_us = options->cleanup_us,
                                        .missing_us = options->missing_us,
                                        .figures_us = options->figures_us};
    ChannelNames names;
    const ChannelOptions channel = channel_options(options, &lease_options, &names);
    operator_options.channel = options->channel_address ? &channel : NULL;
    Lease *lease = options->leader_elect ? lease_new(api, &lease_options) : NULL;
    Operator *op = operator_new(api, &operator_options);
    const HttpHealth health = {.healthy = healthy, .ready = ready, .context = op};
    HttpServer *http = NULL;
    Page *page = NULL;
    Error err = {0};
    int code = EXIT_REFUSED;
    if (options->http_address)
        http = http_server_start(options->http_address, options->http_port, &health, &err);
    if (options->http_address && !http) {
        log_error("no HTTP server", LOG_T("reason", err.code), LOG_T("error", err.message));
    } else if (open_page(api, options, op, &page)) {
        if (http)
            log_info("serving", LOG_T("address", options->http_address),
                     LOG_U("port", http_server_port(http)));
        bool kept = operator_work(op, lease);
        code = kept ? EXIT_OK : EXIT_FAILED;
        if (!kept)
            log_error("the lease was lost: somebody else works now");
    }
    api_stop(api);
    http_server_stop(http);
    page_stop(page);
    operator_free(op);
    if (lease && code == EXIT_OK)
        release(lease, options);
    lease_free(lease);
    free(names.host);
    free(names.secret);
    return code;
}

/* Room for as many agents as are taken; more would only cost: libwebsockets keeps a place for each
 * descriptor that there may be. */
static void limit_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int run(const Options *options)
{
    ApiConfig *config;
    Error err = {0};
    if (!api_config_load(options->kubeconfig, &config, &err)) {
        fprintf(stderr, "firn-operator: %s: %s\n", err.code, err.message);
        return EXIT_REFUSED;
    }
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGTERM);
    sigaddset(&wanted, SIGINT);
    pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    signal(SIGPIPE, SIG_IGN);
    limit_descriptors();
    AUTO(mem_free) char *namespace_name = mem_strdup(config->namespace_name);
    Api *api = api_new(config);
    Stopper stopper = {.api = api, .signals = signalfd(-1, &wanted, SFD_CLOEXEC)};
    ASSERT(stopper.signals >= 0);
    Thread *thread = thread_start("signals", wait_for_signal, &stopper);
    int code = work(api, options, namespace_name);
    kill(getpid(), SIGTERM); /* which the thread waits for, unless it came */
    thread_join(thread);
    close(stopper.signals);
    api_free(api);
    return code;
}

int main(int argc, char **argv)
{
    Options options;
    int code;
    prctl(PR_SET_DUMPABLE, 0);
    mallopt(M_ARENA_MAX, 1); /* more would leave more holes, and no thread waits for this one */
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    trees_set_up();
    if (options_parse(argc, argv, &options, &code)) {
        log_setup(options.level, options.format);
        code = options.command == COMMAND_CRDS  ? crds(&options)
               : options.command == COMMAND_ASK ? ask(&options)
                                                : run(&options);
    }
    options_done(&options);
    return code;
}
