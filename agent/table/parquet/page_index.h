/* Column index and offset index of a chunk.
 * https://github.com/apache/parquet-format/blob/master/PageIndex.md */
#pragma once

#include "agent/table/parquet/column_writer.h"

/* False, and nothing is appended, when a page's bounds can't be told (only NaN, no valid text). */
bool page_index_put_bounds(Bytes *to, const Leaf *leaf, const Page *pages, uint32_t count);
/* The pages lie one after the other from `offset` on. */
void page_index_put_offsets(Bytes *to, uint64_t offset, const Page *pages, uint32_t count);
