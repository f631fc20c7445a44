/* S3 and what speaks its protocol: the parts of the driver and what they tell each other.
 *
 *   s3.c       the store: locations, whole objects, ranges, conditional PUT and its probe
 *   call.c     one request of S3: signed, repeated where it may be, its errors put into words
 *   upload.c   StoreWriter: one PUT, or parts that a pool of threads sends behind the writer
 *   names.c    lists, deletes, unfinished uploads
 *
 * What a body is checked with: every PUT and part carries its CRC-32C, which the server verifies,
 * keeps and gives back; a whole object that is read is held against it. Over https the signature
 * says UNSIGNED-PAYLOAD (TLS keeps the body), over http it has the body's SHA-256, so that nothing
 * is hashed with SHA-256 twice or in vain.
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/API/Type_API_Reference.html */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "agent/store/driver.h"
#include "common/http/http_client.h"

#define S3_CHECKSUM_BYTES 9 /* of a CRC-32C in base64, with its NUL */
#define S3_HEADERS_MAX 8
#define S3_FIELD "spec.storage"      /* where a manifest says how stores are reached */
#define S3_PROBE_NAME ".firn-probe-" /* of objects that only the probe puts */

typedef struct S3Patience {
    unsigned attempts_max;
    int64_t first_pause_us; /* at most, before the second attempt; doubles; full jitter */
    int64_t total_us;       /* no attempt begins later than this after the first */
} S3Patience;

typedef struct S3Bucket {
    struct S3Bucket *next;
    char *name;
    atomic_bool seen;        /* it answered: it exists */
    atomic_bool conditional; /* the probe has shown that If-None-Match is kept */
} S3Bucket;

typedef struct S3Uploads S3Uploads; /* upload.c: the pool */

typedef struct S3Store {
    Store store;
    HttpClient *http;
    AwsCredentials *credentials;
    bool own_credentials;
    bool https, path_style;
    char *endpoint_host; /* with the port */
    char *region;
    char *field; /* of the manifest */
    S3Patience patience;
    _Atomic int64_t skew_us; /* the server's clock minus ours, once it said so */
    pthread_mutex_t lock;    /* buckets, uploads */
    S3Bucket *buckets;
    S3Uploads *uploads; /* NULL before the first part */
} S3Store;

/* A place in the store: "s3://bucket/key". */
typedef struct S3Place {
    char *uri; /* canonical: for messages, and owner of the other two */
    char *bucket, *key;
} S3Place;
void s3_place_done(S3Place *place);
bool s3_place_of(const char *uri, S3Place *ret, Error *err);

typedef struct S3Call {
    const char *doing; /* "write", "read", … for messages */
    const char *method;
    const S3Place *place;
    bool on_bucket;    /* not on the key */
    const char *query; /* escaped; NULL */
    HttpHeader headers[S3_HEADERS_MAX];
    size_t header_count;
    const void *body;
    size_t body_bytes;
    size_t answer_bytes_max;
    int also;                /* a status besides 2xx that is no error: 404, 412, 416; 0 */
    bool patient;            /* the server may think for minutes */
    unsigned attempts_max;   /* 0: the store's */
    const atomic_bool *stop; /* no more attempts once it is true; NULL */
} S3Call;

typedef struct S3Answer {
    HttpAnswer http;
    bool repeated; /* an attempt before this one may have been carried out */
    char code[64]; /* of S3, when it sent one */
} S3Answer;
void s3_answer_done(S3Answer *answer);

/* True: 2xx or call->also. The answer is valid in both cases, its own memory in *ret. */
bool s3_call(S3Store *store, const S3Call *call, S3Answer *ret, Error *err);

S3Bucket *s3_bucket(S3Store *store, const char *name); /* lives as long as the store */
void s3_checksum(const void *data, size_t bytes, char ret[S3_CHECKSUM_BYTES]);

/* s3.c */
bool s3_put(S3Store *store, const S3Place *place, const void *data, size_t bytes, Error *err);
bool s3_head(S3Store *store, const S3Place *place, bool *there, uint64_t *ret_bytes,
             char **ret_etag, Error *err);
void s3_store_be_patient(Store *store, const S3Patience *patience); /* for tests */

/* upload.c */
StoreWriter *s3_create(Store *store, const char *uri, Error *err);
void s3_writer_free(StoreWriter *writer);
bool s3_write(StoreWriter *writer, const void *data, size_t bytes, Error *err);
bool s3_finish(StoreWriter *writer, Error *err);
void s3_uploads_free(S3Uploads *uploads);

/* names.c */
bool s3_remove(Store *store, const char *uri, Error *err);
bool s3_list(Store *store, const char *prefix, StoreEach *each, void *context, Error *err);
bool s3_remove_all(Store *store, const char *prefix, Error *err);
bool s3_sweep(Store *store, const char *prefix, int64_t before_us, Error *err);
