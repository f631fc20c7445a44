#include "agent/commit/piece.h"

#include <inttypes.h>
#include <stdio.h>

#define FORMAT(u32, u64, x64) u32 "-" x64 "-" x64 "-" u64 "-" x64 "-" u64

char *piece_name(const PieceName *piece, char ret[PIECE_NAME_BYTES])
{
    snprintf(ret, PIECE_NAME_BYTES, FORMAT("%" PRIu32, "%" PRIu64, "%" PRIx64), piece->lane,
             piece->from.passed.major, piece->from.passed.minor, piece->from.next, piece->id.worker,
             piece->id.number);
    return ret;
}

bool piece_name_parse(const char *name, PieceName *ret)
{
    int end = 0;
    *ret = (PieceName){0};
    return sscanf(name, FORMAT("%" SCNu32, "%" SCNu64, "%" SCNx64) "%n", &ret->lane,
                  &ret->from.passed.major, &ret->from.passed.minor, &ret->from.next,
                  &ret->id.worker, &ret->id.number, &end) == 6 &&
           !name[end];
}

bool piece_is_dead(const PieceName *piece, const LaneValue *lanes, uint32_t lane_count)
{
    if (piece->lane >= lane_count)
        return false;
    const LaneValue *at = &lanes[piece->lane];
    int passed = row_position_compare(piece->from.passed, at->passed);
    return passed < 0 || (passed == 0 && piece->from.next < at->next);
}
