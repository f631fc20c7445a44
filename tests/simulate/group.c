/* A topic into one table by several consumers: workers, coordinators (more than one when somebody
 * has slept), a control topic that loses, delays and doubles, staged files. */
#include "tests/simulate/topic.h"

#define PROCS 3
#define MESSAGES 160
#define FILES 4096
#define ANSWERED 32
#define MS INT64_C(1000)

typedef struct File {
    uint32_t stamp; /* of the seed; another: free */
    PieceId id;
    uint64_t content;
    bool durable, deleted, in_table;
} File;

typedef struct Message {
    uint32_t to;
    int64_t at_us;
    bool is_report;
    Announcement announcement;
    LaneValue lanes[LANES];
    char source[8];
    Report report;
} Message;

typedef struct Staging {
    bool on;
    PieceId piece;
} Staging;

typedef struct Proc {
    bool asleep, member, came_to_load, whole_round;
    uint32_t number, incarnation;
    int64_t wakes_us;
    uint64_t known_generation;
    Worker worker;
    WorkerLane worker_lanes[LANES];
    uint64_t reads[LANES];
    int32_t reads_topic[LANES];
    Staging staging[LANES];
    Coordinator coordinator;
    CoordinatorLane coordinator_lanes[LANES];
    LaneValue values[LANES];
    uint32_t uuid, version;
    uint64_t round_generation, round_serial;
    CommitBody sent;
} Proc;

typedef struct Answered {
    uint64_t generation, serial;
} Answered;

struct Group {
    World *world;
    Topic topics[2]; /* the second: made anew under the same name */
    int32_t topic;
    Proc procs[PROCS];
    uint64_t generation;
    uint32_t owner[LANES]; /* PROCS: nobody */
    int64_t rebalance_us;  /* 0: none is due */
    uint32_t incarnations, stamp;
    bool confirmed; /* offsets of the group */
    bool filled;    /* when the topic was made anew */
    Message messages[MESSAGES];
    uint32_t message_count;
    File files[FILES];
    Answered answered[LANES][ANSWERED];
    uint32_t answered_count[LANES];
    uint64_t landed_generation, landed_serial;
};

static Group group;

static Topic *topic(void)
{
    return &group.topics[group.topic];
}

/* ---------- staged files ---------- */
static File *file_at(PieceId id)
{
    uint64_t slot = id.worker * 977 + id.number;
    for (;; slot++) {
        File *file = &group.files[slot % FILES];
        if (file->stamp != group.stamp) {
            *file = (File){.stamp = group.stamp, .id = id};
            return file;
        }
        if (file->id.worker == id.worker && file->id.number == id.number)
            return file;
    }
}

static void discard(World *world, PieceId id)
{
    File *file = file_at(id);
    file->deleted = true;
    trace(world, "  files %lu/%lu are deleted", (unsigned long)id.worker, (unsigned long)id.number);
    if (file->in_table)
        broke(world, LAW_FILES, "staged files %lu/%lu are in the table, and deleted",
              (unsigned long)id.worker, (unsigned long)id.number);
}

/* ---------- laws ---------- */
static bool content_of(World *world, uint32_t table, const CommitBody *body, uint64_t *ret)
{
    (void)table;
    if (body->source && group.filled)
        return broke(world, LAW_STALL_SEEN, "rows of a topic that was made anew are in the table");
    const Topic *of = &group.topics[body->source];
    if (!topic_values(world, of, body))
        return false;
    *ret = topic_content(of, body->lanes, body->lane_count);
    return true;
}

static bool landed(World *world, uint32_t table, const CommitBody *body)
{
    for (uint32_t i = 0; i < body->piece_count; i++) {
        File *file = file_at(body->pieces[i]);
        file->in_table = true;
        if (file->deleted || !file->durable)
            broke(world, LAW_FILES, "commit %ld has staged files %lu/%lu, which are not there",
                  (long)body->id, (unsigned long)file->id.worker, (unsigned long)file->id.number);
    }
    /* a stale view can hide the first snapshot of a round: what is left then makes another */
    if (!body->serial || world->tables[table].disturbed || world->reads_stale)
        return true;
    if (group.landed_generation == body->generation && group.landed_serial == body->serial)
        broke(world, LAW_ONE_SNAPSHOT, "round %lu of generation %lu made two snapshots",
              (unsigned long)body->serial, (unsigned long)body->generation);
    group.landed_generation = body->generation;
    group.landed_serial = body->serial;
    return true;
}

static void check_round(World *world, Proc *proc)
{
    const Coordinator *coordinator = &proc->coordinator;
    if (!proc->whole_round ||
        world->now_us - coordinator->round_us >= coordinator->options.deadline_us)
        return;
    for (uint32_t lane = 0; lane < coordinator->table_lanes; lane++) {
        bool found = false;
        for (uint32_t i = 0; i < ANSWERED && !found; i++)
            found = group.answered[lane][i].generation == proc->round_generation &&
                    group.answered[lane][i].serial == proc->round_serial;
        if (!found)
            broke(world, LAW_ROUND_WHOLE, "round %lu of generation %lu did not wait for lane %u",
                  (unsigned long)proc->round_serial, (unsigned long)proc->round_generation, lane);
    }
}

/* ---------- the control topic ---------- */
static void post(World *world, uint32_t to, const Message *message)
{
    uint32_t copies = fault(world, 25) ? 0 : fault(world, 15) ? 2 : 1;
    for (; copies && group.message_count < MESSAGES; copies--) {
        Message *put = &group.messages[group.message_count++];
        put->to = to;
        put->is_report = message->is_report;
        put->at_us = world->now_us + (1 + chance_below(world, fault(world, 40) ? 5000 : 40)) * MS;
        if (message->is_report) {
            Report *report = &put->report;
            memcpy(report, &message->report, offsetof(Report, pieces));
            memcpy(report->pieces, message->report.pieces, report->count * sizeof *report->pieces);
        } else {
            put->announcement = message->announcement;
            memcpy(put->lanes, message->lanes, sizeof put->lanes);
            memcpy(put->source, message->source, sizeof put->source);
        }
    }
}

static void pump(World *world, Proc *proc);

static void deliver(World *world)
{
    uint32_t start = group.message_count ? chance_below(world, group.message_count) : 0;
    for (uint32_t k = 0; k < group.message_count; k++) {
        uint32_t at = (start + k) % group.message_count;
        Message *message = &group.messages[at];
        Proc *proc = &group.procs[message->to];
        if (message->at_us > world->now_us || proc->asleep)
            continue;
        if (message->is_report) {
            coordinator_reported(&proc->coordinator, &message->report, world->now_us);
        } else {
            message->announcement.source = message->source;
            message->announcement.lanes = message->lanes;
            worker_announced(&proc->worker, &message->announcement);
        }
        if (at != --group.message_count)
            group.messages[at] = group.messages[group.message_count];
        pump(world, proc);
        return;
    }
}

/* ---------- processes ---------- */
static void restart(World *world, Proc *proc)
{
    static const CoordinatorOptions options = {.interval_us = 400 * MS,
                                               .quiet_us = 1000 * MS,
                                               .enough_rows = 4,
                                               .deadline_us = 900 * MS,
                                               .repeat_us = 200 * MS,
                                               .gap_us = 2000 * MS,
                                               .doubt_us = COMMIT_STALE_US};
    proc->incarnation = ++group.incarnations;
    proc->asleep = proc->member = false;
    proc->known_generation = 0;
    worker_init(&proc->worker, proc->incarnation, proc->worker_lanes, LANES, 12);
    coordinator_init(&proc->coordinator, &options, proc->coordinator_lanes, proc->values, LANES);
    for (uint32_t i = 0; i < LANES; i++)
        proc->staging[i].on = false;
    group.rebalance_us = world->now_us + chance_below(world, 2000) * MS;
    trace(world, "process %u starts as %u", proc->number, proc->incarnation);
}

static void rebalance(World *world)
{
    group.generation++;
    group.rebalance_us = 0;
    uint32_t members[PROCS], count = 0;
    for (uint32_t i = 0; i < PROCS; i++)
        if (group.procs[i].member)
            members[count++] = i;
    uint32_t shift = chance_below(world, PROCS);
    for (uint32_t lane = 0; lane < LANES; lane++)
        group.owner[lane] =
            count && lane < topic()->lane_count ? members[(lane + shift) % count] : PROCS;
    trace(world, "generation %lu: %u members, lane 0 is %u's", (unsigned long)group.generation,
          count, group.owner[0]);
}

/* The consumer hears of the group. */
static void poll(World *world, Proc *proc)
{
    if (!proc->member) {
        proc->member = true;
        rebalance(world);
    }
    if (proc->known_generation == group.generation)
        return;
    proc->known_generation = group.generation;
    uint32_t lanes[LANES], count = 0;
    for (uint32_t lane = 0; lane < LANES; lane++)
        if (group.owner[lane] == proc->number)
            lanes[count++] = lane;
    worker_assigned(&proc->worker, lanes, count);
    Coordinator *coordinator = &proc->coordinator;
    if (group.owner[0] == proc->number) {
        if (coordinator->state == COORDINATOR_IDLE)
            proc->came_to_load = false;
        coordinator_start(coordinator, group.generation, world->now_us);
    } else if (coordinator->state != COORDINATOR_IDLE) {
        coordinator_stop(coordinator);
    }
    pump(world, proc);
}

/* ---------- what workers do ---------- */
static void seek(Proc *proc, uint32_t lane, uint64_t next)
{
    const TopicLane *of = &topic()->lanes[lane];
    proc->reads[lane] = next;
    proc->reads_topic[lane] = group.topic;
    worker_sought(&proc->worker, lane, source_name(group.topic), of->start, of->end);
    /* no offset yet: from the first one that there is */
    if (next < of->start)
        proc->reads[lane] = of->start;
}

static void report(World *world, const Report *from)
{
    uint32_t lane = from->lane;
    group.answered[lane][group.answered_count[lane]++ % ANSWERED] =
        (Answered){from->generation, from->serial};
    Message message = {.is_report = true};
    memcpy(&message.report, from, sizeof *from);
    for (uint32_t i = 0; i < PROCS; i++)
        if (group.procs[i].coordinator.state != COORDINATOR_IDLE)
            post(world, i, &message);
}

static void work(World *world, Proc *proc, const WorkerAction *action)
{
    switch (action->kind) {
    case WORKER_SEEK:
        seek(proc, action->lane, action->next);
        return;
    case WORKER_STAGE:
        proc->staging[action->lane] = (Staging){true, action->piece};
        return;
    case WORKER_DISCARD:
        discard(world, action->piece);
        return;
    case WORKER_REPORT:
        report(world, action->report);
    }
}

static void stage(World *world, Proc *proc, uint32_t lane)
{
    Staging *staging = &proc->staging[lane];
    bool ok = !fault(world, 10);
    staging->on = false;
    if (ok)
        file_at(staging->piece)->durable = true;
    worker_staged(&proc->worker, lane, staging->piece, ok);
}

static void read_lane(World *world, Proc *proc, uint32_t number)
{
    Worker *worker = &proc->worker;
    const TopicLane *lane = &topic()->lanes[number];
    uint64_t *reads = &proc->reads[number];
    if (proc->reads_topic[number] != group.topic || *reads < lane->start) {
        proc->reads_topic[number] = group.topic;
        worker_sought(worker, number, source_name(group.topic), lane->start, lane->end);
        return;
    }
    uint32_t at = topic_find(lane, *reads);
    if (at == lane->count) {
        if (lane->end > *reads)
            worker_gap(worker, number, lane->end);
        *reads = lane->end;
        return;
    }
    const Record *record = &lane->records[at];
    if (record->offset > *reads && chance(world, 30)) {
        *reads = record->offset;
        worker_gap(worker, number, *reads);
        return;
    }
    *reads = record->offset + 1;
    PieceId piece;
    if (record->barrier.kind)
        worker_marker(worker, number, record->offset, &record->barrier);
    else if (worker_row(worker, number, record->offset, record->at, &piece))
        file_at(piece)->content += record->hash;
}

/* ---------- what coordinators do ---------- */
static void announce(World *world, Proc *proc, const Announcement *announcement)
{
    if (!proc->came_to_load)
        broke(world, LAW_LOAD_FIRST, "process %u announces positions it has not loaded",
              proc->number);
    if (announcement->asks && (announcement->serial != proc->round_serial ||
                               announcement->generation != proc->round_generation)) {
        proc->round_generation = announcement->generation;
        proc->round_serial = announcement->serial;
        proc->whole_round = true;
    }
    if (!announcement->asks && !fault(world, 20))
        group.confirmed = true;
    Message message = {.announcement = *announcement};
    ASSERT(announcement->lane_count <= LANES);
    memcpy(message.lanes, announcement->lanes,
           announcement->lane_count * sizeof *announcement->lanes);
    memcpy(message.source, announcement->source, strlen(announcement->source) + 1);
    for (uint32_t i = 0; i < PROCS; i++)
        post(world, i, &message);
}

static uint64_t layout_of(const World *world, int64_t head)
{
    const LakeTable *table = &world->tables[0];
    for (uint32_t i = table->count; i-- > 0;)
        if (table->snapshots[i].id == head)
            return table->snapshots[i].layout;
    return 0;
}

static void build(World *world, Proc *proc, const CoordinatorAction *action)
{
    const Coordinator *coordinator = &proc->coordinator;
    CommitBody *body = &proc->sent;
    *body = (CommitBody){.id = ++world->ids,
                         .asserts_head = action->head,
                         .uuid = proc->uuid,
                         .version = proc->version,
                         .lane_count = action->lane_count,
                         .source = strcmp(coordinator->source, source_name(1)) == 0,
                         .clears = action->barrier->kind == BARRIER_TRUNCATE,
                         .names_positions = true,
                         .layout = layout_of(world, coordinator->known.head)};
    if (!action->barrier->kind) {
        body->generation = proc->round_generation;
        body->serial = proc->round_serial;
        check_round(world, proc);
    }
    for (uint32_t lane = 0; lane < action->lane_count; lane++) {
        uint32_t count;
        const Piece *pieces = coordinator_taken(coordinator, lane, &count, &body->lanes[lane]);
        for (uint32_t i = 0; i < count; i++) {
            if (!pieces[i].rows)
                continue;
            ASSERT(body->piece_count < PIECES_OF_COMMIT);
            body->pieces[body->piece_count++] = pieces[i].id;
            body->content += file_at(pieces[i].id)->content;
        }
    }
    proc->whole_round = false;
    for (uint32_t lane = 0; lane < action->lane_count; lane++)
        trace(world, "  lane %u to (%lu, %lu.%lu)", lane, (unsigned long)body->lanes[lane].next,
              (unsigned long)body->lanes[lane].passed.major,
              (unsigned long)body->lanes[lane].passed.minor);
    trace(world, "process %u commits %ld on %ld: %u pieces, barrier %d", proc->number,
          (long)body->id, (long)action->head, body->piece_count, action->barrier->kind);
}

static void coordinate(World *world, Proc *proc, const CoordinatorAction *action)
{
    Request *request;
    switch (action->kind) {
    case COORDINATOR_LOAD:
        proc->whole_round = false;
        request = lake_ask(world, REQUEST_LOAD, proc->number, proc->incarnation, 0);
        request->ticket = action->ticket;
        request->look_for = action->commit;
        request->since_head = action->head;
        return;
    case COORDINATOR_ANNOUNCE:
        announce(world, proc, &action->announcement);
        return;
    case COORDINATOR_COMMIT:
        build(world, proc, action);
        __attribute__((fallthrough));
    case COORDINATOR_RESEND:
        request = lake_ask(world, REQUEST_COMMIT, proc->number, proc->incarnation, 0);
        request->ticket = action->ticket;
        request->commit = proc->sent;
        return;
    case COORDINATOR_STALL:
        stalled(world, action->reason, "unit");
    }
}

static void pump(World *world, Proc *proc)
{
    WorkerAction work_action;
    while (worker_next(&proc->worker, &work_action))
        work(world, proc, &work_action);
    CoordinatorAction action;
    while (!world->stalled && coordinator_next(&proc->coordinator, &action))
        coordinate(world, proc, &action);
}

/* A table's, without a claim. */
static LaneValue start_of(const TopicLane *lane)
{
    LaneValue start = {.next = lane->start};
    for (uint32_t i = 0; i < lane->count && lane->records[i].offset < lane->start; i++)
        if (lane->records[i].barrier.kind == BARRIER_LANES_ADDED)
            start.passed = lane->records[i].barrier.at;
    return start;
}

static void answered(World *world, Request *answer)
{
    Proc *proc = &group.procs[answer->process];
    if (proc->incarnation != answer->incarnation)
        return;
    if (proc->asleep) {
        lake_answer_later(world, answer, proc->wakes_us);
        return;
    }
    Coordinator *coordinator = &proc->coordinator;
    if (answer->ticket != coordinator->ticket) {
        /* of an earlier term: the machine will not have it either */
    } else if (answer->answer == ANSWER_DONE) {
        proc->version = answer->version;
        proc->came_to_load = true;
        if (answer->kind == REQUEST_LOAD)
            proc->uuid = answer->uuid;
    }
    if (answer->kind == REQUEST_COMMIT) {
        trace(world, "process %u: answer %d to %ld", proc->number, answer->answer,
              (long)answer->commit.id);
        coordinator_answered(coordinator, answer->ticket, answer->answer, answer->commit.id,
                             answer->sequence, world->now_us);
    } else if (answer->answer == ANSWER_DONE) {
        LaneValue starts[LANES];
        for (uint32_t i = 0; i < LANES; i++)
            starts[i] = start_of(&topic()->lanes[i]);
        TopicView view = {source_name(group.topic), topic()->lane_count, starts, group.confirmed,
                          false};
        coordinator_loaded(coordinator, answer->ticket, &answer->view, &view, world->now_us);
    } else {
        coordinator_load_failed(coordinator, answer->ticket, world->now_us);
    }
    pump(world, proc);
}

static void act(World *world, Proc *proc)
{
    uint32_t what = chance_below(world, 8);
    if (what == 0 || !proc->known_generation) {
        poll(world, proc);
        return;
    }
    if (what == 1) {
        const Coordinator *coordinator = &proc->coordinator;
        coordinator_tick(&proc->coordinator, world->now_us);
        if (coordinator->state == COORDINATOR_GATHERING &&
            world->now_us - coordinator->round_us >= coordinator->options.deadline_us)
            broke(world, LAW_ROUND_ENDS, "round %lu of generation %lu goes on past its deadline",
                  (unsigned long)proc->round_serial, (unsigned long)proc->round_generation);
    } else {
        uint32_t lane = chance_below(world, topic()->lane_count);
        if (proc->staging[lane].on)
            stage(world, proc, lane);
        for (uint32_t i = 0; i < 3 && worker_reads(&proc->worker, lane); i++)
            read_lane(world, proc, lane);
    }
    pump(world, proc);
}

/* ---------- what goes wrong ---------- */
static void fall_asleep(World *world, Proc *proc)
{
    proc->asleep = true;
    proc->wakes_us = world->now_us + chance_below(world, 8000) * MS;
    if (chance(world, 80)) { /* the group notices; else its lanes just don't answer */
        proc->member = false;
        group.rebalance_us = world->now_us + chance_below(world, 1500) * MS;
    }
    trace(world, "process %u falls asleep", proc->number);
}

static void go_wrong(World *world)
{
    uint32_t what = chance_below(world, 100);
    Proc *proc = &group.procs[chance_below(world, PROCS)];
    world->faults++;
    if (what < 45)
        lake_foreign(world, 0);
    else if (what < 60)
        topic_repeat(world, topic());
    else if (what < 75)
        restart(world, proc);
    else if (what < 90)
        fall_asleep(world, proc);
    else
        group.rebalance_us = world->now_us + 1;
}

/* Retention removes what the table has. */
static void retain(World *world)
{
    const Meta *meta = &world->tables[0].now;
    if (!meta->has_claim || meta->claim_source != group.topic)
        return;
    uint32_t lane = chance_below(world, meta->lane_count);
    TopicLane *of = &topic()->lanes[lane];
    if (of->start < meta->lanes[lane].next)
        of->start += chance_below(world, (uint32_t)(meta->lanes[lane].next - of->start) + 1);
}

static void truncate_topic(World *world)
{
    const Meta *meta = &world->tables[0].now;
    if (!meta->has_claim)
        return;
    uint32_t lane = chance_below(world, meta->lane_count);
    TopicLane *of = &topic()->lanes[lane];
    if (of->end < meta->lanes[lane].next + 2)
        return;
    of->start = of->end;
    world->struck = true;
    world->justified |= 1U << STALL_TOPIC_TRUNCATED;
    trace(world, "lane %u is truncated to %lu", lane, (unsigned long)of->start);
}

static void make_topic_anew(World *world)
{
    const Meta *meta = &world->tables[0].now;
    group.filled = meta->has_claim && meta->exists;
    group.topic = 1;
    group.confirmed = false; /* offsets go with the topic */
    topic_init(world, topic());
    for (uint32_t i = 0; i < 300; i++)
        topic_produce(world, topic());
    topic_write(world, topic(), chance_below(world, 200));
    world->must_stall = group.filled;
    world->struck = true;
    world->justified |= 1U << STALL_SOURCE_CHANGED;
    group.rebalance_us = world->now_us + 1;
    trace(world, "the topic is made anew");
}

static void add_lane_unannounced(World *world)
{
    const Meta *meta = &world->tables[0].now;
    Topic *to = topic();
    if (!meta->has_claim || meta->lane_count != to->lane_count || to->lane_count == LANES ||
        to->order[to->order_count - 1].lanes != to->lane_count)
        return;
    TopicLane *lane = &to->lanes[to->lane_count++];
    lane->records[lane->count++] =
        (Record){.offset = lane->end++, .at = {1000, 0}, .hash = 4, .passed = {1000, 0}};
    to->sealed = true;
    world->must_stall = world->struck = true;
    world->justified |= 1U << STALL_LANE_UNANNOUNCED;
    group.rebalance_us = world->now_us + 1;
    trace(world, "lane %u is added by somebody else", to->lane_count - 1);
}

static void disaster(World *world, uint32_t kind)
{
    switch (kind) {
    case 0:
        lake_rollback(world, 0);
        return;
    case 1:
        lake_put_back(world, 0, group.confirmed);
        return;
    case 2:
        if (group.confirmed)
            lake_drop(world, 0);
        world->must_stall = world->struck;
        return;
    case 3:
        truncate_topic(world);
        return;
    case 4:
        make_topic_anew(world);
        return;
    default:
        add_lane_unannounced(world);
    }
}

/* ---------- a seed ---------- */
static bool at_the_end(World *world)
{
    const LakeTable *table = &world->tables[0];
    const Meta *meta = &table->now;
    const Topic *of = topic();
    const Snapshot *head = lake_head(table);
    if (of->cursor < of->order_count || !meta->has_claim || !head ||
        meta->lane_count != of->lane_count || meta->claim_source != group.topic)
        return false;
    for (uint32_t i = 0; i < of->lane_count; i++)
        if (meta->lanes[i].next != of->lanes[i].end)
            return false;
    return head->content == topic_content(of, meta->lanes, meta->lane_count);
}

static void produce(World *world)
{
    if (!world->calm && chance(world, 30))
        for (uint32_t i = 1 + chance_below(world, 6); i > 0; i--)
            topic_produce(world, topic());
    if (chance(world, 30) && topic_write(world, topic(), 1 + chance_below(world, 8)))
        group.rebalance_us = world->now_us + chance_below(world, 1000) * MS;
    if (!world->calm && chance(world, 3))
        topic_gap(world, topic());
    if (!world->calm && chance(world, 3))
        retain(world);
}

static void step(World *world)
{
    world->now_us += chance_below(world, world->calm ? 60 : 30) * MS;
    Request answer;
    if (lake_serve(world, &answer))
        answered(world, &answer);
    deliver(world);
    produce(world);
    if (!world->calm && chance_below(world, 1000) < world->fault_percent)
        go_wrong(world);
    if (group.rebalance_us && group.rebalance_us <= world->now_us)
        rebalance(world);
    for (uint32_t i = 0; i < PROCS && !world->stalled; i++) {
        Proc *proc = &group.procs[i];
        if (proc->asleep && proc->wakes_us <= world->now_us) {
            proc->asleep = false;
            trace(world, "process %u wakes", i);
        }
        if (!proc->asleep)
            act(world, proc);
    }
    world->step++;
}

static void begin(World *world)
{
    lake_init(world, 1);
    world->tables[0].now = (Meta){.exists = true, .uuid = ++world->uuids, .head = -1, .version = 1};
    group.world = world;
    group.topic = 0;
    topic_init(world, topic());
    topic_produce(world, topic());
    group.generation = 0;
    group.incarnations = 0;
    group.stamp++;
    group.filled = group.confirmed = false;
    group.message_count = 0;
    group.landed_generation = group.landed_serial = 0;
    memset(group.answered, 0, sizeof group.answered);
    memset(group.answered_count, 0, sizeof group.answered_count);
    for (uint32_t i = 0; i < LANES; i++)
        group.owner[i] = PROCS;
    world->content = content_of;
    world->landed = landed;
    for (uint32_t i = 0; i < PROCS; i++) {
        group.procs[i].number = i;
        restart(world, &group.procs[i]);
    }
}

/* For a trace of a seed that does not end. */
static void describe(const World *world)
{
    const Meta *meta = &world->tables[0].now;
    trace(world, "the table has %u lanes, the topic %u; the producer is at %u of %u",
          meta->lane_count, topic()->lane_count, topic()->cursor, topic()->order_count);
    for (uint32_t i = 0; i < topic()->lane_count; i++)
        trace(world, "lane %u: table at %lu, holds %lu to %lu, is %u's", i,
              (unsigned long)meta->lanes[i].next, (unsigned long)topic()->lanes[i].start,
              (unsigned long)topic()->lanes[i].end, group.owner[i]);
    for (uint32_t p = 0; p < PROCS; p++) {
        const Proc *proc = &group.procs[p];
        trace(world, "process %u: generation %lu, coordinator %d serial %lu, heard %lu.%lu", p,
              (unsigned long)proc->known_generation, proc->coordinator.state,
              (unsigned long)proc->coordinator.serial, (unsigned long)proc->worker.generation,
              (unsigned long)proc->worker.serial);
        for (uint32_t i = 0; i < topic()->lane_count; i++) {
            const WorkerLane *lane = &proc->worker_lanes[i];
            const CoordinatorLane *chain = &proc->coordinator_lanes[i];
            trace(world,
                  "  lane %u: owned %d placed %d waits %d refused %d count %u at %lu from %lu; "
                  "chain %u at %lu",
                  i, lane->owned, lane->placed, lane->waits, lane->refused, lane->count,
                  (unsigned long)lane->at.next, (unsigned long)lane->committed.next, chain->count,
                  (unsigned long)chain->at.next);
        }
    }
}

bool group_run(World *world, uint64_t steps)
{
    begin(world);
    uint64_t struck_at = steps / 3 + chance_below(world, (uint32_t)(steps / 2) + 1);
    uint32_t kind = chance_below(world, 6);
    while (world->step < steps && !world->broken && !world->stalled) {
        if (world->disaster && !world->struck && world->step >= struck_at)
            disaster(world, kind);
        step(world);
    }
    world->calm = true;
    for (uint32_t i = 0; i < PROCS; i++)
        if (world->struck && !world->stalled)
            restart(world, &group.procs[i]);
    while (!world->broken && !world->stalled && (world->must_stall || !at_the_end(world))) {
        step(world);
        if (world->step <= steps + STEPS_CALM)
            continue;
        describe(world);
        broke(world, world->struck ? LAW_STALL_SEEN : LAW_CONVERGES,
              "not at the topic's end after %d steps without faults", STEPS_CALM);
    }
    return !world->broken;
}
