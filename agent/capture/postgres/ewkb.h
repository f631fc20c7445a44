/* PostGIS's geometry and geography as their send functions write them (EWKB), made plain ISO WKB:
 *
 *   1 byte order (0 big-endian, 1 little-endian), uint32 type, [uint32 SRID], then
 *     point (1)                        a position
 *     line, circular string (2, 8)     uint32 positions, each
 *     polygon, triangle (3, 17)        uint32 rings, each uint32 positions, each
 *     what is made of others (4 … 7, 9 … 12, 15, 16)   uint32 parts, each a whole geometry
 *
 * EWKB's type word has flags: 80000000 Z, 40000000 M, 20000000 an SRID follows; a position has 2 to
 * 4 doubles by these. ISO's has 1000 more for Z, 2000 for M, and no SRID: which one it is, the
 * column's doc says. The order of bytes stays.
 * ISO 19125-1, ISO 13249-3; https://libgeos.org/specifications/wkb/ */
#pragma once

#include "common/bytes.h"

/* Appends the WKB. NULL on success, else the reason, a static text that goes on from "value ". */
MUST_CHECK const char *ewkb_to_wkb(const uint8_t *value, uint32_t bytes, Bytes *to);

/* The SRID that a column's typmod declares; 0: none. */
int32_t ewkb_srid(int32_t typmod);
