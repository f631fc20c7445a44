/* Data files that were read last, open: for the values of single rows, wherever they stand. */
#pragma once

#include "agent/table/parquet/parquet.h"

#define READERS 8 /* what they know of their files stays */

/* The URI of a file that is whole, by its number; it lasts until the next call of anything. */
typedef bool WholeFile(void *context, uint32_t number, const char **ret_uri, Error *err);

typedef struct OpenReader {
    uint32_t file; /* 0: none */
    uint64_t used;
    ParquetReader *parquet;
} OpenReader;

typedef struct FileReaders {
    Store *store;
    WholeFile *file;
    void *context;
    OpenReader open[READERS];
    uint64_t reads;
} FileReaders;

void file_readers_close(
    FileReaders *readers); /* all; they are opened again as they are asked for */
/* wanted: what is read; the same until they are closed. */
MUST_CHECK bool file_readers_get(FileReaders *readers, const Schema *wanted, uint32_t file,
                                 ParquetReader **ret, Error *err);
/* The file's URI into the error's message; false. */
bool file_readers_failed(const FileReaders *readers, uint32_t file, Error *err);
size_t file_readers_memory(const FileReaders *readers); /* once they rest */
