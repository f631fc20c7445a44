/* FileMetaData as far as the reader needs it: which leaf columns of the file hold the fields
 * wanted, and where their chunks lie. Everything is checked before it is believed. */
#pragma once

#include "agent/store/store.h"
#include "agent/table/parquet/leaf.h"

/* A wanted field's leaf in the file. */
typedef struct SourceLeaf {
    bool found; /* else every value is null */
    uint32_t index;
    Physical physical;
    uint32_t width; /* FIXED */
    uint8_t definition_max, repetition_max;
    uint8_t element_from; /* in a list: levels from here up are elements (null ones included) */
    uint8_t list_from;    /* in a list: levels from here up are lists, below: null */
    int64_t multiplier;   /* of times: to microseconds */
} SourceLeaf;

typedef struct SourceChunk {
    uint64_t offset, bytes;
    Codec codec;
} SourceChunk;

typedef struct SourceGroup {
    uint64_t rows;
    SourceChunk *chunks; /* one per wanted field */
} SourceGroup;

typedef struct Footer {
    uint64_t rows;
    SourceLeaf *leaves; /* one per wanted field */
    size_t leaf_count;
    SourceGroup *groups;
    size_t group_count;
} Footer;

void footer_done(Footer *footer);
/* Reads and checks the end of the file; *ret wants footer_done in any case. */
MUST_CHECK bool footer_read(StoreReader *file, const Schema *wanted, Footer *ret, Error *err);
