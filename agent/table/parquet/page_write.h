/* What a column has staged becomes a page: bounds, levels, encoding, compression, header. */
#pragma once

#include "agent/table/parquet/column_writer.h"

static inline bool is_bytes(const Leaf *leaf)
{
    return leaf->physical == PHYSICAL_BYTE_ARRAY;
}

static inline bool uses_dictionary(const ColumnWriter *writer)
{
    return writer->state != DICTIONARY_OFF;
}

/* Buffers of a value that is larger than pages are not kept. */
static inline size_t kept_bytes(const PageWorkshop *workshop)
{
    return workshop->page_bytes * 4;
}

/* Encodes what is staged, if anything, as the chunk's next page; is_last: no more will come. */
void page_end(ColumnWriter *writer, bool is_last);
/* Turns the page's numbers back to values; the column goes on without a dictionary. */
void page_drop_dictionary(ColumnWriter *writer);
/* Compresses the workshop's body; the page owns header and body in one piece. */
void page_finish(ColumnWriter *writer, Page *page, PageType type, uint32_t values,
                 CompressorHabit *habit);
