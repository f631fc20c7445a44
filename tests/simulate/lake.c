/* Catalog and store: tables as lists of snapshots, compare and swap, stale reads, a record beside
 * them; requests whose effect or answer is lost, late or doubled; foreign writers. */
#include <stdio.h>

#include "tests/simulate/world.h"

#define NEVER INT64_MAX
#define MS INT64_C(1000)

void lake_uuid(uint32_t uuid, char ret[TABLE_UUID_BYTES])
{
    memset(ret, 0, TABLE_UUID_BYTES);
    ret[0] = 'u';
    for (int i = 0; i < 8; i++)
        ret[1 + i] = (char)('a' + (uuid >> 4 * i & 15));
}

void lake_init(World *world, uint32_t tables)
{
    world->table_count = tables;
    for (uint32_t i = 0; i < tables; i++) {
        LakeTable *table = &world->tables[i];
        table->now = (Meta){.head = -1};
        table->before_count = table->count = 0;
        table->disturbed = false;
    }
}

/* The state that was is kept for stale reads. */
static Meta *change(World *world, LakeTable *table)
{
    table->before[table->before_count++ % METAS] = table->now;
    table->now.version++;
    table->now.since_us = world->now_us;
    return &table->now;
}

static int32_t find(const LakeTable *table, int64_t id)
{
    for (uint32_t i = table->count; i-- > 0;)
        if (table->snapshots[i].id == id)
            return (int32_t)i;
    return -1;
}

bool lake_is_ancestor(const LakeTable *table, int32_t head, int64_t id)
{
    for (int32_t at = head; at >= 0; at = table->snapshots[at].parent)
        if (table->snapshots[at].id == id)
            return true;
    return false;
}

static Snapshot *add(World *world, LakeTable *table, int64_t id)
{
    if (table->count == SNAPSHOTS)
        return NULL;
    Meta *meta = change(world, table);
    Snapshot *snapshot = &table->snapshots[table->count];
    const Snapshot *head = lake_head(table);
    *snapshot = head ? *head : (Snapshot){.layout = ++world->layouts};
    snapshot->id = id;
    snapshot->parent = meta->head;
    snapshot->sequence = ++meta->sequence;
    snapshot->foreign = FOREIGN_NOTHING;
    snapshot->ours = snapshot->expired = false;
    meta->head = (int32_t)table->count++;
    return snapshot;
}

/* ---------- requests ---------- */
static int64_t after(World *world, uint32_t ms)
{
    return world->now_us + (1 + chance_below(world, ms)) * MS;
}

Request *lake_ask(World *world, RequestKind kind, uint32_t process, uint32_t incarnation,
                  uint32_t table)
{
    static Request nowhere;
    Request *request =
        world->request_count < REQUESTS ? &world->requests[world->request_count++] : &nowhere;
    request->kind = kind;
    request->process = process;
    request->incarnation = incarnation;
    request->table = table;
    request->ticket = 0;
    request->look_for = request->since_head = 0;
    request->happened = request->stale = false;
    request->effect_at = after(world, 60);
    request->answer_at = request->effect_at + (1 + chance_below(world, 60)) * MS;
    request->again_at = NEVER;
    request->lost = fault(world, 30);
    if (!request->lost)
        return request;
    /* never arrives; arrives, and the answer does not; arrives when nobody waits any more */
    uint32_t how = chance_below(world, 4);
    if (how == 0)
        request->effect_at = NEVER;
    else if (how == 1)
        request->effect_at = request->answer_at + (int64_t)chance_below(world, 6000) * MS;
    else if (how == 2)
        request->again_at = request->effect_at + (int64_t)chance_below(world, 3000) * MS;
    return request;
}

static Foreign done_since(const LakeTable *table, const Meta *meta, int64_t since)
{
    Foreign most = FOREIGN_NOTHING;
    for (int32_t at = meta->head; at >= 0; at = table->snapshots[at].parent) {
        if (table->snapshots[at].id == since)
            return most;
        if (table->snapshots[at].foreign > most)
            most = table->snapshots[at].foreign;
    }
    return since ? FOREIGN_REWROTE : most;
}

static void view(World *world, Request *request)
{
    const LakeTable *table = &world->tables[request->table];
    const Meta *meta = &table->now;
    uint32_t held = table->before_count < METAS ? table->before_count : METAS;
    if (held && world->reads_stale && fault(world, 20)) {
        const Meta *old =
            &table->before[(table->before_count - 1 - chance_below(world, held)) % METAS];
        if (old->exists && old->uuid == meta->uuid && world->now_us - meta->since_us < 4000 * MS) {
            meta = old;
            trace(world, "  stale view of table %u", request->table);
        }
    }
    TableView *to = &request->view;
    *to = (TableView){.exists = meta->exists};
    if (!meta->exists)
        return;
    lake_uuid(meta->uuid, to->uuid);
    request->uuid = meta->uuid;
    request->version = meta->version;
    request->layout = meta->head < 0 ? 0 : table->snapshots[meta->head].layout;
    to->head = meta->head < 0 ? 0 : table->snapshots[meta->head].id;
    to->sequence = meta->sequence;
    to->has_claim = meta->has_claim;
    to->snapshot = meta->claim_snapshot;
    to->is_ancestor = meta->has_claim && lake_is_ancestor(table, meta->head, meta->claim_snapshot);
    to->source = source_name(meta->claim_source);
    to->lane_count = meta->lane_count;
    memcpy(request->lanes, meta->lanes, sizeof request->lanes);
    int32_t ours = request->look_for ? find(table, request->look_for) : -1;
    to->ours_found = ours >= 0 && !table->snapshots[ours].expired &&
                     lake_is_ancestor(table, meta->head, request->look_for);
    to->foreign = done_since(table, meta, request->since_head);
}

static bool lanes_forward(const Snapshot *head, const CommitBody *body)
{
    for (uint32_t i = 0; head && head->ours && i < head->lane_count; i++)
        if (body->lanes[i].next < head->lanes[i].next ||
            row_position_compare(body->lanes[i].passed, head->lanes[i].passed) < 0)
            return false;
    return true;
}

/* The swap; then the laws over the snapshot that it made. */
static CommitAnswer swap(World *world, Request *request)
{
    LakeTable *table = &world->tables[request->table];
    const CommitBody *body = &request->commit;
    const Snapshot *head = lake_head(table);
    int64_t head_id = head ? head->id : 0;
    if (!table->now.exists || table->now.uuid != body->uuid ||
        (body->asserts_head != COMMIT_ANY_HEAD &&
         (head_id != body->asserts_head ||
          (world->compares_metadata && table->now.version != body->version))))
        return ANSWER_CONFLICT;
    if (find(table, body->id) >= 0)
        return ANSWER_CONFLICT; /* a catalog takes an id once, wherever the head went since */
    uint64_t before = head ? head->content : 0;
    bool wrong_files =
        body->names_positions && !body->clears && head && head->layout != body->layout;
    bool forward = lanes_forward(head, body);
    Snapshot *snapshot = add(world, table, body->id);
    if (!snapshot)
        return ANSWER_FAILED;
    snapshot->ours = true;
    snapshot->content = (body->clears ? 0 : before) + body->content + (wrong_files ? 1 : 0);
    snapshot->lane_count = body->lane_count;
    memcpy(snapshot->lanes, body->lanes, sizeof snapshot->lanes);
    Meta *meta = &table->now;
    meta->has_claim = true;
    meta->claim_snapshot = body->id;
    meta->claim_source = body->source;
    meta->lane_count = body->lane_count;
    memcpy(meta->lanes, body->lanes, sizeof meta->lanes);
    request->sequence = meta->sequence;
    request->version = meta->version;
    request->layout = snapshot->layout;
    trace(world, "  table %u: commit %ld took effect on %ld", request->table, (long)body->id,
          (long)head_id);
    for (uint32_t i = 0; body->files && i < world->deleted_count; i++)
        if (world->deleted_files[i] == body->files)
            broke(world, LAW_FILES, "table %u: files %lu of commit %ld were deleted",
                  request->table, (unsigned long)body->files, (long)body->id);
    if (!forward)
        broke(world, LAW_FORWARD, "table %u: commit %ld moves back", request->table,
              (long)body->id);
    uint64_t model;
    if (!world->landed(world, request->table, body) ||
        !world->content(world, request->table, body, &model))
        return ANSWER_DONE;
    if (model != snapshot->content)
        broke(world, LAW_CONTENT, "table %u: commit %ld is not the source at its position%s",
              request->table, (long)body->id, wrong_files ? " (names files that are gone)" : "");
    return ANSWER_DONE;
}

static void create(World *world, Request *request)
{
    LakeTable *table = &world->tables[request->table];
    request->answer = ANSWER_CONFLICT;
    if (table->now.exists)
        return;
    change(world, table);
    table->now = (Meta){.exists = true,
                        .uuid = ++world->uuids,
                        .head = -1,
                        .version = table->now.version + 1,
                        .since_us = world->now_us};
    request->answer = ANSWER_DONE;
}

static void record_write(World *world, Request *request)
{
    request->answer = ANSWER_CONFLICT;
    if (request->record.version != world->record.version)
        return;
    uint32_t version = world->record.version + 1;
    world->record = request->record;
    request->version = world->record.version = version;
    world->has_record = true;
    request->answer = ANSWER_DONE;
    trace(world, "  record is %lu.%lu", (unsigned long)request->record.at.major,
          (unsigned long)request->record.at.minor);
}

static void take_effect(World *world, Request *request)
{
    CommitAnswer answer = request->answer;
    switch (request->kind) {
    case REQUEST_LOAD:
        view(world, request);
        request->answer = ANSWER_DONE;
        break;
    case REQUEST_CREATE:
        create(world, request);
        break;
    case REQUEST_COMMIT:
        request->answer = fault(world, 3) ? ANSWER_FAILED : swap(world, request);
        break;
    case REQUEST_RECORD_READ:
        request->record_exists = world->has_record;
        request->record = world->record;
        request->answer = ANSWER_DONE;
        break;
    case REQUEST_RECORD_WRITE:
        record_write(world, request);
        break;
    }
    if (request->happened)
        request->answer = answer;
    request->happened = true;
}

static void forget(World *world, uint32_t at)
{
    if (at != --world->request_count)
        world->requests[at] = world->requests[world->request_count];
}

bool lake_serve(World *world, Request *ret)
{
    uint32_t start = world->request_count ? chance_below(world, world->request_count) : 0;
    for (uint32_t k = 0; k < world->request_count; k++) {
        uint32_t at = (start + k) % world->request_count;
        Request *request = &world->requests[at];
        int64_t *due =
            request->effect_at <= request->again_at ? &request->effect_at : &request->again_at;
        if (*due <= world->now_us) {
            *due = NEVER;
            take_effect(world, request);
            return false;
        }
        if (request->answer_at > world->now_us)
            continue;
        bool more = request->effect_at != NEVER || request->again_at != NEVER;
        ASSERT(request->lost || request->happened);
        *ret = *request;
        if (request->lost)
            ret->answer = ANSWER_UNKNOWN;
        ret->view.lanes = ret->lanes;
        if (more)
            request->answer_at = NEVER;
        else
            forget(world, at);
        return true;
    }
    for (uint32_t at = 0; at < world->request_count; at++)
        if (world->requests[at].answer_at == NEVER && world->requests[at].effect_at == NEVER &&
            world->requests[at].again_at == NEVER)
            forget(world, at--);
    return false;
}

/* Whom it is for can't take it now. */
void lake_answer_later(World *world, const Request *answer, int64_t at_us)
{
    if (world->request_count == REQUESTS)
        return;
    Request *request = &world->requests[world->request_count++];
    *request = *answer;
    request->effect_at = request->again_at = NEVER;
    request->answer_at = at_us;
}

/* ---------- files ---------- */
void lake_delete_files(World *world, uint64_t files)
{
    for (uint32_t i = 0; i < world->request_count; i++) {
        const Request *request = &world->requests[i];
        if (request->kind == REQUEST_COMMIT && request->commit.files == files &&
            (request->effect_at != NEVER || request->again_at != NEVER))
            broke(world, LAW_FILES, "files %lu are deleted, and their commit is under way",
                  (unsigned long)files);
    }
    if (world->deleted_count < ARRAY_LEN(world->deleted_files))
        world->deleted_files[world->deleted_count++] = files;
}

/* ---------- others ---------- */
void lake_foreign(World *world, uint32_t number)
{
    LakeTable *table = &world->tables[number];
    if (!table->now.exists || table->count + 40 > SNAPSHOTS)
        return;
    uint32_t what = chance_below(world, 6);
    Snapshot *snapshot;
    switch (what) {
    case 0:
    case 1: /* append; rewrite */
        snapshot = add(world, table, ++world->ids);
        snapshot->foreign = what == 0 ? FOREIGN_APPENDED : FOREIGN_REWROTE;
        if (what == 1)
            snapshot->layout = ++world->layouts;
        break;
    case 2: /* expire everything but the head */
    case 3:
        change(world, table);
        for (uint32_t i = 0; i < table->count; i++)
            table->snapshots[i].expired |= (int32_t)i != table->now.head;
        break;
    case 4: /* a commit to another branch */
        change(world, table)->sequence++;
        break;
    default: /* a property, a tag */
        change(world, table);
    }
    trace(world, "foreign writer %u at table %u", what, number);
}

void lake_rollback(World *world, uint32_t number)
{
    LakeTable *table = &world->tables[number];
    if (!table->now.exists || table->now.head < 0)
        return;
    int32_t to = table->now.head;
    for (uint32_t back = 1 + chance_below(world, 3); back && table->snapshots[to].parent >= 0;
         back--)
        to = table->snapshots[to].parent;
    if (to == table->now.head)
        return;
    change(world, table)->head = to;
    trace(world, "table %u is rolled back to %ld", number, (long)table->snapshots[to].id);
    if (table->now.has_claim && !lake_is_ancestor(table, to, table->now.claim_snapshot)) {
        /* a commit that was late may land there and make the claim true again, at an old position
         */
        world->justified |= 1U << STALL_ROLLED_BACK | 1U << STALL_TOPIC_TRUNCATED;
        world->struck = table->disturbed = true;
    }
}

/* The whole metadata of before, property and all: what the table says of itself is true. */
void lake_put_back(World *world, uint32_t number, bool without_claim)
{
    LakeTable *table = &world->tables[number];
    uint32_t held = table->before_count < METAS ? table->before_count : METAS;
    if (!held || !table->now.exists)
        return;
    const Meta old = table->before[(table->before_count - 1 - chance_below(world, held)) % METAS];
    if (!old.exists || old.uuid != table->now.uuid || old.sequence >= table->now.sequence ||
        (!old.has_claim && !without_claim))
        return;
    uint32_t version = table->now.version + 1;
    change(world, table);
    table->now = old;
    table->now.version = version;
    table->now.since_us = world->now_us;
    table->disturbed = world->struck = true;
    world->justified |= 1U << STALL_ROLLED_BACK | 1U << STALL_TOPIC_TRUNCATED;
    if (!old.has_claim)
        world->justified |= 1U << STALL_TABLE_DROPPED;
    trace(world, "table %u: an old state is put back", number);
}

void lake_drop(World *world, uint32_t number)
{
    LakeTable *table = &world->tables[number];
    if (!table->now.exists)
        return;
    Meta *meta = change(world, table);
    bool anew = chance(world, 50);
    *meta = (Meta){.exists = anew,
                   .uuid = ++world->uuids,
                   .head = -1,
                   .version = meta->version,
                   .since_us = world->now_us};
    table->disturbed = world->struck = true;
    world->justified |= 1U << STALL_TABLE_DROPPED;
    trace(world, "table %u is dropped%s", number, anew ? " and made anew" : "");
}
