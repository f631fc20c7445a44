/* Deletion vectors in Puffin files.
 * https://iceberg.apache.org/puffin-spec/#deletion-vector-v1-blob-type
 *
 *   file   = "PFA1" blob* "PFA1" footer-JSON u32 JSON bytes, u32 flags (0), "PFA1"
 *   blob   = u32be bytes of (magic, vector); magic D1 D3 39 64; vector; u32be CRC-32 of (magic,
 * vector) vector = u64 number of 32-bit bitmaps; each: u32 high half of its positions, bitmap in
 * Roaring's portable form
 *
 * Positions in our files are below 2^32: one bitmap, high half 0. */
#include <string.h>
#include <zlib.h>

#include "agent/table/iceberg/iceberg.h"
#include "agent/table/iceberg/value.h"
#include "common/json/text.h"
#include "common/mem.h"
#include "common/reader.h"

#define MAGIC "PFA1"
#define ROW_POSITION_FIELD 2147483645
#define BLOB_BYTES_MAX ((int64_t)1 << 30)
static const uint8_t vector_magic[4] = {0xD1, 0xD3, 0x39, 0x64};

static void put_vector(Bytes *to, const roaring_bitmap_t *rows)
{
    size_t bitmap_bytes = roaring_bitmap_portable_size_in_bytes(rows);
    size_t bytes = sizeof vector_magic + 8 + 4 + bitmap_bytes;
    ASSERT(bytes <= INT32_MAX);
    bytes_put_u32be(to, (uint32_t)bytes);
    size_t checked = to->used;
    bytes_put(to, vector_magic, sizeof vector_magic);
    bytes_put_u64(to, 1);
    bytes_put_u32(to, 0);
    bytes_reserve(to, bitmap_bytes);
    roaring_bitmap_portable_serialize(rows, (char *)to->data + to->used);
    to->used += bitmap_bytes;
    bytes_put_u32be(to, (uint32_t)crc32(0, to->data + checked, (uInt)bytes));
}

static json_t *blob_json(const DeletionVector *vector, size_t offset, size_t bytes, uint64_t rows)
{
    AUTO(mem_free) char *cardinality = mem_format("%llu", (unsigned long long)rows);
    json_t *json =
        json_pack("{s:s,s:[i],s:i,s:i,s:I,s:I,s:{s:s,s:s}}", "type", "deletion-vector-v1", "fields",
                  ROW_POSITION_FIELD, "snapshot-id", -1, "sequence-number", -1, "offset",
                  (json_int_t)offset, "length", (json_int_t)bytes, "properties",
                  "referenced-data-file", vector->data_file, "cardinality", cardinality);
    ASSERT(json);
    return json;
}

bool puffin_write_vectors(Store *store, const char *uri, const DeletionVector *vectors,
                          size_t count, DataFile *ret_files, Error *err)
{
    Bytes file = {0};
    json_t *blobs = json_array();
    bytes_put(&file, MAGIC, 4);
    for (size_t i = 0; i < count; i++) {
        const DeletionVector *vector = &vectors[i];
        size_t offset = file.used;
        uint64_t rows = roaring_bitmap_get_cardinality(vector->rows);
        put_vector(&file, vector->rows);
        json_array_append_new(blobs, blob_json(vector, offset, file.used - offset, rows));
        ret_files[i] =
            (DataFile){.content = FILE_POSITION_DELETES,
                       .format = FORMAT_PUFFIN,
                       .path = mem_strdup(uri),
                       .spec_id = vector->spec_id,
                       .partition = values_copy(vector->partition, vector->partition_count),
                       .partition_count = vector->partition_count,
                       .record_count = rows,
                       .first_row_id = -1,
                       .referenced_data_file = mem_strdup(vector->data_file),
                       .content_offset = (int64_t)offset,
                       .content_bytes = (int64_t)(file.used - offset)};
    }
    json_t *footer = json_pack("{s:o,s:{s:s}}", "blobs", blobs, "properties", "created-by",
                               "firn version " FIRN_VERSION);
    char *text = json_text(footer, JSON_COMPACT);
    ASSERT(text);
    bytes_put(&file, MAGIC, 4);
    bytes_put(&file, text, strlen(text));
    bytes_put_u32(&file, (uint32_t)strlen(text));
    bytes_put_u32(&file, 0);
    bytes_put(&file, MAGIC, 4);
    free(text);
    json_decref(footer);
    bool ok = store_put(store, uri, file.data, file.used, err);
    for (size_t i = 0; i < count; i++) {
        ret_files[i].file_bytes = file.used;
        if (!ok)
            data_file_done(&ret_files[i]);
    }
    bytes_done(&file);
    return ok;
}

static bool bad(Error *err, const DataFile *file, const char *what)
{
    return error_set(err, ERROR_DATA, "BadPuffin", "deletion vector at %lld of %s: %s",
                     (long long)file->content_offset, file->path, what);
}

/* Roaring's portable form, checked before the library gets it: it trusts what is inside a
 * container, and would write past its memory for a run that passes the end of one.
 *
 *   u32 cookie   0x303A, then u32 containers; or 0x303B | (containers - 1) << 16, then a bit per
 *                container, set: runs
 *   container    u16 key, u16 cardinality - 1: for each, keys ascending
 *   u32 offset   for each; but not with runs and fewer than 4 containers
 *   data         runs: u16 count, (u16 first, u16 length - 1)*; cardinality <= 4096: u16 value*,
 *                ascending; else 1024 u64 of bits
 * https://github.com/RoaringBitmap/RoaringFormatSpec */
static bool check_runs(Reader *from, uint32_t cardinality)
{
    uint16_t count, first, more;
    uint32_t next = 0, sum = 0;
    const uint8_t *at;
    if (!reader_take(from, 2, &at))
        return false;
    memcpy(&count, at, 2);
    for (uint32_t r = 0; r < count; r++) {
        if (!reader_take(from, 4, &at))
            return false;
        memcpy(&first, at, 2);
        memcpy(&more, at + 2, 2);
        if (first < next || (uint32_t)first + more > UINT16_MAX)
            return false;
        next = (uint32_t)first + more + 1;
        sum += (uint32_t)more + 1;
    }
    return sum == cardinality;
}

static bool check_container(Reader *from, uint32_t cardinality, bool runs)
{
    const uint8_t *at;
    if (runs)
        return check_runs(from, cardinality);
    if (cardinality <= 4096) {
        if (!reader_take(from, (size_t)cardinality * 2, &at))
            return false;
        int32_t last = -1;
        for (uint32_t i = 0; i < cardinality; i++) {
            uint16_t value;
            memcpy(&value, at + (size_t)i * 2, 2);
            if (value <= last)
                return false;
            last = value;
        }
        return true;
    }
    if (!reader_take(from, 8192, &at))
        return false;
    uint32_t sum = 0;
    for (size_t i = 0; i < 1024; i++) {
        uint64_t bits;
        memcpy(&bits, at + i * 8, 8);
        sum += (uint32_t)__builtin_popcountll(bits);
    }
    return sum == cardinality;
}

/* Moves `from` past the bitmap. */
static bool check_bitmap(Reader *from)
{
    uint32_t cookie, containers;
    const uint8_t *run_flags = NULL, *heads, *at;
    if (!reader_u32(from, &cookie))
        return false;
    if ((cookie & 0xffff) == 0x303B) {
        containers = (cookie >> 16) + 1;
        if (!reader_take(from, (containers + 7) / 8, &run_flags))
            return false;
    } else if (cookie != 0x303A || !reader_u32(from, &containers) || containers > 65536) {
        return false;
    }
    if (!reader_take(from, (size_t)containers * 4, &heads) ||
        ((!run_flags || containers >= 4) && !reader_take(from, (size_t)containers * 4, &at)))
        return false;
    int32_t last = -1;
    for (uint32_t c = 0; c < containers; c++) {
        uint16_t key, less;
        memcpy(&key, heads + (size_t)c * 4, 2);
        memcpy(&less, heads + (size_t)c * 4 + 2, 2);
        bool runs = run_flags && (run_flags[c / 8] >> (c % 8) & 1);
        if (key <= last || !check_container(from, (uint32_t)less + 1, runs))
            return false;
        last = key;
    }
    return true;
}

/* The bitmaps of a vector; only positions below 2^32 fit what they belong to. */
static bool read_bitmaps(Reader *from, const DataFile *file, roaring_bitmap_t **ret, Error *err)
{
    uint64_t count;
    if (!reader_u64(from, &count) || count > reader_left(from) / 12 + 1)
        return bad(err, file, "the number of bitmaps is cut");
    *ret = NULL;
    for (uint64_t i = 0; i < count; i++) {
        uint32_t high;
        if (!reader_u32(from, &high))
            return bad(err, file, "a bitmap is cut");
        if (high != 0)
            return bad(err, file, "positions of 2^32 and more are not read");
        if (*ret)
            return bad(err, file, "a bitmap comes twice");
        const uint8_t *begin = from->at;
        if (!check_bitmap(from))
            return bad(err, file, "a bitmap is not in Roaring's portable form");
        *ret = roaring_bitmap_portable_deserialize_safe((const char *)begin,
                                                        (size_t)(from->at - begin));
        if (!*ret)
            return bad(err, file, "a bitmap is not in Roaring's portable form");
    }
    if (reader_left(from) != 0)
        return bad(err, file, "there is more than its bitmaps");
    if (!*ret)
        *ret = roaring_bitmap_create();
    return true;
}

bool puffin_read_vector(Store *store, const DataFile *file, roaring_bitmap_t **ret, Error *err)
{
    *ret = NULL;
    if (file->content_offset < 0 || file->content_bytes < 20 ||
        file->content_bytes > BLOB_BYTES_MAX)
        return bad(err, file, "offset or size is impossible");
    AUTO(store_reader_free) StoreReader *reader = store_reader_open(store, file->path, err);
    if (!reader)
        return false;
    uint64_t file_bytes = store_reader_bytes(reader);
    if ((uint64_t)file->content_offset > file_bytes ||
        (uint64_t)file->content_bytes > file_bytes - (uint64_t)file->content_offset)
        return bad(err, file, "it passes the file's end");
    AUTO(mem_free) uint8_t *blob = mem_alloc((size_t)file->content_bytes);
    if (!store_read(reader, (uint64_t)file->content_offset, blob, (size_t)file->content_bytes, err))
        return false;
    Reader from = reader_over(blob, (size_t)file->content_bytes);
    uint32_t bytes, crc;
    const uint8_t *checked;
    if (!reader_u32be(&from, &bytes) || !reader_take(&from, bytes, &checked) ||
        !reader_u32be(&from, &crc) || reader_left(&from) != 0 || bytes < sizeof vector_magic)
        return bad(err, file, "its length does not fit its place");
    if (memcmp(checked, vector_magic, sizeof vector_magic) != 0)
        return bad(err, file, "the magic is missing");
    if ((uint32_t)crc32(0, checked, bytes) != crc)
        return bad(err, file, "the checksum differs");
    Reader vector = reader_over(checked + sizeof vector_magic, bytes - sizeof vector_magic);
    if (!read_bitmaps(&vector, file, ret, err)) {
        if (*ret)
            roaring_bitmap_free(*ret);
        *ret = NULL;
        return false;
    }
    if (roaring_bitmap_get_cardinality(*ret) != file->record_count) {
        roaring_bitmap_free(*ret);
        *ret = NULL;
        return bad(err, file, "it has another number of rows than the manifest says");
    }
    return true;
}
