/* links: firn_iceberg */
/* A manifest as anybody may write it: the Avro container (an input that starts with 'm' is instead
 * put as the plain block of a manifest with our own schema, so that entries are reached), every
 * value, and each entry as a file and as carried into another manifest. */
#include <stdlib.h>

#include "agent/table/iceberg/manifest_file.h"
#include "agent/table/iceberg/manifest_schema.h"
#include "common/mem.h"
#include "tests/fuzz/one_object.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static PartitionField fields[] = {
    {.name = (char[]){"country"}, .field_id = 1000, .result = {.kind = TYPE_STRING}},
    {.name = (char[]){"amount"},
     .field_id = 1001,
     .result = {.kind = TYPE_DECIMAL, .precision = 9, .scale = 2}},
};
static const PartitionSpec spec = {.spec_id = 0, .fields = fields, .field_count = 2};

static size_t walk(const AvroValue *value)
{
    size_t values = 1;
    if (value->kind == AVRO_BYTES && value->count)
        values += value->bytes[value->count - 1] == 0;
    if (value->kind == AVRO_RECORD || value->kind == AVRO_ARRAY)
        for (size_t i = 0; i < value->item_count; i++)
            values += walk(&value->items[i]);
    return values;
}

typedef struct Fate {
    const ManifestFile *manifest;
    ManifestWriter *writer;
} Fate;

static bool take_entry(const ManifestEntry *entry, void *context, Error *err)
{
    const Fate *fate = context;
    DataFile file;
    Error ignored = {0};
    if (manifest_entry_file(entry, fate->manifest, &spec, &file, &ignored))
        data_file_done(&file);
    return entry->status == ENTRY_DELETED ||
           manifest_put_carried(fate->writer, entry, ENTRY_EXISTING, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Bytes made = {0};
    Error err = {0};
    if (size && data[0] == 'm') {
        static const uint8_t sync[16] = {0};
        AUTO(mem_free) char *schema = manifest_schema(&spec, 3);
        bytes_put(&made, "Obj\1\2", 5);
        avro_put_text(&made, "avro.schema");
        avro_put_text(&made, schema);
        bytes_put_u8(&made, 0);
        bytes_put(&made, sync, sizeof sync);
        bytes_put_zigzag(&made, size > 1 ? data[1] : 0);
        avro_put_bytes(&made, data + (size > 1 ? 2 : 1), size - (size > 1 ? 2 : 1));
        bytes_put(&made, sync, sizeof sync);
        data = made.data;
        size = made.used;
    }
    AvroReader *reader = avro_reader_open(data, size, &err);
    const AvroValue *record;
    size_t records = 0;
    while (reader && records < 1000 && avro_reader_next(reader, &record, &err) && record) {
        records++;
        ASSERT(walk(record) > 0);
    }
    avro_reader_free(reader);

    OneObject object = {{&one_object_driver}, data, size};
    const ManifestFile manifest = {
        .path = (char[]){"m"}, .sequence_number = 7, .first_row_id = 100};
    ManifestWriter writer;
    manifest_writer_init(&writer, &spec, "{}", 0, 3, false, 1);
    Fate fate = {&manifest, &writer};
    if (!manifest_read(&object.store, &manifest, take_entry, &fate, &err))
        ASSERT(err.kind == ERROR_DATA);
    if (writer.started) { /* what was carried can be read again */
        avro_writer_finish(&writer.avro);
        OneObject again = {{&one_object_driver}, writer.avro.file.data, writer.avro.file.used};
        ManifestWriter second;
        manifest_writer_init(&second, &spec, "{}", 0, 3, false, 1);
        fate.writer = &second;
        Error why = {0};
        ASSERT(manifest_read(&again.store, &manifest, take_entry, &fate, &why));
        ASSERT(second.file.existing_rows == writer.file.existing_rows);
        manifest_writer_done(&second);
    }
    manifest_writer_done(&writer);
    bytes_done(&made);
    return 0;
}
