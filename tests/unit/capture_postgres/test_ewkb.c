/* links: firn_capture_postgres */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#include "agent/capture/postgres/ewkb.h"

/* Hexadecimal: EWKB, and PostGIS's own ST_AsBinary of it. Spaces are for the reader. */
typedef struct Case {
    const char *ewkb, *wkb;
} Case;

static size_t unhex(const char *text, uint8_t *to)
{
    size_t bytes = 0;
    for (; *text; text++) {
        unsigned byte;
        if (*text == ' ')
            continue;
        assert_int_equal(sscanf(text, "%2x", &byte), 1);
        to[bytes++] = (uint8_t)byte;
        text++;
    }
    return bytes;
}

#define ONE "000000000000F03F"
#define TWO "0000000000000040"
#define ONE_BIG "3FF0000000000000"

static const Case cases[] = {
    /* POINT(1 2), with SRID 4326, with Z, M, both; big-endian */
    {"01 01000000" ONE TWO, "01 01000000" ONE TWO},
    {"01 01000020 E6100000" ONE TWO, "01 01000000" ONE TWO},
    {"01 01000080" ONE TWO ONE, "01 E9030000" ONE TWO ONE},
    {"01 01000040" ONE TWO ONE, "01 D1070000" ONE TWO ONE},
    {"01 010000E0 E6100000" ONE TWO ONE TWO, "01 B90B0000" ONE TWO ONE TWO},
    {"00 20000001 000010E6" ONE_BIG ONE_BIG, "00 00000001" ONE_BIG ONE_BIG},
    /* LINESTRING EMPTY; POLYGON with a ring; of no ring */
    {"01 02000000 00000000", "01 02000000 00000000"},
    {"01 03000020 E6100000 01000000 02000000" ONE TWO ONE TWO,
     "01 03000000 01000000 02000000" ONE TWO ONE TWO},
    {"01 03000000 00000000", "01 03000000 00000000"},
    /* GEOMETRYCOLLECTION M (GEOMETRYCOLLECTION M (POINT M), LINESTRING M of one), other orders
     * inside */
    {"01 07000060 E6100000 02000000"
     "01 07000040 01000000 00 40000001" ONE_BIG ONE_BIG ONE_BIG "01 02000040 01000000" ONE TWO ONE,
     "01 D7070000 02000000"
     "01 D7070000 01000000 00 000007D1" ONE_BIG ONE_BIG ONE_BIG "01 D2070000 01000000" ONE TWO ONE},
};

static void srids_are_taken_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint8_t ewkb[300], wkb[300];
        size_t bytes = unhex(cases[i].ewkb, ewkb), wanted = unhex(cases[i].wkb, wkb);
        Bytes to = {0};
        assert_null(ewkb_to_wkb(ewkb, (uint32_t)bytes, &to));
        assert_int_equal(to.used, wanted);
        assert_memory_equal(to.data, wkb, wanted);
        for (uint32_t cut = 0; cut < bytes; cut++) {
            uint8_t *exact = malloc(cut + 1); /* reading past it is seen */
            memcpy(exact, ewkb, cut);
            bytes_clear(&to);
            assert_non_null(ewkb_to_wkb(exact, cut, &to));
            free(exact);
        }
        bytes_clear(&to);
        ewkb[bytes] = 0;
        assert_non_null(ewkb_to_wkb(ewkb, (uint32_t)bytes + 1, &to));
        bytes_done(&to);
    }
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "02 01000000" ONE TWO,         /* byte order */
        "01 0D000000" ONE TWO,         /* kind */
        "01 02000000 FFFFFFFF" ONE,    /* positions */
        "01 03000000 FFFFFFFF" ONE,    /* rings */
        "01 07000000 FFFFFFFF" ONE,    /* parts */
        "01 01000010" ONE TWO ONE TWO, /* a flag that nobody knows */
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint8_t ewkb[100];
        Bytes to = {0};
        size_t bytes = unhex(texts[i], ewkb);
        assert_non_null(ewkb_to_wkb(ewkb, (uint32_t)bytes, &to));
        bytes_done(&to);
    }
}

static void typmods_declare_srids(void **state)
{
    (void)state;
    assert_int_equal(ewkb_srid(-1), 0);
    assert_int_equal(ewkb_srid(4326 << 8 | 1 << 2), 4326);         /* geometry(Point,4326) */
    assert_int_equal(ewkb_srid(4326 << 8 | 1 << 2 | 2), 4326);     /* geometry(PointZ,4326) */
    assert_int_equal(ewkb_srid(999999 << 8 | 7 << 2 | 3), 999999); /* the highest */
    assert_int_equal(ewkb_srid(1 << 2), 0);                        /* geometry(Point) */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(srids_are_taken_out),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(typmods_declare_srids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
