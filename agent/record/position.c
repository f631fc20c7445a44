#include "agent/record/position.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

Position position_of(const char *source, RowPosition at)
{
    Position position = {.at = at};
    size_t bytes = strlen(source);
    ASSERT(bytes < sizeof position.source);
    memcpy(position.source, source, bytes + 1);
    return position;
}

PositionOrder position_compare(const Position *a, const Position *b)
{
    if (strcmp(a->source, b->source) != 0)
        return POSITION_UNRELATED;
    int order = row_position_compare(a->at, b->at);
    return order < 0 ? POSITION_BEFORE : order > 0 ? POSITION_AFTER : POSITION_EQUAL;
}

char *position_format(const Position *position, char ret[POSITION_TEXT_BYTES])
{
    snprintf(ret, POSITION_TEXT_BYTES, "%s@%" PRIX32 "/%" PRIX32 ".%" PRIu64, position->source,
             (uint32_t)(position->at.major >> 32), (uint32_t)position->at.major,
             position->at.minor);
    return ret;
}

bool position_parse(const char *text, Position *ret, Error *err)
{
    *ret = (Position){0};
    const char *at = strrchr(text, '@');
    uint32_t high, low;
    int end = 0;
    if (!at || at == text || (size_t)(at - text) >= sizeof ret->source ||
        sscanf(at + 1, "%8" SCNx32 "/%8" SCNx32 ".%20" SCNu64 "%n", &high, &low, &ret->at.minor,
               &end) != 3 ||
        at[1 + end])
        return error_set(err, ERROR_DATA, "BadPosition", "'%.120s' is no position", text);
    memcpy(ret->source, text, (size_t)(at - text));
    ret->at.major = (uint64_t)high << 32 | low;
    return true;
}
