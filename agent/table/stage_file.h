/* A staged piece's object, little-endian; written by one consumer of a group, read by another, and
 * believed as little as anything that comes from outside:
 *
 *   8  "FIRNPC01"
 *   8  XXH3 of the table's columns (Iceberg's schema as JSON) that the files were written for
 *   8  the seed of the keys' hashes; 0: mode Append, there are no keys
 *   1  1: keys are of 16 bytes
 *   4  files, then each: 4 + n path · 4 spec id · 8 rows · 8 bytes
 *                        4 partition values, each: 1 null? · 16 fixed value, or 4 + n bytes
 *                        4 metrics, each as it is in memory · 4 split offsets, 8 each
 *   8  keys, then their first halves, second halves (16 bytes alone), files, positions
 *      file STAGE_LEFT: the row is the next of those below
 *   8  rows whose updates left values out, 8 bytes of them, each (per column of the source):
 *      1 null · there · unchanged, then the value (fixed width, 4 + n bytes, elements, fields)
 *   8  XXH3 of everything before */
#pragma once

#include <stdlib.h>

#include "agent/table/table_private.h"
#include "common/reader.h"

#define STAGE_LEFT (UINT32_MAX - 1)

typedef struct StageFile {
    uint64_t columns; /* the hash */
    uint64_t seed;
    bool wide;
    DataFile *files;
    uint32_t file_count;
    uint64_t *first, *second;
    uint32_t *in_file, *positions;
    uint64_t key_count;
    uint64_t left_count;
    const uint8_t *left; /* into the object's bytes */
    uint64_t left_bytes;
} StageFile;

void stage_file_done(StageFile *file); /* what stage_file_decode made, but `left` */
void stage_file_encode(const StageFile *file, Bytes *to);
/* spec: of the table; DATA "BadPiece". */
MUST_CHECK bool stage_file_decode(const Bytes *from, const IcebergTable *iceberg, StageFile *ret,
                                  Error *err);
void stage_row_encode(const Batch *batch, uint32_t row, Bytes *to);
/* Appends one row (an update) to the batch. DATA "BadPiece". */
MUST_CHECK bool stage_row_decode(Reader *in, Batch *batch, Error *err);
uint64_t stage_columns(const Table *table);
char *stage_uri(const Table *table, const char *name) OWNED_BY(free);
