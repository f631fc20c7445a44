/* A topic with its producer, and the model of the table that it makes. */
#pragma once

#include "tests/simulate/world.h"

#define RECORDS 900
#define ORDER 700
#define BARRIERS 64

typedef struct Record {
    uint64_t offset;
    Barrier barrier; /* kind NONE: a row */
    RowPosition at;
    uint64_t hash;
    RowPosition passed; /* the highest position up to and with this record */
} Record;

/* Rows of a lane, each once: what they add up to after each. */
typedef struct Sum {
    RowPosition at;
    uint64_t sum;
} Sum;

typedef struct TopicLane {
    uint64_t start, end;
    uint32_t count, sum_count;
    Record records[RECORDS];
    Sum sums[RECORDS];
} TopicLane;

/* What the producer writes, in the source's order. */
typedef struct Event {
    RowPosition at;
    BarrierKind kind;
    uint32_t lanes; /* as of this event */
    uint64_t hash;
} Event;

typedef struct Topic {
    uint32_t lane_count;
    TopicLane lanes[LANES];
    uint32_t order_count, barrier_count;
    Event order[ORDER];
    Barrier barriers[BARRIERS];
    uint32_t cursor, part; /* the event that is written next, and the lane of a barrier */
    bool sealed;           /* no more lanes */
} Topic;

void topic_init(World *world, Topic *topic);
/* The source goes on. */
void topic_produce(World *world, Topic *topic);
/* The producer writes; true: there is a new lane. */
bool topic_write(World *world, Topic *topic, uint32_t events);
/* It starts again, from anywhere before. */
void topic_repeat(World *world, Topic *topic);
void topic_gap(World *world, Topic *topic);
/* The first record at or behind an offset. */
uint32_t topic_find(const TopicLane *lane, uint64_t offset);
/* Laws over the values of a commit; the content they stand for. */
bool topic_values(World *world, const Topic *topic, const CommitBody *body);
uint64_t topic_content(const Topic *topic, const LaneValue *lanes, uint32_t lane_count);
