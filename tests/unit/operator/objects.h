/* Objects as tests write them down and look for them. */
#pragma once

#include "tests/unit/unit.h"

#include "operator/api/api.h"

/* The caller's. */
static inline json_t *parsed(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, 0, &error);
    if (!value)
        fail_msg("%s: %s", error.text, text);
    return value;
}

/* The first one of that kind; there must be one. */
static inline const json_t *of_kind(const json_t *list, Kind kind)
{
    size_t i;
    json_t *one;
    json_array_foreach(list, i, one)
    {
        if (kind_of(one) == kind)
            return one;
    }
    fail_msg("no %s", kinds[kind].name);
    return NULL;
}
