/* The agent's end of the channel (common/channel/channel.h has the words): a thread that finds the
 * operator, proves which Pod this is, and tells it once a second what is new. Nothing waits for it:
 * while no operator is there, the agent works on, and what is told afterwards is how things are
 * then.
 *
 *   gather.c   what there is to be told: this process's own metrics
 *   client.c   the connection */
#pragma once

#include "common/channel/channel.h"
#include "common/metrics.h"

/* --- gather.c --- */

/* Where a table's figures stand, and what was told of it on this connection. */
typedef struct GatheredTable {
    char *unit, *table;
    uint64_t hash;
#define CHANNEL_METRIC(field, member) Metric *field;
    CHANNEL_TABLE_NUMBERS(CHANNEL_METRIC)
#undef CHANNEL_METRIC
    ChannelTable told; /* its numbers */
    uint64_t told_on;  /* the number of that connection */
} GatheredTable;

typedef struct GatheredWhole {
    size_t figure; /* gather.c's number for it */
    Metric *metric;
} GatheredWhole;

typedef struct Gathered {
    size_t seen;           /* metrics, when it was looked at last */
    GatheredWhole *wholes; /* of the process, one for each label */
    size_t whole_count;
    GatheredTable *tables;
    size_t table_count, held;
    size_t *slots; /* by unit and table, open addressing: index + 1 */
    size_t slot_count;
} Gathered;
void gathered_done(Gathered *gathered);
/* Finds what was registered since. */
void gathered_look(Gathered *gathered);
/* The table's figures as they are now; its texts are the table's own. */
void gathered_read(const GatheredTable *table, ChannelTable *ret);
/* What metrics say of the process as a whole. */
void gathered_flow(const Gathered *gathered, ChannelFlow *flow);

/* --- client.c --- */

typedef struct ChannelClientOptions {
    const char *host; /* looked up anew for each attempt, and verified in the certificate */
    uint16_t port;
    const char *ca_file, *token_file; /* both read anew for each attempt */
    int64_t report_us;                /* 0: CHANNEL_REPORT_US */
    /* Phase, error, lag and freshness; the rest is gathered. From the client's thread. */
    void (*flow)(void *context, ChannelFlow *flow);
    /* What is asked of the process, from then on. From the client's thread; NULL: nobody asks. */
    void (*ordered)(void *context, const ChannelOrders *orders);
    void *context;
} ChannelClientOptions;

typedef struct ChannelClient ChannelClient;
void channel_client_stop(ChannelClient *client); /* NULL is fine; joins */
/* The options' texts outlive it. */
ChannelClient *channel_client_start(const ChannelClientOptions *options)
    OWNED_BY(channel_client_stop);
/* Whether the operator listens now; *ret_reason, of 64 bytes, is why not. */
bool channel_client_is_heard(ChannelClient *client, char *ret_reason);
