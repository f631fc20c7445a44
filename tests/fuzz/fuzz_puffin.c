/* links: firn_iceberg */
/* Any bytes as the vector of a deletion-vector-v1 blob: the frame and its checksum are made to fit,
 * or nothing would get past them. What is read is used, as the table uses it. */
#include <zlib.h>

#include "agent/store/driver.h"
#include "agent/table/iceberg/iceberg.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    Store store;
    StoreReader reader;
    Bytes blob;
} one;

static StoreReader *open_one(Store *store, const char *uri, Error *err)
{
    (void)uri;
    (void)err;
    one.reader.store = store;
    one.reader.bytes = one.blob.used;
    return &one.reader;
}

static void reader_free(StoreReader *reader)
{
    (void)reader;
}

static bool read_one(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    if (offset > reader->bytes || bytes > reader->bytes - offset)
        return error_set(err, ERROR_DATA, "ObjectTruncated", "cut");
    memcpy(to, one.blob.data + offset, bytes);
    return true;
}

static const StoreDriver driver = {.open = open_one, .reader_free = reader_free, .read = read_one};

static void use(roaring_bitmap_t *rows)
{
    roaring_bitmap_t *more = roaring_bitmap_from_range(60000, 140000, 3);
    roaring_bitmap_or_inplace(more, rows);
    roaring_bitmap_add(rows, 65535);
    roaring_bitmap_run_optimize(rows);
    roaring_bitmap_andnot_inplace(more, rows);
    uint64_t sum = 0;
    roaring_uint32_iterator_t *at = roaring_create_iterator(rows);
    for (int i = 0; at->has_value && i < 100000; i++) {
        sum += at->current_value;
        roaring_advance_uint32_iterator(at);
    }
    roaring_free_uint32_iterator(at);
    if (roaring_bitmap_portable_size_in_bytes(rows) == sum)
        roaring_bitmap_add(more, 1);
    roaring_bitmap_free(more);
    roaring_bitmap_free(rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint16_t cardinality;
    memcpy(&cardinality, data + size - 2, 2);
    size -= 2;
    one.store.driver = &driver;
    bytes_clear(&one.blob);
    bytes_put_u32be(&one.blob, (uint32_t)size + 4);
    bytes_put(&one.blob, "\xD1\xD3\x39\x64", 4);
    bytes_put(&one.blob, data, size);
    bytes_put_u32be(&one.blob, (uint32_t)crc32(0, one.blob.data + 4, (uInt)size + 4));
    DataFile file = {.path = (char[]){"x"},
                     .record_count = cardinality,
                     .content_bytes = (int64_t)one.blob.used};
    roaring_bitmap_t *rows;
    Error err;
    if (puffin_read_vector(&one.store, &file, &rows, &err))
        use(rows);
    return 0;
}
