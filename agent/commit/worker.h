/* One consumer of a group: reads its lanes, stages pieces, answers the coordinator's rounds. Owned
 * by the consumer's thread.
 *
 * After every event call worker_next until it has nothing more. A lane is read only while
 * worker_reads says so; between, the consumer pauses that partition.
 *
 * Staged pieces are never deleted by a worker: a report that names them may be under way, and the
 * coordinator may commit them after the lane went to somebody else. What nobody commits is an
 * orphan, found by its age.
 *
 * A lane that can't be read from the announced value (the topic was truncated or made anew, a lane
 * or a barrier stands where it can't) is refused in the report. Only the coordinator, which knows
 * whether that value still is the table's, stalls. It is tried again with each announcement, and
 * told as refused until it gets past. */
#pragma once

#include "agent/commit/group.h"

typedef enum WorkerKind {
    WORKER_SEEK,    /* read `lane` from offset `next`; worker_sought before any other event */
    WORKER_STAGE,   /* finish the files of `piece` and make them durable; then worker_staged */
    WORKER_DISCARD, /* the unfinished files of `piece` may go: it was never reported */
    WORKER_REPORT,  /* send `report`, valid until the next call */
} WorkerKind;

typedef struct WorkerAction {
    WorkerKind kind;
    uint32_t lane;
    uint64_t next;
    PieceId piece;
    const Report *report;
} WorkerAction;

typedef struct WorkerLane {
    bool owned;
    bool placed;  /* an announcement said where it stands */
    bool seek;    /* SEEK is due */
    bool seeking; /* and was handed out */
    bool close;   /* the open piece is to be staged */
    bool staging;
    bool report; /* REPORT is due */
    bool discard;
    bool waits;          /* at `barrier` */
    StallReason refused; /* told in reports; the next announcement is another try … */
    StallReason doubted; /* … and until that has come as far, this is told */
    LaneValue committed; /* as announced */
    LaneValue at;        /* read up to here */
    Piece open;          /* its id, from and rows; `to` is `at` */
    PieceId discarded;
    Barrier barrier;
    uint64_t behind_barrier; /* the offset */
    uint32_t count;
    Piece pieces[GROUP_CHAIN_MAX]; /* staged, from `committed` on */
} WorkerLane;

typedef struct Worker {
    uint64_t id; /* random, new for every process */
    WorkerLane *lanes;
    uint32_t lanes_max;
    uint64_t piece_rows_max;
    uint64_t numbers;
    uint64_t generation, serial; /* of the latest announcement */
    uint32_t table_lanes;        /* as announced */
    char source[POSITION_SOURCE_BYTES];
    Report report;
} Worker;

/* lanes: zeroed by this; the caller's. piece_rows_max: an open piece so large is staged by itself.
 */
void worker_init(Worker *worker, uint64_t id, WorkerLane *lanes, uint32_t lanes_max,
                 uint64_t piece_rows_max);
/* The lanes this consumer owns from now on. One that it keeps goes on as it was. */
void worker_assigned(Worker *worker, const uint32_t *lanes, uint32_t count);
void worker_announced(Worker *worker, const Announcement *announcement);
/* After SEEK, and whenever the broker says that the offset is out of range: the topic's identity,
 * and the offsets it holds. */
void worker_sought(Worker *worker, uint32_t lane, const char *source, uint64_t start, uint64_t end);
bool worker_reads(const Worker *worker, uint32_t lane);
/* A row. True: it belongs into the open piece, *ret_piece. False: the table has passed it. */
bool worker_row(Worker *worker, uint32_t lane, uint64_t offset, RowPosition at, PieceId *ret_piece);
/* A row that says nothing of when it was made (of the source's copy, or of a topic that others
 * fill): each is new, in the order of its offset. As worker_row, with the position as it is. */
bool worker_row_unplaced(Worker *worker, uint32_t lane, uint64_t offset, PieceId *ret_piece);
void worker_marker(Worker *worker, uint32_t lane, uint64_t offset, const Barrier *barrier);
/* The consumer's position moved to `next` without a record. */
void worker_gap(Worker *worker, uint32_t lane, uint64_t next);
/* ok false: the files could not be written; the lane starts again. */
void worker_staged(Worker *worker, uint32_t lane, PieceId piece, bool ok);
/* False: nothing to do. */
bool worker_next(Worker *worker, WorkerAction *ret);
