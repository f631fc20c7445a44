#include "agent/table/parquet/page_index.h"

#include "agent/table/parquet/thrift.h"

static bool page_is_null(const Page *page)
{
    return page->nulls == page->slots;
}

static bool put_ends(Bytes *to, int16_t *last, int16_t id, const Leaf *leaf, const Page *pages,
                     uint32_t count, bool upper, bool *all_exact)
{
    thrift_put_list(to, last, id, THRIFT_BINARY, count);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t bound[RANGE_CUT_BYTES];
        size_t bytes = 0;
        bool exact = true;
        if (!page_is_null(&pages[i]) &&
            !range_plain(leaf, &pages[i].range, upper, bound, &bytes, &exact))
            return false;
        *all_exact &= exact;
        thrift_put_element_binary(to, bound, bytes);
    }
    return true;
}

static BoundaryOrder order_of(const Leaf *leaf, const Page *pages, uint32_t count)
{
    bool ascending = true, descending = true;
    const Range *before = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (page_is_null(&pages[i]))
            continue;
        const Range *range = &pages[i].range;
        if (before) {
            int low = range_compare(&before->min, &range->min, leaf->range);
            int high = range_compare(&before->max, &range->max, leaf->range);
            ascending &= low <= 0 && high <= 0;
            descending &= low >= 0 && high >= 0;
        }
        before = range;
    }
    return ascending ? BOUNDARY_ASCENDING : descending ? BOUNDARY_DESCENDING : BOUNDARY_UNORDERED;
}

bool page_index_put_bounds(Bytes *to, const Leaf *leaf, const Page *pages, uint32_t count)
{
    size_t start = to->used;
    int16_t last = 0;
    bool all_exact = true;
    thrift_put_list(to, &last, 1, THRIFT_TRUE, count);
    for (uint32_t i = 0; i < count; i++)
        bytes_put_u8(to, page_is_null(&pages[i]) ? THRIFT_TRUE : THRIFT_FALSE);
    if (!put_ends(to, &last, 2, leaf, pages, count, false, &all_exact) ||
        !put_ends(to, &last, 3, leaf, pages, count, true, &all_exact)) {
        to->used = start;
        return false;
    }
    /* Shortened bounds need not be in the order of what they bound. */
    thrift_put_i32(to, &last, 4, all_exact ? order_of(leaf, pages, count) : BOUNDARY_UNORDERED);
    thrift_put_list(to, &last, 5, THRIFT_I64, count);
    for (uint32_t i = 0; i < count; i++)
        bytes_put_zigzag(to, pages[i].nulls);
    thrift_put_stop(to);
    return true;
}

void page_index_put_offsets(Bytes *to, uint64_t offset, const Page *pages, uint32_t count)
{
    int16_t last = 0;
    uint64_t row = 0;
    thrift_put_list(to, &last, 1, THRIFT_STRUCT, count);
    for (uint32_t i = 0; i < count; i++) {
        int16_t inner = 0;
        thrift_put_i64(to, &inner, 1, (int64_t)offset);
        thrift_put_i32(to, &inner, 2, (int32_t)pages[i].bytes);
        thrift_put_i64(to, &inner, 3, (int64_t)row);
        thrift_put_stop(to);
        offset += pages[i].bytes;
        row += pages[i].rows;
    }
    thrift_put_stop(to);
}
