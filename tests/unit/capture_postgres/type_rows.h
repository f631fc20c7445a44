/* The rows of pg_type that the tests' values need beyond what types.c knows by itself. */
#pragma once

#include "tests/unit/capture_postgres/fixture.h"

#define FLOAT_RANGE 70000
#define PAIR 70001
#define FIRST_EXTENSION 70010

static char nothing[] = "", box_name[] = "box";

/* A part makes it an array, a range or a multirange. */
#define ROW(oid_, typtype_, part_)                                                                 \
    {                                                                                              \
        .oid = (oid_), .typtype = (typtype_), .part_oid = (part_), .name = nothing,                \
        .extension = nothing, .delimiter = ',', .sendable = true                                   \
    }

static PgAttribute pair_attributes[] = {
    {(char[]){"a"}, 23, -1, 1, false, false, 0},
    {(char[]){"b"}, 25, -1, 2, false, false, 0},
};

/* By oid. */
static PgType rows[] = {
    {.oid = 603, .typtype = 'b', .name = box_name, .extension = nothing, .delimiter = ';'},
    ROW(1000, 'b', 16),
    ROW(1001, 'b', 17),
    ROW(1005, 'b', 21),
    ROW(1007, 'b', 23),
    ROW(1009, 'b', 25),
    ROW(1014, 'b', 1042),
    ROW(1016, 'b', 20),
    ROW(1020, 'b', 603),
    ROW(1021, 'b', 700),
    ROW(1041, 'b', 869),
    ROW(1182, 'b', 1082),
    ROW(1185, 'b', 1184),
    ROW(1187, 'b', 1186),
    ROW(1231, 'b', 1700),
    ROW(2951, 'b', 2950),
    ROW(3807, 'b', 3802),
    ROW(3904, 'r', 23),
    ROW(3905, 'b', 3904),
    ROW(3906, 'r', 1700),
    ROW(3908, 'r', 1114),
    ROW(3910, 'r', 1184),
    ROW(3912, 'r', 1082),
    ROW(3926, 'r', 20),
    ROW(4451, 'm', 3904),
    ROW(4533, 'm', 3908),
    ROW(FLOAT_RANGE, 'r', 701),
    {.oid = PAIR,
     .typtype = 'c',
     .name = nothing,
     .extension = nothing,
     .delimiter = ',',
     .sendable = true,
     .attributes = pair_attributes,
     .attribute_count = 2},
    ROW(FIRST_EXTENSION, 'b', 0), /* the line's own type */
    ROW(FIRST_EXTENSION + 1, 'b', FIRST_EXTENSION),
};
static const PgTypes types = {.types = rows, .count = ARRAY_LEN(rows), .money_scale = 2};
