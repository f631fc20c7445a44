/* How far a source has been read, and how far a table has come. Opaque outside its source, a
 * partial order: positions of different sources (or of a source that was made anew) don't compare.
 *
 * A position of one lane is (major, minor). For PostgreSQL the lane is the slot and
 *   minor > 0: major is the LSN of a transaction's commit record, its first `minor` changes are in;
 *   minor = 0: major is an end LSN, every transaction whose commit record lies before it is in.
 * pgoutput's Begin names the commit record, only Commit names its end: hence the two forms, which
 * still compare as plain pairs because commit record < its end <= the next commit record.
 *
 * Canonical text: "postgresql/<system id>/<timeline>/<slot>@0/16B3748.0": source, '@', lane value.
 */
#pragma once

#include "common/attrs.h"
#include "common/error.h"

#define POSITION_SOURCE_BYTES 160
#define POSITION_TEXT_BYTES (POSITION_SOURCE_BYTES + 48)

typedef struct RowPosition {
    uint64_t major;
    uint64_t minor;
} RowPosition;

static inline int row_position_compare(RowPosition a, RowPosition b)
{
    if (a.major != b.major)
        return a.major < b.major ? -1 : 1;
    return a.minor == b.minor ? 0 : a.minor < b.minor ? -1 : 1;
}

typedef struct Position {
    char source[POSITION_SOURCE_BYTES]; /* identity; "" = no position at all */
    RowPosition at;
} Position;

typedef enum PositionOrder {
    POSITION_BEFORE,
    POSITION_EQUAL,
    POSITION_AFTER,
    POSITION_UNRELATED, /* another source: nothing can be said */
} PositionOrder;

/* source: shorter than POSITION_SOURCE_BYTES. */
Position position_of(const char *source, RowPosition at);
PositionOrder position_compare(const Position *a, const Position *b);
/* Returns ret. */
char *position_format(const Position *position, char ret[POSITION_TEXT_BYTES]);
/* DATA error on text that is no position. */
MUST_CHECK bool position_parse(const char *text, Position *ret, Error *err);
