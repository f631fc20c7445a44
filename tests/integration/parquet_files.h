/* A file on disk behind the store's writer and reader: for programs that want nothing else of a
 * store. Include it in one source of a program only. */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/store/store.h"

struct StoreWriter {
    int fd;
};
struct StoreReader {
    int fd;
    uint64_t bytes;
};

static StoreWriter *file_writer(const char *path)
{
    StoreWriter *writer = mem_zalloc(sizeof *writer);
    writer->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (writer->fd < 0) {
        perror(path);
        exit(1);
    }
    return writer;
}

static inline StoreReader *file_reader(const char *path)
{
    struct stat status;
    StoreReader *reader = mem_zalloc(sizeof *reader);
    reader->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0 || fstat(reader->fd, &status) != 0) {
        perror(path);
        exit(1);
    }
    reader->bytes = (uint64_t)status.st_size;
    return reader;
}

void store_writer_free(StoreWriter *writer)
{
    if (!writer)
        return;
    close(writer->fd);
    free(writer);
}

void store_reader_free(StoreReader *reader)
{
    if (!reader)
        return;
    close(reader->fd);
    free(reader);
}

bool store_write(StoreWriter *writer, const void *data, size_t bytes, Error *err)
{
    const char *from = data;
    while (bytes) {
        ssize_t written = write(writer->fd, from, bytes);
        if (written < 0)
            return error_set(err, ERROR_RETRY, "WriteFailed", "write: %m");
        from += written;
        bytes -= (size_t)written;
    }
    return true;
}

bool store_finish(StoreWriter *writer, Error *err)
{
    (void)writer, (void)err;
    return true;
}

uint64_t store_reader_bytes(const StoreReader *reader)
{
    return reader->bytes;
}

bool store_read(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    char *into = to;
    while (bytes) {
        ssize_t got = pread(reader->fd, into, bytes, (off_t)offset);
        if (got <= 0)
            return error_set(err, ERROR_DATA, "ShortRead", "read past the end of the file");
        into += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return true;
}
