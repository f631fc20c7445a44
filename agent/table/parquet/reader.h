/* What reader.c (whole columns) and pick.c (single rows) share. */
#pragma once

#include "agent/table/parquet/column_reader.h"
#include "agent/table/parquet/parquet.h"

typedef struct PageAt {
    uint64_t offset;
    uint64_t row; /* of the row group, its first */
} PageAt;

/* Where picking stands in a leaf. */
typedef struct PickLeaf {
    size_t group;  /* whose pages are known + 1; 0: none yet */
    PageAt *pages; /* if the file says; owned */
    size_t page_count;
} PickLeaf;

/* Where picking stands in a field: its leaves go side by side. */
typedef struct PickField {
    size_t group; /* started + 1; 0: none yet */
    uint64_t row; /* of the group, the next to be read */
} PickField;

struct ParquetReader {
    const Schema *wanted;
    StoreReader *file;
    Decompressor *decompressor;
    Footer footer;
    ColumnReader *leaves; /* of the fields, depth first */
    size_t *first_leaf;   /* per field */
    size_t group;         /* the next one to start */
    uint64_t group_left;  /* rows of the current one */
    uint64_t row;         /* in the file, of the next batch's first */
    uint32_t slice_rows;
    PickField *pick_fields; /* NULL: nothing was picked yet */
    PickLeaf *pick_leaves;
};
