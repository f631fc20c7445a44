/* The owner of lane 0: it alone commits, as long as it is that; a second one that has not heard of
 * its end is fenced by the compare and swap, by nothing else.
 *
 * The interval between rounds stretches while little comes (CoordinatorOptions.quiet_us).
 *
 *   start ─► LOAD ─► loaded ─► ANNOUNCE (asks) ─► reports of all lanes, or the deadline ─►
 *     COMMIT ─► answered: done ─► ANNOUNCE; the next round after the interval
 *                        else ─► LOAD ─► loaded ─► RESEND │ what still fits as a new COMMIT │ done
 *
 * Chains: per lane the pieces that begin at the table's value and at each other's end. Anything
 * else is dropped, and its worker starts that lane again from the announced value.
 *
 * A lane that a worker refuses (the topic was truncated, …) makes it load the table again: what was
 * announced may have been an old view. Refused for doubt_us at the same value: it stalls, whatever
 * other lanes do.
 *
 * The driver makes a table that does not exist before the first start. After an announcement that
 * does not ask it commits the group's offsets: they decide nothing about positions, but tell a
 * table that was dropped from a new one. After every event call coordinator_next until it has
 * nothing more. */
#pragma once

#include "agent/commit/group.h"
#include "agent/commit/outcome.h"

typedef struct CoordinatorOptions {
    int64_t interval_us; /* between rounds */
    /* A table that little comes for rests longer: after a commit of fewer than enough_rows twice as
     * long as before it, up to this; after one of twice as many half as long. Once so many are
     * staged meanwhile it is as if it had rested for the interval alone. 0: it never does. */
    int64_t quiet_us;
    uint64_t enough_rows;
    int64_t deadline_us; /* a round waits no longer for lanes that don't answer */
    int64_t repeat_us;   /* an announcement is repeated for lanes that have not answered */
    int64_t gap_us;      /* offsets that moved without rows are committed so often */
    int64_t doubt_us;    /* what a lane refuses, and a claim that is lost, is believed after */
} CoordinatorOptions;

/* The topic, as it is when the table is loaded. */
typedef struct TopicView {
    const char *source;
    uint32_t lane_count;
    /* Where a table without a claim begins: first offsets, and behind which barriers. */
    const LaneValue *starts;
    bool confirmed; /* the group has committed offsets: the table had a claim once */
    bool unmarked;  /* others fill it: a partition that is added begins by itself, at 0 */
} TopicView;

typedef enum CoordinatorKind {
    COORDINATOR_LOAD,     /* the table: look for `commit` (0: none), what others did since `head` */
    COORDINATOR_ANNOUNCE, /* `announcement`, valid until the next call */
    COORDINATOR_COMMIT,   /* the taken pieces of all lanes, or the barrier; asserts `head` */
    COORDINATOR_RESEND,   /* the commit before, unchanged */
    COORDINATOR_STALL,    /* for `reason` */
} CoordinatorKind;

typedef struct CoordinatorAction {
    CoordinatorKind kind;
    uint64_t ticket; /* LOAD, COMMIT, RESEND: goes back with the answer */
    int64_t head;
    int64_t commit;
    Announcement announcement;
    const Barrier *barrier; /* COMMIT: kind NONE, or what is to be applied */
    uint32_t lane_count;    /* COMMIT: of the table after it */
    StallReason reason;
} CoordinatorAction;

typedef enum CoordinatorState {
    COORDINATOR_IDLE,
    COORDINATOR_LOADING,
    COORDINATOR_PAUSING, /* LOAD is due at pause.until_us */
    COORDINATOR_RESTING, /* until the next round */
    COORDINATOR_GATHERING,
    COORDINATOR_COMMITTING,
    COORDINATOR_STALLED,
} CoordinatorState;

typedef struct CoordinatorLane {
    LaneValue at;      /* the table's */
    uint64_t answered; /* serial of the latest round of ours it answered */
    uint32_t count;
    uint32_t taken;   /* of them in the commit that is out */
    int64_t doubt_us; /* refused first at, where it stands; 0: it is not */
    Piece chain[GROUP_CHAIN_MAX];
} CoordinatorLane;

typedef struct Coordinator {
    CoordinatorOptions options;
    CoordinatorLane *lanes;
    LaneValue *values; /* for announcements */
    uint32_t lanes_max;
    CoordinatorState state;
    uint64_t generation, serial;
    char source[POSITION_SOURCE_BYTES];
    uint32_t table_lanes;
    TableKnown known;
    bool loaded; /* in this term */
    bool has_claim;
    int64_t doubt_us; /* a claim was missed first at; 0: it was not */
    Pause pause;
    uint64_t ticket;
    int64_t commit; /* id; 0: nothing was sent that is not settled */
    CommitAnswer answer;
    Barrier barrier; /* of the commit that is out; kind NONE: rows */
    StallReason reason;
    int64_t round_us; /* begun at, or due at while resting */
    int64_t begun_us; /* the latest round */
    int64_t rest_us;  /* between rounds, as it is now */
    int64_t repeat_at_us;
    int64_t committed_us;
    bool load, announce, asks, send, resend, stall; /* actions that are due */
} Coordinator;

/* lanes, values: lanes_max each, the caller's. */
void coordinator_init(Coordinator *coordinator, const CoordinatorOptions *options,
                      CoordinatorLane *lanes, LaneValue *values, uint32_t lanes_max);
/* Lane 0 was assigned. A coordinator that stays one through a rebalance keeps what it has. */
void coordinator_start(Coordinator *coordinator, uint64_t generation, int64_t now_us);
void coordinator_stop(Coordinator *coordinator);
void coordinator_loaded(Coordinator *coordinator, uint64_t ticket, const TableView *view,
                        const TopicView *topic, int64_t now_us);
void coordinator_load_failed(Coordinator *coordinator, uint64_t ticket, int64_t now_us);
void coordinator_reported(Coordinator *coordinator, const Report *report, int64_t now_us);
/* id: the commit's. sequence: the table's after it, for DONE. */
void coordinator_answered(Coordinator *coordinator, uint64_t ticket, CommitAnswer answer,
                          int64_t id, int64_t sequence, int64_t now_us);
void coordinator_tick(Coordinator *coordinator, int64_t now_us);
/* False: nothing to do. */
bool coordinator_next(Coordinator *coordinator, CoordinatorAction *ret);
/* The pieces of a lane that COMMIT takes; the lane's value after it. Valid until the answer. */
const Piece *coordinator_taken(const Coordinator *coordinator, uint32_t lane, uint32_t *ret_count,
                               LaneValue *ret_to);
