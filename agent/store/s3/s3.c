/* The store: locations, whole objects, ranges, and the conditional PUT.
 *
 * store_put_new rests on `If-None-Match: *`. A server that ignores it would let two writers both
 * win, silently; so the first store_put_new of a bucket puts a probe twice, and only a server that
 * refuses the second is trusted. (`If-Match`, of store_put_tagged, guards what a sleeping process
 * might write late; a server that ignores it is no reason to refuse service.) When an answer was
 * lost, a refusal may be that of our own first attempt: then what stands there is compared with
 * ours. */
#include "agent/store/s3/s3.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/random.h>

#include "common/clock.h"

#define PIECE_BYTES ((size_t)8 << 20) /* of a long read: what is asked for again when it is cut */
#define CONNECTIONS_MAX 32
#define PATIENCE_US 60000000

typedef struct S3Reader {
    StoreReader reader;
    S3Place place;
    char *etag;
} S3Reader;

/* ---------- places ---------- */

void s3_place_done(S3Place *place)
{
    free(place->uri);
    free(place->bucket);
    *place = (S3Place){0};
}

static bool is_bucket(const char *name)
{
    size_t bytes = strlen(name);
    if (bytes < 3 || bytes > 255 || !isalnum((unsigned char)name[0]))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
               bytes &&
           !strstr(name, "..");
}

/* Keys are taken as they stand: nothing in a URI of a table's metadata is percent-decoded. */
bool s3_place_of(const char *uri, S3Place *ret, Error *err)
{
    static const char *const schemes[] = {"s3://", "s3a://", "s3n://"};
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t bytes = strlen(schemes[i]);
        if (strncmp(uri, schemes[i], bytes) != 0)
            continue;
        const char *bucket = uri + bytes;
        size_t bucket_bytes = strcspn(bucket, "/");
        const char *key = bucket + bucket_bytes + (bucket[bucket_bytes] == '/');
        S3Place place = {.bucket = mem_strndup(bucket, bucket_bytes)};
        if (!is_bucket(place.bucket)) {
            s3_place_done(&place);
            return error_set(err, ERROR_CONFIG, "LocationUnusable",
                             "%.300s names no bucket; write s3://BUCKET/PREFIX", uri);
        }
        place.uri = mem_format("s3://%s/%s", place.bucket, key);
        place.key = place.uri + strlen("s3://") + bucket_bytes + 1;
        *ret = place;
        return true;
    }
    return error_set(err, ERROR_CONFIG, "OutsideStore", "%.300s is not on S3, but its store is",
                     uri);
}

/* The same, of an object: its key is not empty. */
static bool object_of(const char *uri, S3Place *ret, Error *err)
{
    if (!s3_place_of(uri, ret, err))
        return false;
    if (*ret->key && strlen(ret->key) <= 1024)
        return true;
    s3_place_done(ret);
    return error_set(err, ERROR_CONFIG, "LocationUnusable", "%.300s: a key has 1 to 1024 bytes",
                     uri);
}

S3Bucket *s3_bucket(S3Store *store, const char *name)
{
    pthread_mutex_lock(&store->lock);
    S3Bucket *bucket = store->buckets;
    while (bucket && strcmp(bucket->name, name) != 0)
        bucket = bucket->next;
    if (!bucket) {
        bucket = mem_zalloc(sizeof *bucket);
        bucket->name = mem_strdup(name);
        bucket->next = store->buckets;
        store->buckets = bucket;
    }
    pthread_mutex_unlock(&store->lock);
    return bucket;
}

/* ---------- checksums ---------- */

static uint32_t crc32c_table[8][256];

static void make_crc32c_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        crc32c_table[0][i] = crc;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            crc32c_table[t][i] =
                crc32c_table[t - 1][i] >> 8 ^ crc32c_table[0][crc32c_table[t - 1][i] & 255];
}

static uint32_t crc32c_portable(const uint8_t *at, size_t bytes)
{
    uint32_t crc = ~0u;
    for (; bytes >= 8; at += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        word ^= crc;
        crc = 0;
        for (int t = 0; t < 8; t++)
            crc ^= crc32c_table[7 - t][word >> (8 * t) & 255];
    }
    for (; bytes; at++, bytes--)
        crc = crc >> 8 ^ crc32c_table[0][(crc ^ *at) & 255];
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(const uint8_t *at, size_t bytes)
{
    uint64_t crc = ~0u;
    for (; bytes >= 8; at += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        crc = __builtin_ia32_crc32di(crc, word);
    }
    for (; bytes; at++, bytes--)
        crc = __builtin_ia32_crc32qi((uint32_t)crc, *at);
    return ~(uint32_t)crc;
}
#endif

static uint32_t crc32c(const void *data, size_t bytes)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("sse4.2"))
        return crc32c_sse42(data, bytes);
#endif
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_crc32c_table);
    return crc32c_portable(data, bytes);
}

void s3_checksum(const void *data, size_t bytes, char ret[S3_CHECKSUM_BYTES])
{
    uint32_t crc = __builtin_bswap32(crc32c(data, bytes));
    EVP_EncodeBlock((unsigned char *)ret, (const unsigned char *)&crc, sizeof crc);
}

/* ---------- whole objects ---------- */

bool s3_put(S3Store *store, const S3Place *place, const void *data, size_t bytes, Error *err)
{
    S3Call call = {.doing = "write",
                   .method = "PUT",
                   .place = place,
                   .body = bytes ? data : "",
                   .body_bytes = bytes};
    S3Answer answer = {0};
    bool ok = s3_call(store, &call, &answer, err);
    s3_answer_done(&answer);
    return ok;
}

/* A whole-object checksum has no "-N" behind it; that is of multipart's parts. */
static bool matches_checksum(const HttpAnswer *answer, const void *data, size_t bytes)
{
    char ours[S3_CHECKSUM_BYTES];
    AUTO(mem_free) char *theirs = http_answer_header(answer, "x-amz-checksum-crc32c");
    if (!theirs || strchr(theirs, '-'))
        return true;
    s3_checksum(data, bytes, ours);
    return strcmp(ours, theirs) == 0;
}

/* An object without an ETag can only be said to be there. */
static StoreTag tag_of(const HttpAnswer *answer)
{
    StoreTag tag = {"*"};
    AUTO(mem_free) char *etag = http_answer_header(answer, "etag");
    if (etag && strlen(etag) < sizeof tag.text)
        snprintf(tag.text, sizeof tag.text, "%s", etag);
    return tag;
}

static bool get_place(S3Store *store, const S3Place *place, size_t bytes_max, bool *there,
                      Bytes *ret, StoreTag *ret_tag, Error *err)
{
    S3Call call = {.doing = "read",
                   .method = "GET",
                   .place = place,
                   .headers = {{"x-amz-checksum-mode", "ENABLED"}},
                   .header_count = 1,
                   .answer_bytes_max = bytes_max,
                   .also = 404};
    S3Answer answer = {0};
    bool ok = s3_call(store, &call, &answer, err);
    *there = ok && answer.http.status != 404;
    if (!ok && err && strcmp(err->code, "AnswerTooLarge") == 0)
        error_set(err, ERROR_DATA, "ObjectTooLarge", "%.300s is larger than the limit of %zu bytes",
                  place->uri, bytes_max);
    if (*there && answer.http.body.used > bytes_max)
        ok = error_set(err, ERROR_DATA, "ObjectTooLarge", "%.300s has %zu bytes, the limit is %zu",
                       place->uri, answer.http.body.used, bytes_max);
    if (ok && *there &&
        !matches_checksum(&answer.http, answer.http.body.data, answer.http.body.used))
        ok = error_set(err, ERROR_RETRY, "ChecksumWrong",
                       "read %.300s: the bytes are not those of the server's checksum", place->uri);
    if (ok && *there) {
        bytes_reserve(ret, answer.http.body.used + 1);
        bytes_put(ret, answer.http.body.data, answer.http.body.used);
        if (ret_tag)
            *ret_tag = tag_of(&answer.http);
    }
    s3_answer_done(&answer);
    return ok;
}

static bool missing(const S3Place *place, Error *err)
{
    return error_set(err, ERROR_DATA, "ObjectMissing", "%.400s is not there", place->uri);
}

static bool get(Store *store, const char *uri, size_t bytes_max, Bytes *ret, StoreTag *ret_tag,
                Error *err)
{
    S3Place place;
    bool there = false;
    if (!object_of(uri, &place, err))
        return false;
    bool ok = get_place((S3Store *)store, &place, bytes_max, &there, ret, ret_tag, err);
    if (ok && !there)
        ok = missing(&place, err);
    s3_place_done(&place);
    return ok;
}

/* ---------- the conditional PUT ---------- */

/* *ret_refused: what stands there is neither what the tag says nor ours. */
static bool put_if(S3Store *store, const S3Place *place, const void *data, size_t bytes,
                   StoreTag *tag, bool *ret_refused, Error *err)
{
    bool none = !tag->text[0];
    S3Call call = {.doing = "write",
                   .method = "PUT",
                   .place = place,
                   .headers = {{none ? "if-none-match" : "if-match", none ? "*" : tag->text}},
                   .header_count = 1,
                   .body = bytes ? data : "",
                   .body_bytes = bytes,
                   .also = 412};
    S3Answer answer = {0};
    Error failed = {0};
    bool ok = s3_call(store, &call, &answer, &failed), there = false;
    if (!ok && !none && strcmp(failed.code, "ObjectMissing") == 0)
        ok = *ret_refused = true;
    else
        *ret_refused = ok && answer.http.status == 412;
    StoreTag now = tag_of(&answer.http);
    /* An attempt that is no longer known of may have been ours. */
    if (answer.repeated && (!ok || *ret_refused)) {
        Bytes found = {0};
        Error err_found = {0};
        bool looked = get_place(store, place, bytes, &there, &found, &now, &err_found);
        bool other = !looked && strcmp(err_found.code, "ObjectTooLarge") == 0;
        if (looked && there) {
            *ret_refused = found.used != bytes || memcmp(found.data, data, bytes) != 0;
            ok = true;
        } else if (other) {
            ok = *ret_refused = true;
        } else if (!looked && ok) {
            ok = false; /* refused by whom can't be told */
            failed = err_found;
        }
        bytes_done(&found);
    }
    if (ok && !*ret_refused)
        *tag = now;
    if (!ok && err)
        *err = failed;
    s3_answer_done(&answer);
    return ok;
}

static bool delete_place(S3Store *store, const S3Place *place, Error *err)
{
    S3Call call = {.doing = "delete", .method = "DELETE", .place = place, .also = 404};
    S3Answer answer = {0};
    bool ok = s3_call(store, &call, &answer, err);
    s3_answer_done(&answer);
    return ok;
}

/* A probe that stays is never listed, and goes with its folder. */
static void probe_done(S3Store *store, S3Place *place)
{
    Error ignored;
    (void)delete_place(store, place, &ignored);
    s3_place_done(place);
}

/* Fills *ret with the probe, which stays where it has shown that the store keeps conditions: the
 * caller deletes it after the object beside it is there. (versitygw removes a folder that a
 * deletion left empty, under the hands of another writer who is about to put his first object into
 * it.) */
static bool probe(S3Store *store, const S3Place *beside, S3Place *ret, Error *err)
{
    uint64_t random;
    bool first = false, second = false;
    ASSERT(getrandom(&random, sizeof random, 0) == sizeof random);
    const char *slash = strrchr(beside->uri, '/');
    AUTO(mem_free)
    char *uri = mem_format("%.*s" S3_PROBE_NAME "%016llx", (int)(slash + 1 - beside->uri),
                           beside->uri, (unsigned long long)random);
    if (!s3_place_of(uri, ret, err))
        return false;
    Error failed = {0};
    bool ok = put_if(store, ret, "1", 1, &(StoreTag){{0}}, &first, &failed) &&
              put_if(store, ret, "2", 1, &(StoreTag){{0}}, &second, &failed);
    if ((ok && !second) || strcmp(failed.code, "StoreRefused") == 0) {
        AUTO(mem_free) char *said = ok ? NULL : mem_format(" (%.200s)", failed.message);
        ok = error_set(
            &failed, ERROR_CONFIG, "NoConditionalPut",
            "%.100s does not keep \"If-None-Match: *\" (bucket %.63s): two writers could "
            "overwrite each other's commits; use a store that does (%s.endpoint)%s%s",
            store->endpoint_host, ret->bucket, store->field,
            strcmp(store->field, S3_FIELD) == 0 ? ", or a REST catalog (spec.catalog)" : "",
            said ? said : "");
    } else if (ok && first) {
        ok = error_set(&failed, ERROR_RETRY, "StoreFailed",
                       "%.100s says that a name nobody used is taken", store->endpoint_host);
    }
    if (!ok)
        probe_done(store, ret);
    if (!ok && err)
        *err = failed;
    return ok;
}

static bool put_tagged(S3Store *store, const S3Place *place, const void *data, size_t bytes,
                       StoreTag *tag, Error *err)
{
    S3Bucket *bucket = s3_bucket(store, place->bucket);
    bool refused = false, none = !tag->text[0];
    bool probes = none && !atomic_load(&bucket->conditional);
    S3Place probed;
    if (probes && !probe(store, place, &probed, err))
        return false;
    bool ok = put_if(store, place, data, bytes, tag, &refused, err);
    if (probes) {
        atomic_store(&bucket->conditional, true);
        probe_done(store, &probed);
    }
    if (!ok)
        return false;
    return !refused ||
           error_set(err, ERROR_CONFLICT, none ? "ObjectExists" : "ObjectChanged",
                     none ? "%.400s exists already" : "%.400s was written by somebody else",
                     place->uri);
}

static bool put(Store *store, const char *uri, const void *data, size_t bytes, StoreTag *tag,
                Error *err)
{
    S3Place place;
    if (!object_of(uri, &place, err))
        return false;
    S3Store *s3 = (S3Store *)store;
    bool ok =
        tag ? put_tagged(s3, &place, data, bytes, tag, err) : s3_put(s3, &place, data, bytes, err);
    s3_place_done(&place);
    return ok;
}

/* ---------- ranges ---------- */

/* HEAD's 404 has no text: whether the bucket is missing is asked once. */
static bool bucket_is_there(S3Store *store, const S3Place *place, Error *err)
{
    if (atomic_load(&s3_bucket(store, place->bucket)->seen))
        return true;
    S3Call call = {.doing = "look for",
                   .method = "GET",
                   .place = place,
                   .on_bucket = true,
                   .query = "list-type=2&max-keys=1"};
    S3Answer answer = {0};
    bool ok = s3_call(store, &call, &answer, err);
    s3_answer_done(&answer);
    return ok;
}

bool s3_head(S3Store *store, const S3Place *place, bool *there, uint64_t *ret_bytes,
             char **ret_etag, Error *err)
{
    S3Call call = {.doing = "look for", .method = "HEAD", .place = place, .also = 404};
    S3Answer answer = {0};
    bool ok = s3_call(store, &call, &answer, err);
    *there = ok && answer.http.status != 404;
    if (ok && !*there)
        ok = bucket_is_there(store, place, err);
    if (*there && ret_bytes) {
        AUTO(mem_free) char *length = http_answer_header(&answer.http, "content-length");
        char *end = NULL;
        *ret_bytes = length ? strtoull(length, &end, 10) : 0;
        if (!length || end == length || *end || !isdigit((unsigned char)*length))
            ok = error_set(err, ERROR_RETRY, "StoreFailed", "look for %.300s: no content-length",
                           place->uri);
        else if (ret_etag)
            *ret_etag = http_answer_header(&answer.http, "etag");
    }
    s3_answer_done(&answer);
    return ok;
}

static void reader_free(StoreReader *reader)
{
    S3Reader *r = (S3Reader *)reader;
    s3_place_done(&r->place);
    free(r->etag);
    free(r);
}

static StoreReader *open_reader(Store *store, const char *uri, Error *err)
{
    S3Place place;
    bool there = false;
    if (!object_of(uri, &place, err))
        return NULL;
    S3Reader *r = mem_zalloc(sizeof *r);
    *r = (S3Reader){.reader.store = store, .place = place};
    bool ok = s3_head((S3Store *)store, &place, &there, &r->reader.bytes, &r->etag, err);
    if (ok && there)
        return &r->reader;
    if (ok)
        (void)missing(&place, err);
    reader_free(&r->reader);
    return NULL;
}

/* "bytes 5-9/100" is what was asked for. */
static bool is_range(const HttpAnswer *answer, uint64_t offset, size_t bytes)
{
    AUTO(mem_free) char *range = http_answer_header(answer, "content-range");
    AUTO(mem_free)
    char *want = mem_format("bytes %llu-%llu/", (unsigned long long)offset,
                            (unsigned long long)(offset + bytes - 1));
    return range && strncasecmp(range, want, strlen(want)) == 0 && answer->body.used == bytes;
}

static bool read_piece(S3Reader *r, uint64_t offset, void *to, size_t bytes, Error *err)
{
    char range[64];
    snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)offset,
             (unsigned long long)(offset + bytes - 1));
    S3Call call = {.doing = "read",
                   .method = "GET",
                   .place = &r->place,
                   .headers = {{"range", range}, {"if-match", r->etag}},
                   .header_count = r->etag ? 2 : 1,
                   .answer_bytes_max = bytes,
                   .also = 412};
    S3Answer answer = {0};
    bool ok = s3_call((S3Store *)r->reader.store, &call, &answer, err);
    if (!ok && answer.http.status == 416)
        error_set(err, ERROR_DATA, "ObjectTruncated",
                  "%.300s was cut while it was being read: %zu bytes at %llu are not there",
                  r->place.uri, bytes, (unsigned long long)offset);
    bool whole = ok && answer.http.status == 200 && offset == 0 && bytes == r->reader.bytes &&
                 answer.http.body.used == bytes;
    if (ok && answer.http.status == 412)
        ok = error_set(err, ERROR_DATA, "ObjectChanged",
                       "%.300s was replaced while it was being read", r->place.uri);
    else if (ok && !whole && !(answer.http.status == 206 && is_range(&answer.http, offset, bytes)))
        ok = error_set(err, ERROR_RETRY, "StoreFailed",
                       "read %.300s: asked for %zu bytes at %llu, the server answered others",
                       r->place.uri, bytes, (unsigned long long)offset);
    if (ok)
        memcpy(to, answer.http.body.data, bytes);
    s3_answer_done(&answer);
    return ok;
}

static bool read_range(StoreReader *reader, uint64_t offset, void *to, size_t bytes, Error *err)
{
    S3Reader *r = (S3Reader *)reader;
    if (offset > reader->bytes || bytes > reader->bytes - offset)
        return error_set(err, ERROR_DATA, "ObjectTruncated",
                         "%.300s has %llu bytes; %zu at %llu are not there", r->place.uri,
                         (unsigned long long)reader->bytes, bytes, (unsigned long long)offset);
    uint8_t *at = to;
    while (bytes) {
        size_t piece = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
        if (!read_piece(r, offset, at, piece, err))
            return false;
        at += piece;
        offset += piece;
        bytes -= piece;
    }
    return true;
}

static bool exists(Store *store, const char *uri, bool *ret, Error *err)
{
    S3Place place;
    if (!object_of(uri, &place, err))
        return false;
    bool ok = s3_head((S3Store *)store, &place, ret, NULL, NULL, err);
    s3_place_done(&place);
    return ok;
}

/* ---------- the store ---------- */

static void close_store(Store *store)
{
    S3Store *s3 = (S3Store *)store;
    s3_uploads_free(s3->uploads);
    if (s3->own_credentials)
        aws_credentials_free(s3->credentials);
    http_client_free(s3->http);
    while (s3->buckets) {
        S3Bucket *bucket = s3->buckets;
        s3->buckets = bucket->next;
        free(bucket->name);
        free(bucket);
    }
    pthread_mutex_destroy(&s3->lock);
    free(s3->endpoint_host);
    free(s3->region);
    free(s3->field);
    free(s3);
}

static const StoreDriver s3_driver = {
    .close = close_store,
    .create = s3_create,
    .writer_free = s3_writer_free,
    .write = s3_write,
    .finish = s3_finish,
    .put = put,
    .get = get,
    .open = open_reader,
    .reader_free = reader_free,
    .read = read_range,
    .remove = s3_remove,
    .exists = exists,
    .list = s3_list,
    .remove_all = s3_remove_all,
    .sweep = s3_sweep,
};

static const char *region_of(const S3Options *options)
{
    const char *const places[] = {options->region, getenv("AWS_REGION"),
                                  getenv("AWS_DEFAULT_REGION")};
    for (size_t i = 0; i < ARRAY_LEN(places); i++)
        if (places[i] && *places[i])
            return places[i];
    return "us-east-1";
}

static bool take_endpoint(S3Store *s3, const char *endpoint, Error *err)
{
    s3->https = !endpoint || strncasecmp(endpoint, "https://", 8) == 0;
    if (!endpoint) {
        bool china = strncmp(s3->region, "cn-", 3) == 0;
        s3->endpoint_host = mem_format("s3.%s.amazonaws.com%s", s3->region, china ? ".cn" : "");
        return true;
    }
    const char *host = endpoint + (s3->https ? 8 : 7);
    bool plain = s3->https || strncasecmp(endpoint, "http://", 7) == 0;
    size_t bytes = plain ? strcspn(host, "/?#@ ") : 0;
    if (!bytes || (host[bytes] && strcmp(host + bytes, "/") != 0))
        return error_set(err, ERROR_CONFIG, "BadEndpoint",
                         "%s.endpoint must be http://HOST[:PORT] or https://HOST[:PORT]",
                         s3->field);
    s3->endpoint_host = mem_strndup(host, bytes);
    return true;
}

Store *store_s3_open(const S3Options *options, Error *err)
{
    static const S3Options defaults = {0};
    const S3Options *o = options ? options : &defaults;
    HttpClientOptions http = {.ca_pem = o->ca_pem, .connections_max = CONNECTIONS_MAX};
    S3Store *s3 = mem_zalloc(sizeof *s3);
    pthread_mutex_init(&s3->lock, NULL);
    s3->store.driver = &s3_driver;
    s3->region = mem_strdup(region_of(o));
    s3->path_style = o->path_style;
    s3->field = mem_strdup(o->field ? o->field : S3_FIELD);
    s3->patience = (S3Patience){8, 100000, o->patience_us ? o->patience_us : PATIENCE_US};
    if (take_endpoint(s3, o->endpoint, err))
        s3->http = http_client_new(&http, err);
    if (!s3->http) {
        if (err)
            error_wrap(err, "S3");
        close_store(&s3->store);
        return NULL;
    }
    s3->credentials = o->credentials;
    if (!s3->credentials) {
        s3->credentials = aws_credentials_chain(s3->http, s3->region);
        s3->own_credentials = true;
    }
    return &s3->store;
}

void s3_store_be_patient(Store *store, const S3Patience *patience)
{
    ((S3Store *)store)->patience = *patience;
}
