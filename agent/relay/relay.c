/* What agent/supervise runs again and again: one attempt, from open to close, in order. Whatever
 * ends it, everything it opened is closed here. */
#include "agent/relay/relay.h"

#include <stdlib.h>
#include <string.h>

#include "agent/relay/flow.h"
#include "common/crash.h"
#include "common/log.h"
#include "common/mem.h"

#define LINGER_US 3000 /* of rows before a checkpoint: commit → consumer within milliseconds */

void relay_fail(RelayFlow *flow, const Error *err)
{
    pthread_mutex_lock(&flow->lock);
    if (!atomic_load(&flow->failed)) {
        flow->error = *err;
        atomic_store(&flow->failed, true);
    }
    pthread_mutex_unlock(&flow->lock);
}

/* Where the stream goes on, by what the source was told and what the state says. {0, 0}: nothing
 * was sent yet. */
static bool find_start(RelayFlow *flow, RowPosition told, RowPosition *ret, Error *err)
{
    Position *sent = &flow->state.position;
    bool related;
    *ret = (RowPosition){0};
    if (!sent->source[0])
        return true;
    bool anchored = row_position_compare(flow->state.anchored, sent->at) == 0;
    const char *anchor = anchored ? flow->state.anchor : NULL; /* else the spool is further */
    if (!capture_adopt(flow->capture, sent, anchor, false, &related, err))
        return false;
    if (!related)
        return error_set(err, ERROR_CONFIG, "SourceChanged",
                         "topics were filled from %s, and Connector/%s reads %s now, which does "
                         "not go on from there; point it back, or load the tables again with "
                         "--resnapshot '*.*'",
                         sent->source, flow->relay->base.connector->meta.name,
                         capture_source(flow->capture));
    if (row_position_compare(told, sent->at) > 0)
        return error_set(err, ERROR_CONFIG, "SlotAhead",
                         "slot %s was confirmed to %llX, and the topics have everything up to %llX "
                         "alone: changes between are lost; load the tables again with --resnapshot "
                         "'*.*'",
                         flow->relay->base.connector->pg_slot, (unsigned long long)told.major,
                         (unsigned long long)sent->at.major);
    bool of_spool = relay_is_away(flow) || relay_spool_holds(flow);
    *ret = flow->transactional || of_spool || !told.major ? sent->at : told;
    return true;
}

static char *name_of(const SourceTable *source)
{
    return mem_format("%s.%s", source->schema_name, source->table_name);
}

/* Is what is asked for left to do, of a table that the state knows? */
static bool is_left(RelayFlow *flow, const CopyRequest *asked)
{
    size_t count = 0;
    const SourceTable *sources = flow->capture ? capture_tables(flow->capture, &count) : NULL;
    for (size_t i = 0; i < count; i++) {
        AUTO(mem_free) char *name = name_of(&sources[i]);
        const TableState *state = state_table(&flow->state, name);
        if (state && !table_state_is_done(state, asked->id))
            return true;
    }
    return false;
}

/* The stream can't go on from where the topics are, and somebody has asked for all tables: then
 * that is what --resnapshot '*.*' is, once for the request. */
static bool begins_anew(RelayFlow *flow, const Error *err)
{
    static const char *const lost[] = {"SlotMissing", "SlotLost",      "SlotAhead",
                                       "LogPurged",   "SourceChanged", "LogIncident"};
    static char every[] = "*.*", *everything[] = {every};
    static const TextList all = {.texts = everything, .count = 1};
    const CopyRequest *asked = &flow->requests[REQUEST_ASKED];
    Relay *relay = flow->relay;
    bool is_lost = false, wants_all = false;
    for (size_t i = 0; i < ARRAY_LEN(lost); i++)
        is_lost = is_lost || strcmp(err->code, lost[i]) == 0;
    for (size_t i = 0; i < asked->tables.count; i++)
        wants_all = wants_all || strcmp(asked->tables.texts[i], every) == 0;
    bool is_known = relay->anew && asked->id && strcmp(relay->anew, asked->id) == 0;
    if (!is_lost || !wants_all || is_known || !is_left(flow, asked))
        return false;
    log_warn("everything is copied again, as was asked for", LOG_T("connector", relay->base.name),
             LOG_T("id", asked->id), LOG_T("by", asked->by), LOG_T("reason", err->code),
             LOG_T("error", err->message));
    relay->base.resnapshot = &all;
    free(relay->anew);
    relay->anew = mem_strdup(asked->id);
    return true;
}

/* Everything begins anew: then nothing of what was sent before counts. */
static bool forgets_all(const RelayFlow *flow)
{
    size_t count;
    const SourceTable *sources = capture_tables(flow->capture, &count);
    for (size_t i = 0; i < count; i++) {
        AUTO(mem_free) char *name = name_of(&sources[i]);
        if (!supervised_resnapshots(&flow->relay->base, name))
            return false;
    }
    return true;
}

/* What the state knows, told to the source; the slot and the copy's snapshot in return. */
static bool prepare(RelayFlow *flow, RowPosition start, Error *err)
{
    CaptureState state = {0};
    AUTO(mem_free) bool *complete = mem_array(flow->table_count, sizeof *complete);
    for (size_t i = 0; i < flow->table_count; i++) {
        complete[i] = flow->tables[i].complete;
        state.known = state.known || !flow->tables[i].begins;
    }
    state.complete = complete;
    if (state.known)
        state.from = start;
    if (!capture_prepare(flow->capture, &state, &flow->copied, err))
        return false;
    flow->durable = state.known ? start : flow->copied.at;
    flow->checkpoint = flow->recorded = flow->durable;
    for (size_t i = 0; i < flow->table_count; i++) {
        RelayTable *table = &flow->tables[i];
        if (table->begins)
            table_state_begin(table->state, flow->copied.at, table->source->shape);
        if (table->begins && flow->relay->anew) /* which is what was asked for */
            table_state_again(table->state, flow->relay->anew, NULL, true);
        const ColumnsVersion *columns = table_state_columns(
            table->state, table->complete && row_position_compare(start, table->state->begun) > 0
                              ? start
                              : table->state->begun);
        if (!table_columns(flow, table, table->source->schema, columns, err))
            return false;
    }
    return true;
}

/* The slot is held by us from here on: has anybody confirmed meanwhile? */
static bool hold(RelayFlow *flow, RowPosition told, Error *err)
{
    RowPosition now;
    if (!capture_stream_start(flow->capture, err))
        return false;
    flow->holds = true;
    if (!capture_told(flow->capture, &now, err))
        return false;
    return row_position_compare(now, told) <= 0 ||
           error_set(err, ERROR_CONFLICT, "SlotMoved",
                     "another process has confirmed more to the source meanwhile; run one agent "
                     "per Connector");
}

/* Kafka, or what the spool knows of it while it is away. */
static bool open_downstream(RelayFlow *flow, Error *err)
{
    if (!relay_spool_open(flow, err))
        return false;
    if (!relay_open_kafka(flow, err)) {
        if (!relay_spool_away(flow, err))
            return false;
        kafka_producer_free(TAKE(flow->producer));
    }
    return relay_spool_state(flow, err);
}

static bool attempt(RelayFlow *flow, Error *err)
{
    RowPosition told, start = {0};
    const ConnectorSpec *connector = flow->relay->base.connector;
    const RecordsSpec *records = &flow->stream->records;
    supervised_phase(&flow->relay->base, PHASE_PENDING);
    flow->capture =
        capture_open(connector,
                     &(CaptureOptions){.stop = &flow->relay->base.stop,
                                       .origins = true,
                                       .commits = records->transactions,
                                       .messages = records->transactions && records->messages,
                                       .statements = records->schema_changes,
                                       .linger_us = LINGER_US},
                     err);
    /* unread first: opening Kafka fences whoever writes, and that may be a younger process that
     * holds the slot, while this one woke from a long sleep. Told before the state is read, which
     * is never behind it then: a younger one may go on from there while this one sleeps. */
    if (!flow->capture || !capture_unread(flow->capture, err) ||
        !capture_told(flow->capture, &told, err) || !open_downstream(flow, err))
        return false;
    if (!forgets_all(flow) && !find_start(flow, told, &start, err))
        return false;
    if (!relay_bind(flow, start, err) || !relay_others_open(flow, err) ||
        !prepare(flow, start, err) || (!told.major && !capture_told(flow->capture, &told, err)) ||
        !relay_copy_open(flow, err))
        return false;
    if (relay_stopping(flow))
        return true;
    if (connector->snapshot_mode == SNAPSHOT_ONLY)
        return relay_grow_on(flow, err) && relay_grow(flow, err) && relay_copy(flow, err);
    if (!hold(flow, told, err) || !relay_spool_begin(flow, err))
        return false;
    if (!relay_grow_on(flow, err) || (!flow->spooled && !relay_copy(flow, err)))
        return false;
    return relay_stopping(flow) || relay_stream(flow, err);
}

/* What the next flow has to know of this one. */
static void remember(const RelayFlow *flow)
{
    for (size_t i = 0; i < flow->table_count; i++) {
        const RelayTable *table = &flow->tables[i];
        if (!table->source || !atomic_load(&table->source->changed))
            continue;
        supervised_outdated(&flow->relay->base, table->name);
        log_info("columns changed while the table was copied: its copy begins anew",
                 LOG_T("table", table->name));
    }
}

static void begin_requests(RelayFlow *flow)
{
    copy_request_of(&flow->requests[REQUEST_DECLARED], flow->stream->resnapshot_id,
                    &flow->stream->resnapshot);
    supervised_request(&flow->relay->base, &flow->requests[REQUEST_ASKED]);
}

static bool run(Supervised *supervised, bool *ret_again, Error *err)
{
    RelayFlow *flow = mem_zalloc(sizeof *flow);
    flow->relay = (Relay *)supervised;
    flow->stream = flow->relay->stream;
    flow->transactional = flow->stream->delivery == DELIVERY_TRANSACTIONAL;
    pthread_mutex_init(&flow->lock, NULL);
    begin_requests(flow);
    bool ok = attempt(flow, err), anew = !ok && begins_anew(flow, err);
    *ret_again = anew || atomic_load(&flow->leaves);
    remember(flow);
    supervised_ended(supervised, flow->capture, atomic_load(&flow->rows), flow->transactions);
    relay_beside_close(flow);
    relay_copy_close(flow);
    relay_unbind(flow);
    relay_spool_close(flow);
    capture_close(flow->capture);
    pthread_mutex_destroy(&flow->lock);
    for (size_t i = 0; i < ARRAY_LEN(flow->requests); i++)
        copy_request_done(&flow->requests[i]);
    free(flow);
    return ok || anew;
}

static void relay_free(Supervised *supervised)
{
    supervised_done(supervised);
    free(((Relay *)supervised)->anew);
    free(supervised);
}

static const SupervisedKind kind = {.attempt = run, .free = relay_free};

Supervised *relay_new(const ConnectorSpec *connector, const TextList *resnapshot)
{
    ASSERT(connector->stream);
    Relay *relay = mem_zalloc(sizeof *relay);
    supervised_init(&relay->base, &kind, connector, resnapshot);
    relay->stream = connector->stream;
    relay_register(relay);
    return &relay->base;
}
