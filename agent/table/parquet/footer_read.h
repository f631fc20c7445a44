/* FileMetaData as far as the reader needs it: which leaf columns of the file hold the leaves of the
 * fields wanted, and where their chunks lie. Everything is checked before it is believed. */
#pragma once

#include "agent/store/store.h"
#include "agent/table/parquet/leaf.h"

/* A leaf of the fields wanted (leaves_of), in the file. Levels are the file's: what may be null
 * there is its own to say. */
typedef struct SourceLeaf {
    bool found; /* else every value is null */
    uint32_t index;
    Physical physical;
    uint32_t width; /* FIXED */
    uint8_t definition_max, repetition_max;
    /* Per list, map or struct above it, outermost first: definition levels from here up say that it
     * is there, below: null. A list or map has an element from the next one up. */
    uint8_t step_from[LEAF_DEPTH_MAX];
    uint8_t element_from; /* levels from here up are elements of the innermost of them; 0: none */
    int64_t multiplier;   /* of times: to microseconds */
} SourceLeaf;

typedef struct SourceChunk {
    uint64_t offset, bytes;
    uint64_t pages_at;    /* its offset index */
    uint32_t pages_bytes; /* 0: none */
    Codec codec;
} SourceChunk;

typedef struct SourceGroup {
    uint64_t rows;
    SourceChunk *chunks; /* one per leaf */
} SourceGroup;

typedef struct Footer {
    uint64_t rows;
    SourceLeaf *leaves; /* of the fields wanted, depth first */
    size_t leaf_count;
    SourceGroup *groups;
    size_t group_count;
} Footer;

void footer_done(Footer *footer);
/* Reads and checks the end of the file; *ret wants footer_done in any case. */
MUST_CHECK bool footer_read(StoreReader *file, const Schema *wanted, Footer *ret, Error *err);
