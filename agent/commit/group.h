/* What the consumers of a group say to each other over the unit's control topic. Messages may be
 * lost, late, doubled and out of order: whatever counts is decided by comparing values.
 *
 * The coordinator asks (an announcement with `asks`: a round), workers answer with a report per
 * lane, the coordinator commits and announces where the table stands. An announcement that is not
 * answered is repeated; a report holds everything of its lane that was not announced as committed.
 * A generation has one coordinator: a process that starts anew joins the group anew (no static
 * membership).
 *
 * Rules on the producer of a topic
 *   - In a lane, source positions rise, but for repeats after a restart, which begin anywhere
 *     before and go through all again in order.
 *   - A barrier's marker is written to every lane at its place in the order. A restart repeats it
 *     in all of them.
 *   - The number of lanes changes at a source position, which the producer keeps: rows before it go
 *     where they went before, also when they are repeated. At that position stands a barrier in all
 *     lanes, which is the first record of the new ones. A barrier that the topic has lost (its
 *     records are kept for a time) counts as passed in that lane: TopicView.starts.
 *
 * Rules on barriers: everything before it in all its lanes is committed before anything behind it
 * in any; then its action is applied in one snapshot, which moves all its lanes past it. A
 * table that begins with an old topic may know more lanes than its first barriers: the others begin
 * with a barrier behind those. */
#pragma once

#include "agent/commit/commit.h"

#define GROUP_LANES_MAX 4096
#define GROUP_CHAIN_MAX 8 /* pieces of a lane that are staged and not known to be committed */

typedef enum BarrierKind {
    BARRIER_NONE,
    BARRIER_TRUNCATE,
    BARRIER_SCHEMA,
    BARRIER_COPY_END,
    BARRIER_LANES_ADDED,
} BarrierKind;

typedef struct Barrier {
    BarrierKind kind;
    uint32_t lanes; /* it stands in lanes 0 to lanes - 1 */
    RowPosition at; /* its source position, which is its name */
} Barrier;

typedef struct PieceId {
    uint64_t worker; /* random, of the worker's process */
    uint64_t number;
} PieceId;

/* Rows of a lane between two values, in files that are durable. What it holds follows from `from`,
 * `to` and the topic alone: it does not matter who staged it. */
typedef struct Piece {
    PieceId id; /* of files, if rows > 0 */
    uint64_t rows;
    LaneValue from, to;
    Barrier barrier; /* kind NONE: rows, or none where only the offset moved */
} Piece;

typedef struct Announcement {
    uint64_t generation; /* of the group, as the coordinator knows it */
    uint64_t serial;     /* rises within a generation */
    bool asks;
    const char *source;
    uint32_t lane_count; /* of the table */
    const LaneValue *lanes;
} Announcement;

typedef struct Report {
    uint64_t generation, serial; /* of the announcement that is answered */
    uint32_t lane;
    StallReason refused; /* the lane can't be read from the value that was announced */
    uint32_t count;
    Piece pieces[GROUP_CHAIN_MAX]; /* a chain: each begins where the one before ended */
} Report;
