#include "agent/commit/lanes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/commit/group.h"
#include "common/mem.h"

#define LANE_TEXT_BYTES 64 /* three numbers of 20 digits, and what stands between */

void lane_position_done(LanePosition *position)
{
    free(position->lanes);
    *position = (LanePosition){0};
}

char *lane_position_format(const char *source, const LaneValue *lanes, uint32_t lane_count)
{
    ASSERT(strlen(source) < POSITION_SOURCE_BYTES && lane_count <= GROUP_LANES_MAX);
    size_t held = POSITION_SOURCE_BYTES + (size_t)lane_count * LANE_TEXT_BYTES;
    char *text = mem_alloc(held);
    size_t used = (size_t)snprintf(text, held, "%s@", source);
    for (uint32_t i = 0; i < lane_count; i++) {
        const LaneValue *lane = &lanes[i];
        used += (size_t)snprintf(text + used, held - used, "%s%" PRIu64, i ? "," : "", lane->next);
        if (lane->passed.major || lane->passed.minor)
            used += (size_t)snprintf(text + used, held - used, "/%" PRIu64 ".%" PRIu64,
                                     lane->passed.major, lane->passed.minor);
    }
    return text;
}

static bool take_number(const char **at, uint64_t *ret)
{
    const char *from = *at;
    *ret = 0;
    for (; **at >= '0' && **at <= '9'; (*at)++)
        if (__builtin_mul_overflow(*ret, 10, ret) ||
            __builtin_add_overflow(*ret, (uint64_t)(**at - '0'), ret))
            return false;
    return *at > from && (*from != '0' || *at == from + 1);
}

static bool take_lane(const char **at, LaneValue *ret)
{
    *ret = (LaneValue){0};
    if (!take_number(at, &ret->next))
        return false;
    if (**at != '/')
        return true;
    (*at)++;
    if (!take_number(at, &ret->passed.major) || *(*at)++ != '.' ||
        !take_number(at, &ret->passed.minor))
        return false;
    return ret->passed.major || ret->passed.minor;
}

static bool parse(const char *text, LanePosition *ret)
{
    const char *sign = strrchr(text, '@');
    if (!sign || sign == text || (size_t)(sign - text) >= sizeof ret->source)
        return false;
    memcpy(ret->source, text, (size_t)(sign - text));
    const char *at = sign + 1;
    size_t most = 1;
    for (const char *comma = at; (comma = strchr(comma, ',')); comma++)
        most++;
    if (most > GROUP_LANES_MAX)
        return false;
    ret->lanes = mem_array(most, sizeof *ret->lanes);
    do
        if (!take_lane(&at, &ret->lanes[ret->lane_count++]))
            return false;
    while (*at++ == ',');
    return at[-1] == '\0';
}

bool lane_position_parse(const char *text, LanePosition *ret, Error *err)
{
    *ret = (LanePosition){0};
    return parse(text, ret) || error_set(err, ERROR_DATA, "BadPosition",
                                         "'%.200s' is no position of a topic's lanes", text);
}
