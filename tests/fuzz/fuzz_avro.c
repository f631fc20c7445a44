/* links: firn_iceberg */
/* Any bytes as an Avro file, and as manifest entries or a manifest list where they look like one.
 * The last byte says whether the header is given: a mutation seldom gets past a schema in JSON. */
#include "agent/store/driver.h"
#include "agent/table/iceberg/manifest_file.h"
#include "agent/table/iceberg/manifest_schema.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A store that holds one object, the input. */
static struct {
    Store store;
    StoreReader reader;
    const uint8_t *data;
} one;

static StoreReader *open_one(Store *store, const char *uri, Error *err)
{
    (void)uri;
    (void)err;
    one.reader.store = store;
    return &one.reader;
}

static void reader_free(StoreReader *reader)
{
    (void)reader;
}

static bool read_one(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    (void)reader;
    (void)err;
    if (bytes)
        memcpy(to, one.data + offset, bytes);
    return true;
}

static const StoreDriver driver = {.open = open_one, .reader_free = reader_free, .read = read_one};

static PartitionField fields[] = {
    {.name = (char[]){"day"}, .field_id = 1000, .result.kind = TYPE_DATE},
    {.name = (char[]){"name"}, .field_id = 1001, .result.kind = TYPE_STRING},
    {.name = (char[]){"amount"},
     .field_id = 1002,
     .result = {.kind = TYPE_DECIMAL, .precision = 12, .scale = 2}},
    {.name = (char[]){"f"}, .field_id = 1003, .result = {.kind = TYPE_FIXED, .fixed_bytes = 3}}};
static PartitionSpec spec = {.fields = fields, .field_count = ARRAY_LEN(fields)};

static const PartitionSpec *spec_by_id(const void *context, int32_t spec_id)
{
    (void)context;
    return spec_id < 3 ? &spec : NULL;
}

static bool carry(const ManifestEntry *entry, void *context, Error *err)
{
    static const ManifestFile manifest = {.sequence_number = 3};
    DataFile file;
    uint64_t hash;
    if (manifest_entry_file(entry, &manifest, &spec, &file, NULL))
        data_file_done(&file);
    (void)!manifest_entry_partition(entry, &spec, &hash, NULL);
    (void)!manifest_put_carried(context, entry, ENTRY_EXISTING, err);
    return true;
}

static void read_all(const uint8_t *data, size_t size)
{
    Error err;
    one.store.driver = &driver;
    one.data = data;
    one.reader.bytes = size;
    AUTO(avro_reader_free) AvroReader *reader = avro_reader_open(data, size, &err);
    const AvroValue *record = NULL;
    while (reader && avro_reader_next(reader, &record, &err) && record) {
    }
    ManifestWriter writer;
    manifest_writer_init(&writer, &spec, "{}", 0, 3, true, 5);
    ManifestFile manifest = {
        .path = (char[]){"m"}, .sequence_number = 3, .first_row_id = 7, .deletes = true};
    (void)!manifest_read(&one.store, &manifest, carry, &writer, &err);
    manifest_writer_done(&writer);
    (void)!manifest_load_keys(&one.store, &manifest, &err);
    hashes_done(&manifest.keys);
    ManifestFile *manifests;
    size_t count;
    if (manifest_list_read(&one.store, "l", spec_by_id, NULL, &manifests, &count, &err))
        manifest_files_free(manifests, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    uint8_t how = data[--size] & 3;
    if (how == 0) {
        read_all(data, size);
        return 0;
    }
    char *schema = how == 1 ? manifest_list_schema(3) : manifest_schema(&spec, 3);
    Bytes file = {0};
    bytes_put(&file, "Obj\1", 4);
    bytes_put_zigzag(&file, 1);
    avro_put_text(&file, "avro.schema");
    avro_put_text(&file, schema);
    bytes_put_u8(&file, 0);
    bytes_put(&file, "0123456789abcdef", 16);
    bytes_put_zigzag(&file, data[--size]);
    avro_put_bytes(&file, data, size);
    bytes_put(&file, "0123456789abcdef", 16);
    read_all(file.data, file.used);
    bytes_done(&file);
    free(schema);
    return 0;
}
