#include "tests/simulate/topic.h"

void topic_init(World *world, Topic *topic)
{
    topic->lane_count = 1 + chance_below(world, 3);
    for (uint32_t i = 0; i < LANES; i++) {
        TopicLane *lane = &topic->lanes[i];
        lane->start = lane->end = lane->count = lane->sum_count = 0;
    }
    if (chance(world, 20)) /* older records are gone already */
        for (uint32_t i = 0; i < topic->lane_count; i++)
            topic->lanes[i].start = topic->lanes[i].end = 5 + i;
    topic->order_count = topic->barrier_count = topic->cursor = topic->part = 0;
    topic->sealed = false;
}

void topic_produce(World *world, Topic *topic)
{
    if (topic->order_count == ORDER)
        return;
    uint32_t number = topic->order_count;
    uint32_t lanes = number ? topic->order[number - 1].lanes : topic->lane_count;
    Event *event = &topic->order[topic->order_count++];
    *event =
        (Event){.at = {1 + number / 3, number % 3}, .lanes = lanes, .hash = chance_next(world) | 2};
    if (!chance(world, 6) || topic->barrier_count == BARRIERS)
        return;
    event->kind = (BarrierKind)(1 + chance_below(world, 4));
    if (event->kind == BARRIER_LANES_ADDED) {
        if (topic->sealed || lanes == LANES)
            event->kind = BARRIER_SCHEMA;
        else
            event->lanes = lanes + 1;
    }
    topic->barriers[topic->barrier_count++] = (Barrier){event->kind, event->lanes, event->at};
}

static void append(World *world, Topic *topic, uint32_t number, const Event *event)
{
    TopicLane *lane = &topic->lanes[number];
    if (chance(world, 8))
        lane->end += 1 + chance_below(world, 3);
    RowPosition passed = lane->count ? lane->records[lane->count - 1].passed : (RowPosition){0};
    bool repeated = row_position_compare(event->at, passed) <= 0;
    if (!event->kind && !repeated) {
        uint64_t sum = lane->sum_count ? lane->sums[lane->sum_count - 1].sum : 0;
        lane->sums[lane->sum_count++] = (Sum){event->at, sum + event->hash};
    }
    lane->records[lane->count++] = (Record){
        .offset = lane->end++,
        .barrier = event->kind ? (Barrier){event->kind, event->lanes, event->at} : (Barrier){0},
        .at = event->at,
        .hash = event->hash,
        .passed = repeated ? passed : event->at};
}

bool topic_write(World *world, Topic *topic, uint32_t events)
{
    bool grew = false;
    for (; events && topic->cursor < topic->order_count; events--) {
        const Event *event = &topic->order[topic->cursor];
        uint32_t lane = event->kind ? topic->part : (uint32_t)((event->hash >> 20) % event->lanes);
        if (topic->lanes[lane].count == RECORDS)
            return grew;
        if (event->lanes > topic->lane_count) {
            topic->lane_count = event->lanes;
            grew = true;
        }
        append(world, topic, lane, event);
        if (event->kind && ++topic->part < event->lanes)
            continue;
        topic->part = 0;
        topic->cursor++;
    }
    return grew;
}

void topic_repeat(World *world, Topic *topic)
{
    uint32_t back = chance_below(world, 16);
    topic->cursor -= back < topic->cursor ? back : topic->cursor;
    topic->part = 0;
    trace(world, "the producer starts again, %u events back", back);
}

void topic_gap(World *world, Topic *topic)
{
    topic->lanes[chance_below(world, topic->lane_count)].end += 1 + chance_below(world, 2);
}

uint32_t topic_find(const TopicLane *lane, uint64_t offset)
{
    uint32_t low = 0, high = lane->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (lane->records[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t sum_to(const TopicLane *lane, RowPosition at)
{
    uint32_t low = 0, high = lane->sum_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (row_position_compare(lane->sums[middle].at, at) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? lane->sums[low - 1].sum : 0;
}

uint64_t topic_content(const Topic *topic, const LaneValue *lanes, uint32_t lane_count)
{
    RowPosition truncated = {0};
    for (uint32_t i = 0; i < topic->barrier_count; i++)
        if (topic->barriers[i].kind == BARRIER_TRUNCATE &&
            row_position_compare(topic->barriers[i].at, lanes[0].passed) <= 0)
            truncated = topic->barriers[i].at;
    uint64_t content = 0;
    for (uint32_t i = 0; i < lane_count; i++)
        content += sum_to(&topic->lanes[i], lanes[i].passed) - sum_to(&topic->lanes[i], truncated);
    return content;
}

bool topic_values(World *world, const Topic *topic, const CommitBody *body)
{
    for (uint32_t i = 0; i < body->lane_count; i++) {
        const TopicLane *lane = &topic->lanes[i];
        uint32_t found = topic_find(lane, body->lanes[i].next);
        RowPosition passed = found ? lane->records[found - 1].passed : (RowPosition){0};
        if (body->lanes[i].next > lane->end ||
            row_position_compare(passed, body->lanes[i].passed) != 0)
            return broke(world, LAW_VALUE, "lane %u: (%lu, %lu.%lu) is no place in the topic", i,
                         (unsigned long)body->lanes[i].next,
                         (unsigned long)body->lanes[i].passed.major,
                         (unsigned long)body->lanes[i].passed.minor);
    }
    for (uint32_t b = 0; b < topic->barrier_count; b++) {
        const Barrier *barrier = &topic->barriers[b];
        uint32_t past = 0;
        for (uint32_t i = 0; i < barrier->lanes && i < body->lane_count; i++)
            past += row_position_compare(body->lanes[i].passed, barrier->at) >= 0;
        if (past && past < barrier->lanes)
            return broke(world, LAW_BARRIER, "%u of %u lanes are past the barrier at %lu.%lu", past,
                         barrier->lanes, (unsigned long)barrier->at.major,
                         (unsigned long)barrier->at.minor);
    }
    return true;
}
