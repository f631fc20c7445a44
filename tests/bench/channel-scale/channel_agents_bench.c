/* links: firn_common */
/* Many agents in one process: each a connection of its own, with the real words and a real token.
 *
 *   channel_agents_bench HOST ADDRESS PORT CA.crt TOKENS     TOKENS: one a line, one agent each
 *
 * Every agent reports once a second, each time another lag and other rows of its unit's table
 * (agent N is unit uN's), and pings as agents do. On stdout a line "heard N" whenever the number of
 * those that were welcomed has changed; on stdin "retry N" makes agent N say that it retries,
 * "stream N" that it is well. Who is cut off comes again as agents do, after a pause. */
#include <fcntl.h>
#include <libwebsockets.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/channel/channel.h"
#include "common/clock.h"

#define AT_ONCE 100 /* that connect and are not welcomed yet */
#define TICK_US 50000
#define PAUSE_MIN_US INT64_C(250000)
#define PAUSE_MAX_US INT64_C(3000000)
#define PATIENCE_US INT64_C(20000000)
#define PING_S 9 /* as agent/channel/client.c */
#define DEAD_S 14

typedef struct Agent {
    char *token;
    struct lws *wsi;
    bool connecting, heard, hello, retries, due;
    int64_t again_us, pause_us, began_us, next_us;
    int64_t lag;
} Agent;

static struct {
    const char *host, *address;
    int port;
    struct lws_context *context;
    Agent *agents;
    size_t count;
    unsigned heard, connecting, said;
    lws_sorted_usec_list_t tick;
    char line[64];
    size_t line_used;
} all;

static void put_report(Bytes *word, Agent *agent)
{
    ChannelTable table;
    ChannelReport report = {.has_flow = true, .tables = &table, .table_count = 1, .whole = true};
    channel_flow_clear(&report.flow);
    snprintf(report.flow.phase, sizeof report.flow.phase,
             agent->retries ? "Retrying" : "Streaming");
    if (agent->retries) {
        snprintf(report.flow.reason, sizeof report.flow.reason, "HostUnreachable");
        report.flow.error = mem_strdup("db.example:5432: no route to host");
    }
    report.flow.lag_records = agent->lag++;
    report.flow.freshness_ms = agent->lag % 1000;
    report.flow.memory_bytes = 50000000;
    channel_table_clear(&table);
    table.unit = mem_format("u%zu", (size_t)(agent - all.agents));
    table.table = mem_format("t%zu", (size_t)(agent - all.agents));
    table.rows = table.changes = agent->lag * 1000;
    table.commits = table.upkeep = 1;
    channel_put_report(word, &report);
    channel_table_done(&table);
    channel_flow_done(&report.flow);
}

static void write_word(struct lws *wsi, Agent *agent)
{
    Bytes word = {0};
    bytes_reserve(&word, LWS_PRE);
    word.used = LWS_PRE;
    if (agent->hello) {
        channel_put_hello(&word, agent->token, "bench");
        agent->hello = false;
    } else {
        put_report(&word, agent);
        agent->due = false;
    }
    (void)lws_write(wsi, word.data + LWS_PRE, word.used - LWS_PRE, LWS_WRITE_TEXT);
    bytes_done(&word);
}

static void lost(Agent *agent)
{
    all.connecting -= agent->connecting;
    all.heard -= agent->heard;
    agent->connecting = agent->heard = false;
    agent->wsi = NULL;
    agent->again_us = clock_mono_us() + agent->pause_us / 2 + random() % (agent->pause_us / 2);
    agent->pause_us = agent->pause_us * 2 < PAUSE_MAX_US ? agent->pause_us * 2 : PAUSE_MAX_US;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t bytes)
{
    Agent *agent = lws_get_opaque_user_data(wsi);
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        agent->hello = true;
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE: /* welcome is all that is said */
        all.connecting -= agent->connecting;
        all.heard += !agent->heard;
        agent->connecting = false;
        agent->heard = agent->due = true;
        agent->pause_us = PAUSE_MIN_US;
        agent->next_us = clock_mono_us() + random() % 1000000;
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        if (agent->hello || agent->due)
            write_word(wsi, agent);
        return 0;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED:
        if (agent && agent->wsi)
            lost(agent);
        return 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, bytes);
    }
}

static void begin(Agent *agent)
{
    static const uint32_t none[] = {0};
    static const lws_retry_bo_t alive = {
        .retry_ms_table = none, .secs_since_valid_ping = PING_S, .secs_since_valid_hangup = DEAD_S};
    struct lws_client_connect_info info = {.context = all.context,
                                           .address = all.address,
                                           .port = all.port,
                                           .ssl_connection = LCCSCF_USE_SSL,
                                           .path = "/",
                                           .host = all.host,
                                           .origin = all.host,
                                           .protocol = CHANNEL_PROTOCOL,
                                           .local_protocol_name = CHANNEL_PROTOCOL,
                                           .alpn = "http/1.1",
                                           .opaque_user_data = agent,
                                           .retry_and_idle_policy = &alive,
                                           .pwsi = &agent->wsi};
    agent->connecting = true;
    agent->began_us = clock_mono_us();
    all.connecting++;
    if (!lws_client_connect_via_info(&info) && agent->connecting)
        lost(agent);
}

static void take_lines(void)
{
    char piece[64];
    ssize_t got = read(STDIN_FILENO, piece, sizeof piece);
    for (ssize_t i = 0; i < got; i++) {
        if (piece[i] != '\n' && all.line_used < sizeof all.line - 1) {
            all.line[all.line_used++] = piece[i];
            continue;
        }
        all.line[all.line_used] = '\0';
        all.line_used = 0;
        const char *space = strchr(all.line, ' ');
        size_t number = space ? strtoul(space + 1, NULL, 10) : all.count;
        if (number < all.count && all.agents[number].heard) {
            all.agents[number].retries = strncmp(all.line, "retry", 5) == 0;
            all.agents[number].due = true;
            lws_callback_on_writable(all.agents[number].wsi);
        }
    }
}

static void tick(lws_sorted_usec_list_t *sul)
{
    int64_t now_us = clock_mono_us();
    (void)sul;
    take_lines();
    for (size_t i = 0; i < all.count; i++) {
        Agent *agent = &all.agents[i];
        if (agent->heard && now_us >= agent->next_us) {
            agent->next_us += CHANNEL_REPORT_US;
            agent->due = true;
            lws_callback_on_writable(agent->wsi);
        } else if (agent->connecting && now_us - agent->began_us > PATIENCE_US && agent->wsi) {
            lws_set_timeout(agent->wsi, PENDING_TIMEOUT_KILLED_BY_PARENT, LWS_TO_KILL_ASYNC);
        } else if (!agent->heard && !agent->connecting && now_us >= agent->again_us &&
                   all.connecting < AT_ONCE) {
            begin(agent);
        }
    }
    if (all.said != all.heard) {
        all.said = all.heard;
        printf("heard %u\n", all.heard);
        fflush(stdout);
    }
    lws_sul_schedule(all.context, 0, &all.tick, tick, TICK_US);
}

static void read_tokens(const char *path)
{
    char line[CHANNEL_TOKEN_BYTES_MAX];
    FILE *file = fopen(path, "re");
    ASSERT(file);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        all.agents = mem_regrow(all.agents, all.count + 1, sizeof *all.agents);
        all.agents[all.count++] = (Agent){.token = mem_strdup(line), .pause_us = PAUSE_MIN_US};
    }
    fclose(file);
}

int main(int argc, char **argv)
{
    static const struct lws_protocols protocols[] = {
        {.name = CHANNEL_PROTOCOL, .callback = on_event, .rx_buffer_size = 512},
        {.name = NULL},
    };
    if (argc != 6) {
        fputs("channel_agents_bench HOST ADDRESS PORT CA.crt TOKENS\n", stderr);
        return 2;
    }
    all.host = argv[1];
    all.address = argv[2];
    all.port = (int)strtol(argv[3], NULL, 10);
    read_tokens(argv[5]);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max < 16384 ? limit.rlim_max : 16384;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    ASSERT(tls && SSL_CTX_load_verify_locations(tls, argv[4], NULL) == 1);
    SSL_CTX_set_mode(tls, SSL_MODE_RELEASE_BUFFERS);
    struct lws_context_creation_info info = {.port = CONTEXT_PORT_NO_LISTEN,
                                             .protocols = protocols,
                                             .gid = (gid_t)-1,
                                             .uid = (uid_t)-1,
                                             .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
                                             .provided_client_ssl_ctx = tls,
                                             .timeout_secs = 20,
                                             .connect_timeout_secs = 20};
    lws_set_log_level(0, NULL);
    all.context = lws_create_context(&info);
    ASSERT(all.context);
    lws_sul_schedule(all.context, 0, &all.tick, tick, TICK_US);
    while (lws_service(all.context, 0) >= 0) {
    }
    return 1;
}
