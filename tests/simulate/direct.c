/* PostgreSQL into tables in one process: a source with a slot, an agent (capture thread, two
 * writers), and at times one more that was taken for dead and wakes. */
#include <stdio.h>

#include "tests/simulate/world.h"

#define AGENTS 2
#define WRITERS 2
#define EVENTS 1500
#define TXNS 500
#define QUEUE 24
#define SECOND INT64_C(1000000)

typedef struct SourceEvent {
    RowPosition at;
    uint32_t table;
    bool truncate;
    uint64_t hash;
} SourceEvent;

typedef struct Txn {
    uint64_t commit, end;
    uint32_t first, count;
} Txn;

/* The model: what a table holds after each of its events. */
typedef struct Content {
    RowPosition at;
    uint64_t content;
} Content;

typedef struct Source {
    int32_t name;
    uint64_t lsn;
    uint32_t event_count, txn_count;
    SourceEvent events[EVENTS];
    Txn txns[TXNS];
    uint32_t content_counts[TABLES];
    Content contents[TABLES][EVENTS];
    uint64_t slot; /* confirmed */
    uint32_t active, active_incarnation;
} Source;

typedef enum ItemKind { ITEM_ROW, ITEM_TRUNCATE, ITEM_CHECKPOINT } ItemKind;
typedef struct Item {
    ItemKind kind;
    uint32_t table;
    RowPosition at;
    uint64_t hash;
} Item;

typedef struct Writer {
    Item items[QUEUE];
    uint32_t head, count;
} Writer;

typedef struct AgentTable {
    Follow follow;
    uint64_t content, files, layout, rows;
    bool clears, streams;
    uint32_t uuid, version;
    RowPosition from;
    CommitBody sent;
} AgentTable;

typedef enum Phase { PHASE_SLOT, PHASE_RECORD, PHASE_TABLES, PHASE_RUN, PHASE_ENDED } Phase;

typedef struct Agent {
    bool alive, asleep, waits;
    uint32_t number, incarnation;
    int64_t wakes_us;
    Phase phase;
    int32_t source;
    RowPosition slot;
    bool has_record;
    RecordBody record; /* as read; version: as read or written last */
    uint32_t opening;
    AgentTable tables[TABLES];
    Writer writers[WRITERS];
    Confirm confirm;
    RowPosition lows[WRITERS];
    RecordEntry entries[TABLES];
    RowPosition confirmed;
    uint32_t txn, event;
    char source_text[8];
} Agent;

struct Direct {
    World *world;
    Source source;
    Agent agents[AGENTS];
    uint32_t primary;
    uint32_t incarnations;
    bool names_positions;
    bool filled[TABLES]; /* before the connector was pointed elsewhere */
};

static Direct direct;

/* ---------- source and model ---------- */
static uint64_t model_at(uint32_t table, RowPosition at)
{
    uint32_t low = 0, high = direct.source.content_counts[table];
    const Content *contents = direct.source.contents[table];
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (row_position_compare(contents[middle].at, at) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? contents[low - 1].content : 0;
}

/* Events of the table up to there. */
static uint32_t events_to(uint32_t table, RowPosition at)
{
    uint32_t count = 0;
    const Content *contents = direct.source.contents[table];
    for (uint32_t i = direct.source.content_counts[table]; i-- > 0;)
        if (row_position_compare(contents[i].at, at) <= 0) {
            count = i + 1;
            break;
        }
    return count;
}

static RowPosition source_end(void)
{
    return (RowPosition){direct.source.lsn, 0};
}

static void produce(World *world)
{
    Source *source = &direct.source;
    uint32_t count = 1 + chance_below(world, 6);
    if (source->txn_count == TXNS || source->event_count + count > EVENTS)
        return;
    Txn *txn = &source->txns[source->txn_count++];
    *txn = (Txn){.commit = source->lsn + chance_below(world, 3),
                 .first = source->event_count,
                 .count = count};
    txn->end = txn->commit + 1 + chance_below(world, 3);
    source->lsn = txn->end;
    for (uint32_t i = 0; i < count; i++) {
        /* the last table is idle most of the time */
        uint32_t table = chance_below(world, world->table_count * 4 - 3) / 4;
        SourceEvent *event = &source->events[source->event_count++];
        *event =
            (SourceEvent){{txn->commit, i + 1}, table, chance(world, 3), chance_next(world) | 2};
        uint32_t at = source->content_counts[table]++;
        Content *content = &source->contents[table][at];
        content->at = event->at;
        content->content = event->truncate ? 0 : event->hash + (at ? content[-1].content : 0);
    }
    trace(world, "source commits %u changes at %lu, end %lu", count, (unsigned long)txn->commit,
          (unsigned long)txn->end);
}

static bool content_of(World *world, uint32_t table, const CommitBody *body, uint64_t *ret)
{
    if (body->source != 0 && direct.filled[table])
        return broke(world, LAW_STALL_SEEN, "table %u took rows of another source", table);
    *ret = model_at(table, body->lanes[0].passed);
    return true;
}

static bool landed(World *world, uint32_t table, const CommitBody *body)
{
    return world && table < TABLES && body;
}

/* ---------- an agent ---------- */
static void restart(World *world, Agent *agent)
{
    agent->incarnation = ++direct.incarnations;
    agent->alive = true;
    agent->asleep = agent->waits = false;
    agent->phase = PHASE_SLOT;
    agent->source = direct.source.name;
    agent->confirmed = (RowPosition){0};
    for (uint32_t i = 0; i < WRITERS; i++)
        agent->writers[i].head = agent->writers[i].count = 0;
    trace(world, "agent %u starts as %u", agent->number, agent->incarnation);
}

static Request *ask(World *world, Agent *agent, RequestKind kind, uint32_t table)
{
    return lake_ask(world, kind, agent->number, agent->incarnation, table);
}

static void perform(World *world, Agent *agent, uint32_t number, FollowAction action);

static void settled(Agent *agent, uint32_t number)
{
    AgentTable *table = &agent->tables[number];
    table->content = table->rows = table->files = 0;
    table->clears = false;
    if (!table->streams) {
        table->streams = true;
        table->from = table->follow.durable;
    }
    RecordEntry entry;
    follow_entry(&table->follow, &entry);
    confirm_entry(&agent->confirm, number, &entry);
}

/* After a commit of ours, the files it left are those that pending deletes may name. */
static uint64_t layout_of(const LakeTable *lake, int64_t snapshot)
{
    for (uint32_t i = lake->count; i-- > 0;)
        if (lake->snapshots[i].id == snapshot)
            return lake->snapshots[i].layout;
    ASSERT(false);
}

static void send_commit(World *world, Agent *agent, uint32_t number, FollowAction action)
{
    AgentTable *table = &agent->tables[number];
    if (action.kind == FOLLOW_COMMIT) {
        if (!table->files)
            table->files = (uint64_t)++world->ids;
        table->sent = (CommitBody){.id = ++world->ids,
                                   .asserts_head = action.head,
                                   .uuid = table->uuid,
                                   .version = table->version,
                                   .lane_count = 1,
                                   .source = agent->source,
                                   .clears = table->clears,
                                   .content = table->content,
                                   .names_positions = direct.names_positions,
                                   .layout = table->layout,
                                   .files = table->files};
        table->sent.lanes[0].passed = action.position;
    }
    trace(world, "agent %u table %u: %s %ld at %lu.%lu on %ld", agent->number, number,
          action.kind == FOLLOW_COMMIT ? "commit" : "resend", (long)table->sent.id,
          (unsigned long)action.position.major, (unsigned long)action.position.minor,
          (long)action.head);
    ask(world, agent, REQUEST_COMMIT, number)->commit = table->sent;
}

static void copy(World *world, Agent *agent, uint32_t number)
{
    AgentTable *table = &agent->tables[number];
    RowPosition at = source_end();
    table->clears = true;
    table->content = model_at(number, at);
    follow_begin(&table->follow, at, world->now_us);
    perform(world, agent, number, follow_tick(&table->follow, world->now_us, 0, true));
}

static void perform(World *world, Agent *agent, uint32_t number, FollowAction action)
{
    AgentTable *table = &agent->tables[number];
    Request *request;
    switch (action.kind) {
    case FOLLOW_NOTHING:
        if (follow_is_settled(&table->follow) && !table->follow.pending) {
            table->layout = layout_of(&world->tables[number], table->follow.snapshot);
            settled(agent, number);
        }
        return;
    case FOLLOW_CREATE:
        ask(world, agent, REQUEST_CREATE, number);
        return;
    case FOLLOW_COPY:
        copy(world, agent, number);
        return;
    case FOLLOW_STREAM:
        table->streams = true;
        table->from = action.position;
        settled(agent, number);
        return;
    case FOLLOW_COMMIT:
    case FOLLOW_RESEND:
        send_commit(world, agent, number, action);
        return;
    case FOLLOW_LOAD:
        request = ask(world, agent, REQUEST_LOAD, number);
        request->look_for = action.commit;
        request->since_head = action.head;
        return;
    case FOLLOW_REOPEN:
        trace(world, "agent %u table %u: reopen", agent->number, number);
        if (action.files_may_go && table->files)
            lake_delete_files(world, table->files);
        restart(world, agent);
        return;
    case FOLLOW_STALL:
        agent->phase = PHASE_ENDED;
        stalled(world, action.reason, "table");
    }
}

/* ---------- opening ---------- */
static void open_tables(World *world, Agent *agent)
{
    agent->phase = PHASE_TABLES;
    agent->waits = false;
    snprintf(agent->source_text, sizeof agent->source_text, "%s", source_name(agent->source));
    confirm_init(&agent->confirm, agent->lows,
                 world->table_count < WRITERS ? world->table_count : WRITERS, agent->entries,
                 world->table_count, SECOND / 2);
    for (uint32_t i = 0; i < world->table_count; i++) {
        AgentTable *table = &agent->tables[i];
        FollowOptions options = {.source = agent->source_text,
                                 .interval_us = SECOND / 2,
                                 .bytes_max = 12,
                                 .names_positions = direct.names_positions};
        follow_init(&table->follow, &options);
        table->streams = table->clears = false;
        table->content = table->files = table->rows = 0;
        ask(world, agent, REQUEST_LOAD, i);
    }
}

static void open_table(World *world, Agent *agent, uint32_t number, Request *answer)
{
    AgentTable *table = &agent->tables[number];
    const RecordEntry *entry = NULL;
    Position recorded = {.at = agent->record.at};
    snprintf(recorded.source, sizeof recorded.source, "%s", source_name(agent->record.source));
    if (agent->has_record && agent->record.entries[number].uuid[0])
        entry = &agent->record.entries[number];
    table->uuid = answer->uuid;
    table->version = answer->version;
    table->layout = answer->layout;
    perform(world, agent, number,
            follow_open(&table->follow, &answer->view, entry, agent->has_record ? &recorded : NULL,
                        world->now_us));
}

static void perform_confirm(World *world, Agent *agent, ConfirmAction action);

static void start_stream(World *world, Agent *agent)
{
    RowPosition from[TABLES];
    for (uint32_t i = 0; i < world->table_count; i++) {
        if (!agent->tables[i].streams)
            return;
        from[i] = agent->tables[i].from;
    }
    ConfirmAction action = confirm_start(&agent->confirm, from, agent->slot);
    if (action.kind == CONFIRM_STALL) {
        agent->phase = PHASE_ENDED;
        stalled(world, action.reason, "connector");
        return;
    }
    Source *source = &direct.source;
    source->active = agent->number;
    source->active_incarnation = agent->incarnation;
    ConfirmAction held = confirm_held(&agent->confirm, (RowPosition){source->slot, 0});
    if (held.kind != CONFIRM_NOTHING) {
        perform_confirm(world, agent, held);
        return;
    }
    uint64_t start = action.position.major;
    if (start < source->slot) /* where the server starts, without a word */
        broke(world, LAW_STREAM_WHOLE, "agent %u asked for %lu, the source starts at %lu",
              agent->number, (unsigned long)start, (unsigned long)source->slot);
    agent->txn = agent->event = 0;
    while (agent->txn < source->txn_count && source->txns[agent->txn].end <= start)
        agent->txn++;
    agent->phase = PHASE_RUN;
    trace(world, "agent %u streams from %lu", agent->number, (unsigned long)start);
}

/* ---------- running ---------- */
static bool connected(const Agent *agent)
{
    return direct.source.active == agent->number &&
           direct.source.active_incarnation == agent->incarnation;
}

static void put(Agent *agent, uint32_t writer, Item item)
{
    Writer *to = &agent->writers[writer];
    ASSERT(to->count < QUEUE);
    to->items[(to->head + to->count++) % QUEUE] = item;
}

static void capture(World *world, Agent *agent)
{
    const Source *source = &direct.source;
    if (!connected(agent)) {
        agent->alive = agent->number == direct.primary;
        if (agent->alive)
            restart(world, agent);
        return;
    }
    for (uint32_t i = 0; i < WRITERS; i++)
        if (agent->writers[i].count + 2 > QUEUE)
            return;
    if (agent->txn == source->txn_count)
        return;
    const Txn *txn = &source->txns[agent->txn];
    RowPosition checkpoint = {txn->end, 0};
    if (agent->event < txn->count) {
        const SourceEvent *event = &source->events[txn->first + agent->event++];
        put(agent, event->table % WRITERS,
            (Item){event->truncate ? ITEM_TRUNCATE : ITEM_ROW, event->table, event->at,
                   event->hash});
        if (agent->event == txn->count || !chance(world, 10))
            return;
        checkpoint = event->at; /* a large transaction */
    } else {
        agent->txn++;
        agent->event = 0;
    }
    for (uint32_t i = 0; i < WRITERS; i++)
        put(agent, i, (Item){.kind = ITEM_CHECKPOINT, .at = checkpoint});
    confirm_received(&agent->confirm, checkpoint);
}

static void apply(World *world, Agent *agent, uint32_t writer, const Item *item)
{
    AgentTable *table = &agent->tables[item->table];
    if (item->kind == ITEM_CHECKPOINT) {
        for (uint32_t i = writer; i < world->table_count; i += WRITERS)
            follow_checkpoint(&agent->tables[i].follow, item->at);
        return;
    }
    if (!follow_row(&table->follow, item->at, world->now_us))
        return;
    table->rows++;
    if (item->kind == ITEM_TRUNCATE) {
        table->content = 0;
        table->clears = true;
    } else {
        table->content += item->hash;
    }
}

static void write_step(World *world, Agent *agent, uint32_t number)
{
    Writer *writer = &agent->writers[number];
    bool settled_all = true;
    for (uint32_t i = number; i < world->table_count; i += WRITERS)
        settled_all &= follow_is_settled(&agent->tables[i].follow);
    if (settled_all && writer->count) {
        apply(world, agent, number, &writer->items[writer->head]);
        writer->head = (writer->head + 1) % QUEUE;
        writer->count--;
    }
    uint32_t incarnation = agent->incarnation;
    RowPosition low = {UINT64_MAX, UINT64_MAX};
    for (uint32_t i = number; i < world->table_count; i += WRITERS) {
        AgentTable *table = &agent->tables[i];
        FollowAction action =
            follow_tick(&table->follow, world->now_us, table->rows, chance(world, 1));
        if (action.kind != FOLLOW_NOTHING)
            perform(world, agent, i, action);
        if (agent->incarnation != incarnation || agent->phase != PHASE_RUN)
            return;
        RowPosition at = follow_low(&table->follow);
        if (row_position_compare(at, low) < 0)
            low = at;
    }
    if (number < world->table_count)
        confirm_low(&agent->confirm, number, low);
}

/* ---------- confirming ---------- */
static void tell_source(World *world, Agent *agent)
{
    Source *source = &direct.source;
    uint64_t at = agent->confirmed.major;
    if (!connected(agent) || at <= source->slot || fault(world, 20))
        return;
    source->slot = at;
    trace(world, "source is told %lu", (unsigned long)at);
    RowPosition told = {at, 0};
    if (!world->has_record || row_position_compare(world->record.at, told) < 0)
        broke(world, LAW_RECORD_FIRST, "the source was told %lu, the record has less",
              (unsigned long)at);
    for (uint32_t i = 0; i < world->table_count; i++) {
        const LakeTable *table = &world->tables[i];
        if (table->disturbed)
            continue;
        RowPosition has = table->now.has_claim ? table->now.lanes[0].passed : (RowPosition){0};
        if (!table->now.has_claim || events_to(i, told) > events_to(i, has))
            broke(world, LAW_CONFIRM_LATE, "the source was told %lu, table %u is at %lu.%lu",
                  (unsigned long)at, i, (unsigned long)has.major, (unsigned long)has.minor);
    }
}

static void perform_confirm(World *world, Agent *agent, ConfirmAction action)
{
    Request *request;
    switch (action.kind) {
    case CONFIRM_NOTHING:
        return;
    case CONFIRM_WRITE_RECORD:
        request = ask(world, agent, REQUEST_RECORD_WRITE, 0);
        request->record = (RecordBody){
            .version = agent->record.version, .at = action.position, .source = agent->source};
        memcpy(request->record.entries, agent->entries, sizeof agent->entries);
        for (uint32_t i = 0; i < TABLES; i++)
            request->record.entries[i].source = source_name(agent->source);
        return;
    case CONFIRM_READ_RECORD:
        ask(world, agent, REQUEST_RECORD_READ, 0);
        return;
    case CONFIRM_SOURCE:
        agent->confirmed = action.position;
        tell_source(world, agent);
        return;
    case CONFIRM_REOPEN:
        restart(world, agent);
        return;
    case CONFIRM_START:
    case CONFIRM_STALL:
        ASSERT(false);
    }
}

static void act(World *world, Agent *agent)
{
    switch (agent->phase) {
    case PHASE_SLOT:
        agent->slot = (RowPosition){direct.source.slot, 0};
        agent->phase = PHASE_RECORD;
        return;
    case PHASE_RECORD:
        if (!agent->waits)
            ask(world, agent, REQUEST_RECORD_READ, 0);
        agent->waits = true;
        return;
    case PHASE_TABLES:
        for (uint32_t i = 0; i < world->table_count && agent->phase == PHASE_TABLES; i++) {
            FollowAction action = follow_tick(&agent->tables[i].follow, world->now_us, 0, false);
            if (action.kind != FOLLOW_NOTHING)
                perform(world, agent, i, action);
        }
        if (agent->phase == PHASE_TABLES)
            start_stream(world, agent);
        return;
    case PHASE_RUN:
        break;
    case PHASE_ENDED:
        return;
    }
    uint32_t what = chance_below(world, 8);
    if (what < 3)
        capture(world, agent);
    else if (what < 7)
        write_step(world, agent, what % WRITERS);
    else
        perform_confirm(world, agent, confirm_tick(&agent->confirm, world->now_us, false));
    if (what == 7 && agent->phase == PHASE_RUN)
        tell_source(world, agent);
}

/* ---------- answers ---------- */
static void record_answered(World *world, Agent *agent, Request *answer)
{
    if (answer->kind == REQUEST_RECORD_WRITE) {
        if (answer->answer == ANSWER_DONE)
            agent->record.version = answer->version;
        perform_confirm(world, agent,
                        confirm_written(&agent->confirm, answer->answer, world->now_us));
        return;
    }
    if (answer->answer == ANSWER_UNKNOWN) {
        agent->waits = false;
        if (agent->phase == PHASE_RUN)
            perform_confirm(world, agent, confirm_read_failed(&agent->confirm, world->now_us));
        return;
    }
    agent->record = answer->record;
    agent->has_record = answer->record_exists;
    if (agent->phase == PHASE_RECORD)
        open_tables(world, agent);
    else
        perform_confirm(world, agent,
                        confirm_read(&agent->confirm,
                                     answer->record_exists && answer->record.source == agent->source
                                         ? answer->record.at
                                         : (RowPosition){0}));
}

static void load_answered(World *world, Agent *agent, Request *answer)
{
    uint32_t number = answer->table;
    AgentTable *table = &agent->tables[number];
    bool opening = !table->streams && table->follow.state != FOLLOW_LOADING;
    bool failed = answer->answer != ANSWER_DONE;
    if (table->follow.state == FOLLOW_LOADING && !table->follow.commit)
        opening = true;
    if (opening && failed)
        ask(world, agent, REQUEST_LOAD, number);
    else if (opening)
        open_table(world, agent, number, answer);
    else if (failed)
        perform(world, agent, number, follow_load_failed(&table->follow, world->now_us));
    else {
        table->version = answer->version;
        perform(world, agent, number, follow_loaded(&table->follow, &answer->view, world->now_us));
    }
}

static void answered(World *world, Request *answer)
{
    Agent *agent = &direct.agents[answer->process];
    if (!agent->alive || agent->incarnation != answer->incarnation || agent->phase == PHASE_ENDED)
        return;
    if (agent->asleep) {
        lake_answer_later(world, answer, agent->wakes_us);
        return;
    }
    AgentTable *table = &agent->tables[answer->table];
    switch (answer->kind) {
    case REQUEST_RECORD_READ:
    case REQUEST_RECORD_WRITE:
        record_answered(world, agent, answer);
        return;
    case REQUEST_CREATE:
        ask(world, agent, REQUEST_LOAD, answer->table);
        return;
    case REQUEST_LOAD:
        load_answered(world, agent, answer);
        return;
    case REQUEST_COMMIT:
        trace(world, "agent %u table %u: answer %d to %ld", agent->number, answer->table,
              answer->answer, (long)answer->commit.id);
        if (answer->answer == ANSWER_DONE)
            table->version = answer->version;
        perform(world, agent, answer->table,
                follow_answered(&table->follow, answer->answer, answer->commit.id, answer->sequence,
                                world->now_us));
    }
}

/* ---------- what goes wrong ---------- */
/* The process is taken for dead: another one starts, and this one may wake. */
static void fall_asleep(World *world)
{
    Agent *sleeper = &direct.agents[direct.primary];
    sleeper->asleep = true;
    sleeper->wakes_us = world->now_us + (int64_t)chance_below(world, 8000) * 1000;
    direct.primary = (direct.primary + 1) % AGENTS;
    trace(world, "agent %u falls asleep", sleeper->number);
    restart(world, &direct.agents[direct.primary]);
}

static void disaster(World *world)
{
    uint32_t table = chance_below(world, world->table_count);
    Source *source = &direct.source;
    switch (chance_below(world, 5)) {
    case 0:
        lake_rollback(world, table);
        return;
    case 1:
        lake_put_back(world, table, true);
        return;
    case 2:
        if (world->has_record && world->record.entries[table].uuid[0])
            world->must_stall = world->tables[table].now.exists;
        lake_drop(world, table);
        return;
    case 3: /* the slot is moved while nobody holds it */
        restart(world, &direct.agents[direct.primary]);
        source->active_incarnation = 0;
        source->slot = source->lsn;
        for (uint32_t i = 0; i < world->table_count; i++)
            world->tables[i].disturbed = true;
        world->justified |= 1U << STALL_SLOT_AHEAD;
        world->struck = true;
        trace(world, "the slot is moved to %lu", (unsigned long)source->slot);
        return;
    default:
        for (uint32_t i = 0; i < world->table_count; i++) {
            direct.filled[i] = world->tables[i].now.has_claim && world->tables[i].now.exists;
            world->must_stall |= direct.filled[i];
        }
        source->name = 1;
        world->justified |= 1U << STALL_SOURCE_CHANGED;
        world->struck = true;
        trace(world, "the connector is pointed at another server");
        restart(world, &direct.agents[direct.primary]);
    }
}

static void go_wrong(World *world)
{
    Agent *primary = &direct.agents[direct.primary];
    uint32_t what = chance_below(world, 100);
    world->faults++;
    if (what < 70)
        lake_foreign(world, chance_below(world, world->table_count));
    else if (what < 85)
        restart(world, primary);
    else
        fall_asleep(world);
}

/* ---------- a seed ---------- */
static bool at_the_end(World *world)
{
    const Agent *agent = &direct.agents[direct.primary];
    if (agent->phase != PHASE_RUN || direct.source.slot != direct.source.lsn)
        return false;
    for (uint32_t i = 0; i < world->table_count; i++) {
        const LakeTable *table = &world->tables[i];
        const Snapshot *head = lake_head(table);
        if (!table->now.has_claim || !head || head->content != model_at(i, source_end()))
            return false;
    }
    return true;
}

static void step(World *world)
{
    world->now_us += (int64_t)chance_below(world, world->calm ? 60 : 30) * 1000;
    Request answer;
    if (lake_serve(world, &answer))
        answered(world, &answer);
    if (!world->calm && chance(world, 8))
        produce(world);
    if (!world->calm && chance_below(world, 1000) < world->fault_percent)
        go_wrong(world);
    for (uint32_t i = 0; i < AGENTS; i++) {
        Agent *agent = &direct.agents[i];
        if (agent->asleep && agent->wakes_us <= world->now_us) {
            agent->asleep = false;
            trace(world, "agent %u wakes", i);
        }
        if (agent->alive && !agent->asleep && (i == direct.primary || chance(world, 40)))
            act(world, agent);
    }
    world->step++;
}

static void begin(World *world)
{
    lake_init(world, 1 + chance_below(world, TABLES));
    Source *source = &direct.source;
    source->name = 0;
    source->lsn = 100;
    source->event_count = source->txn_count = 0;
    memset(source->content_counts, 0, sizeof source->content_counts);
    source->slot = 100;
    source->active_incarnation = 0;
    direct.world = world;
    direct.incarnations = 0;
    direct.primary = 0;
    memset(direct.filled, 0, sizeof direct.filled);
    direct.names_positions = chance(world, 60);
    for (uint32_t i = 0; i < AGENTS; i++) {
        direct.agents[i].number = i;
        direct.agents[i].alive = false;
        direct.agents[i].asleep = false;
    }
    world->content = content_of;
    world->landed = landed;
    restart(world, &direct.agents[0]);
}

bool direct_run(World *world, uint64_t steps)
{
    begin(world);
    uint64_t struck_at = steps / 3 + chance_below(world, (uint32_t)(steps / 2) + 1);
    while (world->step < steps && !world->broken && !world->stalled) {
        if (world->disaster && !world->struck && world->step >= struck_at)
            disaster(world);
        step(world);
    }
    world->calm = true;
    direct.agents[1 - direct.primary].alive = false;
    if (world->struck && !world->stalled)
        restart(world, &direct.agents[direct.primary]);
    while (!world->broken && !world->stalled && (world->must_stall || !at_the_end(world))) {
        step(world);
        if (world->step > steps + STEPS_CALM)
            broke(world, world->struck ? LAW_STALL_SEEN : LAW_CONVERGES,
                  "not at the source's end after %d steps without faults", STEPS_CALM);
    }
    return !world->broken;
}
