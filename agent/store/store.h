/* Where a table's files live: a place that keeps whole objects under a URI. Drivers stand in
 * subfolders (posix/, s3/). Objects are written once and never changed.
 *
 * A location is "file:///a/b", an absolute path as written in a manifest of ours, or
 * "s3://bucket/a"
 * ("s3a://" and "s3n://", which other engines write, are read as s3); every path in table metadata
 * is a full URI of the store's own scheme. All calls may come from several
 * threads; one StoreWriter or StoreReader belongs to one thread at a time.
 *
 * Error kinds: RETRY for what may pass (I/O error, no space: code "DiskFull"), CONFIG for rights
 * and missing roots, DATA ("ObjectMissing") for a read of what isn't there, CONFLICT
 * ("ObjectExists") from store_put_new. */
#pragma once

#include "common/aws/aws.h"
#include "common/bytes.h"
#include "common/error.h"

typedef struct Store Store;
typedef struct StoreWriter StoreWriter;
typedef struct StoreReader StoreReader;

void store_close(Store *store);
/* A store of local files. `location` must be absolute ("file:///…" or "/…"). */
Store *store_posix_open(const char *location, Error *err) OWNED_BY(store_close);

typedef struct S3Options {
    const char *endpoint; /* NULL: Amazon's for the region */
    const char *region;   /* NULL: AWS_REGION, else us-east-1 */
    bool path_style;      /* <endpoint>/<bucket>/<key>; else <bucket>.<endpoint>/<key> */
    const char *ca_pem;   /* NULL: the system's certificates */
    /* Where keys come from; not owned, outlives the store. NULL: what the environment offers
     * (aws_credentials_chain). */
    AwsCredentials *credentials;
    const char *field;   /* where the manifest says all this, for messages; NULL: spec.storage */
    int64_t patience_us; /* no attempt of a call begins later; 0: a minute */
} S3Options;
/* One for all buckets of an endpoint; copies the options. Asks nothing: the first call does, and
 * says CONFIG "AccessDenied", "BucketMissing", "WrongRegion", "ClockSkew", "BadCertificate" … with
 * the field to mend. Retries within the call what may be retried (full jitter, a budget);
 * store_put_new whose answer was lost looks whether its own bytes stand there. */
Store *store_s3_open(const S3Options *options, Error *err) OWNED_BY(store_close);
/* The driver that the location's scheme names. */
Store *store_open(const char *location, const S3Options *s3, Error *err) OWNED_BY(store_close);

/* --- writing one object in pieces; it appears whole at finish, or not at all --- */
void store_writer_free(StoreWriter *writer); /* aborts what was not finished */
StoreWriter *store_create(Store *store, const char *uri, Error *err) OWNED_BY(store_writer_free);
MUST_CHECK bool store_write(StoreWriter *writer, const void *data, size_t bytes, Error *err);
/* Durable (fsync of file and folder) when it returns true. The writer still wants freeing. */
MUST_CHECK bool store_finish(StoreWriter *writer, Error *err);

/* --- whole small objects --- */
/* Durable. store_put replaces atomically; store_put_new fails with CONFLICT when the object exists.
 */
MUST_CHECK bool store_put(Store *store, const char *uri, const void *data, size_t bytes,
                          Error *err);
MUST_CHECK bool store_put_new(Store *store, const char *uri, const void *data, size_t bytes,
                              Error *err);
/* Appends the whole object to *ret; DATA "ObjectTooLarge" above bytes_max. */
MUST_CHECK bool store_get(Store *store, const char *uri, size_t bytes_max, Bytes *ret, Error *err);

/* --- one small object that several processes may write, each over what it has read --- */
typedef struct StoreTag {
    char text[96]; /* of the bytes that stand there; "": none do */
} StoreTag;
/* As store_get, but a missing object is no error: *ret is left as it is, *ret_tag is "". */
MUST_CHECK bool store_get_tagged(Store *store, const char *uri, size_t bytes_max, Bytes *ret,
                                 StoreTag *ret_tag, Error *err);
/* Durable. Takes effect only where *tag still says what stands there (S3: If-Match, If-None-Match),
 * and then becomes the new one; else CONFLICT "ObjectChanged" ("ObjectExists" if none should be
 * there). Files: two that write at the same moment are not told apart. */
MUST_CHECK bool store_put_tagged(Store *store, const char *uri, const void *data, size_t bytes,
                                 StoreTag *tag, Error *err);

/* --- ranged reads --- */
void store_reader_free(StoreReader *reader);
StoreReader *store_reader_open(Store *store, const char *uri, Error *err)
    OWNED_BY(store_reader_free);
uint64_t store_reader_bytes(const StoreReader *reader); /* the object's size */
/* All of [offset, offset + bytes), or an error. */
MUST_CHECK bool store_read(StoreReader *reader, uint64_t offset, void *to, size_t bytes,
                           Error *err);

/* --- names --- */
/* Missing objects are no error. */
MUST_CHECK bool store_delete(Store *store, const char *uri, Error *err);
MUST_CHECK bool store_exists(Store *store, const char *uri, bool *ret, Error *err);
/* Calls each(uri, bytes, modified_us, context) for every object whose URI starts with prefix (a
 * folder, ending in '/'), recursively; stops early, with true, when each returns false. */
typedef bool StoreEach(const char *uri, uint64_t bytes, int64_t modified_us, void *context);
MUST_CHECK bool store_list(Store *store, const char *prefix, StoreEach *each, void *context,
                           Error *err);
/* Everything under prefix; used by `firn-agent drop`. */
MUST_CHECK bool store_delete_all(Store *store, const char *prefix, Error *err);

/* What writers that never ended have left under prefix, no object and never listed: temporary
 * files, parts of uploads begun before that moment (wall clock). */
MUST_CHECK bool store_sweep_unfinished(Store *store, const char *prefix, int64_t before_us,
                                       Error *err);

/* The canonical URI of a location: "/a/b/" -> "file:///a/b", "s3a://b/a/" -> "s3://b/a". Caller
 * frees. CONFIG error if it is not absolute or has a scheme no driver serves. */
char *store_uri(const char *location, Error *err) OWNED_BY(free);

DEFINE_AUTO(Store, store_close);
DEFINE_AUTO(StoreWriter, store_writer_free);
DEFINE_AUTO(StoreReader, store_reader_free);
