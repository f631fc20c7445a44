#include "agent/table/readers.h"

void file_readers_close(FileReaders *readers)
{
    for (size_t i = 0; i < READERS; i++) {
        parquet_reader_free(readers->open[i].parquet);
        readers->open[i] = (OpenReader){0};
    }
}

bool file_readers_get(FileReaders *readers, const Schema *wanted, uint32_t file,
                      ParquetReader **ret, Error *err)
{
    OpenReader *place = &readers->open[0];
    for (size_t i = 0; i < READERS; i++) {
        OpenReader *reader = &readers->open[i];
        if (reader->file == file) {
            place = reader;
            break;
        }
        if (reader->used < place->used)
            place = reader;
    }
    place->used = ++readers->reads;
    *ret = place->parquet;
    if (place->file == file)
        return true;
    parquet_reader_free(place->parquet);
    *place = (OpenReader){.used = readers->reads};
    const char *uri;
    if (!readers->file(readers->context, file, &uri, err))
        return false;
    StoreReader *object = store_reader_open(readers->store, uri, err);
    if (object)
        place->parquet = parquet_reader_open(object, wanted, err);
    if (!place->parquet)
        return error_wrap(err, "data file %s", uri);
    place->file = file;
    *ret = place->parquet;
    return true;
}

bool file_readers_failed(const FileReaders *readers, uint32_t file, Error *err)
{
    const char *uri;
    return readers->file(readers->context, file, &uri, NULL) &&
           error_wrap(err, "data file %s", uri);
}

size_t file_readers_memory(const FileReaders *readers)
{
    size_t bytes = 0;
    for (size_t i = 0; i < READERS; i++)
        if (readers->open[i].parquet)
            bytes += parquet_reader_memory(readers->open[i].parquet);
    return bytes;
}
