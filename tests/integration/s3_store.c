/* links: firn_store */
/* The S3 store by hand: what test_s3_store.py does to real servers.
 *
 *   s3_store ENDPOINT REGION COMMAND URI [ARGUMENT…]
 *
 * Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a CA's file from CA_FILE. Ends with 1
 * and "Kind Code: message" on stderr when the store refuses. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/store/store.h"
#include "common/clock.h"

static Error err;

static bool print_entry(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    (void)context;
    printf("%llu\t%lld\t%s\n", (unsigned long long)bytes, (long long)modified_us, uri);
    return true;
}

/* The file's bytes, in writes of odd sizes. */
static bool write_file(StoreWriter *writer, const char *path)
{
    uint8_t piece[100003];
    size_t got;
    FILE *file = fopen(path, "rb");
    bool ok = file != NULL;
    while (ok && (got = fread(piece, 1, sizeof piece, file)) > 0)
        ok = store_write(writer, piece, got, &err);
    if (file)
        fclose(file);
    return ok;
}

static bool upload(Store *store, const char *uri, const char *path, const char *end)
{
    StoreWriter *writer = store_create(store, uri, &err);
    bool ok = writer && write_file(writer, path);
    if (ok && strcmp(end, "crash") == 0)
        _exit(9); /* what was begun stays */
    if (ok && strcmp(end, "finish") == 0)
        ok = store_finish(writer, &err);
    store_writer_free(writer);
    return ok;
}

static bool get(Store *store, const char *uri)
{
    Bytes got = {0};
    bool ok = store_get(store, uri, (size_t)1 << 30, &got, &err);
    if (ok)
        fwrite(got.data, 1, got.used, stdout);
    bytes_done(&got);
    return ok;
}

static bool range(Store *store, const char *uri, const char *from, const char *bytes_text)
{
    size_t bytes = strtoull(bytes_text, NULL, 10);
    uint8_t *to = malloc(bytes + 1);
    StoreReader *reader = store_reader_open(store, uri, &err);
    bool ok = reader && store_read(reader, strtoull(from, NULL, 10), to, bytes, &err);
    if (ok)
        fwrite(to, 1, bytes, stdout);
    store_reader_free(reader);
    free(to);
    return ok;
}

static bool many(Store *store, const char *uri, const char *count)
{
    bool ok = true;
    for (long i = 0; ok && i < strtol(count, NULL, 10); i++) {
        char name[512];
        int bytes = snprintf(name, sizeof name, "%s%05ld", uri, i);
        ok = bytes > 0 && store_put(store, name, name, (size_t)bytes, &err);
    }
    return ok;
}

/* Whole sequential throughput: writes or reads so many bytes in pieces of 1 MiB. */
static bool stream(Store *store, const char *uri, const char *mib, bool write)
{
    size_t pieces = strtoull(mib, NULL, 10), piece = (size_t)1 << 20;
    uint8_t *data = malloc(piece * 8);
    for (size_t i = 0; i < piece; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 13);
    int64_t begun_us = clock_mono_us();
    bool ok;
    if (write) {
        StoreWriter *writer = store_create(store, uri, &err);
        ok = writer != NULL;
        for (size_t i = 0; ok && i < pieces; i++)
            ok = store_write(writer, data, piece, &err);
        ok = ok && store_finish(writer, &err);
        store_writer_free(writer);
    } else {
        StoreReader *reader = store_reader_open(store, uri, &err);
        ok = reader != NULL;
        for (size_t i = 0; ok && i < pieces; i += 8)
            ok = store_read(reader, i * piece, data, piece * 8, &err);
        store_reader_free(reader);
    }
    free(data);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("%.3f s, %ld KiB at most, CPU %.2f s\n", (double)(clock_mono_us() - begun_us) / 1e6,
           used.ru_maxrss,
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return ok;
}

/* Twice over what was read: the second time it is no longer what stands there. */
static bool replace(Store *store, const char *uri, const char *first, const char *second)
{
    Bytes found = {0};
    StoreTag tag, old;
    bool ok = store_get_tagged(store, uri, 1000, &found, &tag, &err);
    bytes_done(&found);
    old = tag;
    return ok && store_put_tagged(store, uri, first, strlen(first), &tag, &err) &&
           store_put_tagged(store, uri, second, strlen(second), &old, &err);
}

static bool run(Store *store, int argc, char **argv)
{
    const char *command = argv[3], *uri = argv[4];
    const char *first = argc > 5 ? argv[5] : "", *second = argc > 6 ? argv[6] : "";
    bool there = false;
    if (strcmp(command, "upload") == 0)
        return upload(store, uri, first, *second ? second : "finish");
    if (strcmp(command, "put") == 0)
        return store_put(store, uri, first, strlen(first), &err);
    if (strcmp(command, "put_new") == 0)
        return store_put_new(store, uri, first, strlen(first), &err);
    if (strcmp(command, "replace") == 0)
        return replace(store, uri, first, second);
    if (strcmp(command, "get") == 0)
        return get(store, uri);
    if (strcmp(command, "range") == 0)
        return range(store, uri, first, second);
    if (strcmp(command, "many") == 0)
        return many(store, uri, first);
    if (strcmp(command, "list") == 0)
        return store_list(store, uri, print_entry, NULL, &err);
    if (strcmp(command, "delete") == 0)
        return store_delete(store, uri, &err);
    if (strcmp(command, "delete_all") == 0)
        return store_delete_all(store, uri, &err);
    if (strcmp(command, "sweep") == 0)
        return store_sweep_unfinished(store, uri,
                                      clock_wall_us() - strtoll(first, NULL, 10) * 1000000, &err);
    if (strcmp(command, "stream_in") == 0 || strcmp(command, "stream_out") == 0)
        return stream(store, uri, first, strcmp(command, "stream_in") == 0);
    if (strcmp(command, "exists") == 0 && store_exists(store, uri, &there, &err))
        return printf("%s\n", there ? "yes" : "no") > 0;
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    char pem[16384] = "";
    const char *ca = getenv("CA_FILE");
    int fd = ca && *ca ? open(ca, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0 && read(fd, pem, sizeof pem - 1) < 0)
        return 2;
    S3Options options = {
        .endpoint = argv[1], .region = argv[2], .path_style = true, .ca_pem = fd >= 0 ? pem : NULL};
    if (fd >= 0)
        close(fd);
    Store *store = store_open(argv[4], &options, &err);
    bool ok = store && run(store, argc, argv);
    if (!ok)
        fprintf(stderr, "%s %s: %s\n", error_kind_name(err.kind), err.code, err.message);
    store_close(store);
    return ok ? 0 : 1;
}
