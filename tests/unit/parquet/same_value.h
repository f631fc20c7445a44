/* Two values of two columns, equal by content; fails the test and names both if not. */
#pragma once

#include "tests/unit/unit.h"

#include "agent/record/batch.h"

static void same_value(const Column *a, uint32_t at, const Column *b, uint32_t bt)
{
    if (column_is_null(a, at) != column_is_null(b, bt))
        fail_msg("%s: row %u and %u differ in being null", a->field->name, at, bt);
    if (column_is_null(a, at))
        return;
    if (a->width) {
        if (memcmp(a->values + (size_t)at * a->width, b->values + (size_t)bt * b->width, a->width))
            fail_msg("%s: row %u and %u differ", a->field->name, at, bt);
        return;
    }
    if (!a->offsets) {
        assert_int_equal(bit_get(a->values, at), bit_get(b->values, bt));
        return;
    }
    uint32_t a_bytes = (uint32_t)(a->offsets[at + 1] - a->offsets[at]);
    uint32_t b_bytes = (uint32_t)(b->offsets[bt + 1] - b->offsets[bt]);
    if (a_bytes != b_bytes)
        fail_msg("%s: row %u and %u differ in length", a->field->name, at, bt);
    for (uint32_t i = 0; a->child && i < a_bytes; i++)
        same_value(a->child, (uint32_t)a->offsets[at] + i, b->child, (uint32_t)b->offsets[bt] + i);
    if (!a->child && a_bytes)
        assert_memory_equal(a->values + a->offsets[at], b->values + b->offsets[bt], a_bytes);
}
