/* links: firn_iceberg */
/* A deletion vector as anybody may write it. The input is the vector behind its magic; length and
 * checksum are made right, so that the bitmaps are reached. An input that starts with 'r' is the
 * whole blob. */
#include <stdlib.h>
#include <zlib.h>

#include "agent/table/iceberg/iceberg.h"
#include "common/mem.h"
#include "tests/fuzz/one_object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Bytes blob = {0};
    uint64_t rows = 0;
    if (size < 2)
        return 0;
    if (data[0] == 'r') {
        bytes_put(&blob, data + 1, size - 1);
    } else {
        bytes_put_u32be(&blob, (uint32_t)(size + 3));
        bytes_put(&blob, "\xD1\xD3\x39\x64", 4);
        bytes_put(&blob, data + 1, size - 1);
        bytes_put_u32be(&blob, (uint32_t)crc32(0, blob.data + 4, (uInt)(blob.used - 4)));
    }
    OneObject object = {{&one_object_driver}, blob.data, blob.used};
    DataFile file = {.path = (char[]){"dv"}, .content_bytes = (int64_t)blob.used};
    /* The number of rows has to fit: try what the container heads of one bitmap say. */
    for (uint64_t guess = 0; guess < 2; guess++) {
        file.record_count = guess ? rows : 0;
        roaring_bitmap_t *bitmap;
        Error err = {0};
        if (puffin_read_vector(&object.store, &file, &bitmap, &err)) {
            ASSERT(roaring_bitmap_get_cardinality(bitmap) == file.record_count);
            roaring_bitmap_add_range(bitmap, 0, 70000); /* as its users do */
            roaring_bitmap_run_optimize(bitmap);
            Bytes again = {0};
            bytes_reserve(&again, roaring_bitmap_portable_size_in_bytes(bitmap));
            roaring_bitmap_portable_serialize(bitmap, (char *)again.data);
            bytes_done(&again);
            roaring_bitmap_free(bitmap);
        } else {
            ASSERT(err.kind == ERROR_DATA && !bitmap);
        }
        if (blob.used >= 28 && !guess) {
            uint32_t cookie, count;
            memcpy(&cookie, blob.data + 20, 4);
            bool runs = (cookie & 0xffff) == 12347;
            memcpy(&count, blob.data + 24, 4);
            count = runs ? (cookie >> 16) + 1 : count;
            size_t at = runs ? 24 + (count + 7) / 8 : 28;
            for (uint32_t i = 0; i < count && at + 4 <= blob.used; i++, at += 4) {
                uint16_t more;
                memcpy(&more, blob.data + at + 2, 2);
                rows += more + 1u;
            }
        }
    }
    bytes_done(&blob);
    return 0;
}
