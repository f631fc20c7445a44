/* What staged pieces are called, and their files by them. Where a piece follows stands in its name:
 * a table that is behind that takes it no more. */
#pragma once

#include "agent/commit/group.h"

#define PIECE_NAME_BYTES 128

typedef struct PieceName {
    uint32_t lane;
    LaneValue from;
    PieceId id;
} PieceName;
char *piece_name(const PieceName *piece, char ret[PIECE_NAME_BYTES]);
bool piece_name_parse(const char *name, PieceName *ret);
/* Can no commit take it, on a table that stands at these values or behind? Values rise: in the
 * order of (passed, next), of our topics in each of the two. They fall by a rollback of a table
 * behind one of ours alone, and what is staged after that is younger than what is asked about. */
bool piece_is_dead(const PieceName *piece, const LaneValue *lanes, uint32_t lane_count);
