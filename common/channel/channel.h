/* The words that agents and the operator say to each other over the channel: a WebSocket with TLS,
 * one JSON object for each text message, named by its one member.
 *
 *   agent → operator   {"hello": {"version": 1, "token": "…", "agent": "0.1.0"}}
 *                      {"report": {"flow": {…}, "tables": [{…}, …], "whole": true}}
 *   operator → agent   {"welcome": {"version": 1}}
 *                      {"orders": {"pause": true, "resnapshot": "public.orders 17"}}
 *                      {"orders": {"rollback": "2026-11-22T00:00:00Z 18"}}
 *
 * hello is the first word of a connection, and no other is taken before welcome has answered it. A
 * report's flow is what the process is doing; its tables are those that are new or other than in
 * this connection's reports before. `whole` says that all of them were named by now: what was not
 * is there no more. An agent reports at most once a second, and at least every CHANNEL_SILENCE_S.
 *
 * Orders are all that is asked of the process now, whole: after welcome, when there are any, and
 * whenever they change. resnapshot, positions and rollback are the texts of the annotations of
 * those names (common/manifest/request.c); how far that is stands in a report's flow, by the
 * request's id.
 *
 * Either side may be older than the other: members and words that are not known are left out, a
 * number that is not there was not said, and a version only grows when that is not enough. Nothing
 * that is taken is longer than the limits here, or has two of these words. Who is refused is told
 * so by the close frame's reason, a code of one word.
 *
 * https://www.rfc-editor.org/rfc/rfc6455 */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

#define CHANNEL_VERSION 1
#define CHANNEL_PROTOCOL "firn.channel"
#define CHANNEL_AUDIENCE "firn-channel" /* of the ServiceAccount's token */
#define CHANNEL_PORT 8443
#define CHANNEL_MESSAGE_BYTES_MAX ((size_t)65536)
#define CHANNEL_TOKEN_BYTES_MAX ((size_t)8192)
#define CHANNEL_ORDER_BYTES_MAX ((size_t)32768)
#define CHANNEL_NAME_BYTES_MAX ((size_t)600) /* of a unit, of a table */
#define CHANNEL_ERROR_BYTES_MAX ((size_t)512)
#define CHANNEL_TABLES_MAX 100     /* in one message */
#define CHANNEL_MESSAGES_PER_S 8.0 /* an agent with many tables begins with many messages */
#define CHANNEL_REPORT_US INT64_C(1000000)
#define CHANNEL_SILENCE_S 10
#define CHANNEL_CLOSE_REFUSED 1008 /* RFC 6455, 7.4.1: policy violation */

#define CHANNEL_NOT_SAID INT64_MIN

/* field, member */
#define CHANNEL_FLOW_NUMBERS(X)                                                                    \
    X(lag_bytes, "lag")                                                                            \
    X(lag_records, "lagRecords")                                                                   \
    X(freshness_ms, "freshness")                                                                   \
    X(restarts, "restarts")                                                                        \
    X(dead_letters, "deadLetters")                                                                 \
    X(memory_bytes, "memory")                                                                      \
    X(partitions, "partitions")                                                                    \
    X(log_status, "logStatus")                                                                     \
    X(log_retained_bytes, "logRetained")                                                           \
    X(log_headroom_bytes, "logHeadroom")                                                           \
    X(log_headroom_s, "logSeconds")                                                                \
    X(confirmed, "confirmed")                                                                      \
    X(received, "received")                                                                        \
    X(retention_status, "retentionStatus")
#define CHANNEL_TABLE_NUMBERS(X)                                                                   \
    X(rows, "rows")                                                                                \
    X(changes, "changes")                                                                          \
    X(copying, "copying")                                                                          \
    X(copied, "copied")                                                                            \
    X(to_copy, "toCopy")                                                                           \
    X(commits, "commits")                                                                          \
    X(committed_s, "committedAt")                                                                  \
    X(upkeep, "upkeep")

#define CHANNEL_FIELD(field, member) int64_t field;

/* A process. log_status: as the metric firn_log_status; a headroom that is not said is unlimited.
 * retention_status: as firn_topic_retention_status. */
typedef struct ChannelFlow {
    char phase[16];         /* as phase_name has it */
    char reason[64];        /* of what is wrong: an error's code */
    char *error;            /* what it says; NULL: nothing is wrong */
    char request[64];       /* of what is asked for, its id; "": nothing */
    char request_state[16]; /* "Waiting", "Running", "Done", "Refused" */
    char request_why[208];  /* it is refused */
    char request_from[128],
        request_to[128]; /* where a table stood, and stands by it; "": not said */
    CHANNEL_FLOW_NUMBERS(CHANNEL_FIELD)
} ChannelFlow;

/* A table, by the unit that fills it and its name at the source. commits: 1 in the consumer that
 * commits it, 0 in the others. upkeep: as the metric firn_table_upkeep. */
typedef struct ChannelTable {
    char *unit;  /* of the process's own namespace; "": it goes into a topic */
    char *table; /* "public.orders" */
    CHANNEL_TABLE_NUMBERS(CHANNEL_FIELD)
} ChannelTable;

typedef struct ChannelReport {
    bool has_flow;
    ChannelFlow flow;
    ChannelTable *tables;
    size_t table_count;
    bool whole;
} ChannelReport;

typedef enum ChannelKind {
    CHANNEL_OTHER, /* a word of a version that is newer */
    CHANNEL_HELLO,
    CHANNEL_WELCOME,
    CHANNEL_REPORT,
    CHANNEL_ORDERS,
} ChannelKind;

/* What is asked of a process; texts are NULL where nothing is. */
#define CHANNEL_ORDER_TEXTS(X) X(resnapshot) X(positions) X(rollback)
#define CHANNEL_ORDER_TEXT(member) char *member;
typedef struct ChannelOrders {
    bool pause;
    CHANNEL_ORDER_TEXTS(CHANNEL_ORDER_TEXT)
} ChannelOrders;
void channel_orders_done(ChannelOrders *orders);
/* *to becomes a copy. */
void channel_orders_copy(ChannelOrders *to, const ChannelOrders *from);
bool channel_orders_equal(const ChannelOrders *a, const ChannelOrders *b);

typedef struct ChannelWord {
    ChannelKind kind;
    int64_t version; /* hello, welcome */
    char *token;     /* hello */
    char agent[64];  /* hello: its version */
    ChannelReport report;
    ChannelOrders orders;
} ChannelWord;

void channel_flow_clear(ChannelFlow *flow); /* nothing is said */
void channel_flow_done(ChannelFlow *flow);
void channel_table_clear(ChannelTable *table);
void channel_table_done(ChannelTable *table);
/* *to becomes a copy. */
void channel_flow_copy(ChannelFlow *to, const ChannelFlow *from);
bool channel_flow_equals(const ChannelFlow *a, const ChannelFlow *b);
bool channel_numbers_equal(const ChannelTable *a, const ChannelTable *b);
void channel_word_done(ChannelWord *word); /* wipes the token */

/* Appends a message; texts are cut and mended as the limits and UTF-8 ask. */
void channel_put_hello(Bytes *to, const char *token, const char *agent);
void channel_put_welcome(Bytes *to);
void channel_put_orders(Bytes *to, const ChannelOrders *orders);
void channel_put_report(Bytes *to, const ChannelReport *report);
/* DATA "BadWord": no such object. The word is the caller's, and empty after false. */
MUST_CHECK bool channel_take(const void *message, size_t bytes, ChannelWord *ret, Error *err);
