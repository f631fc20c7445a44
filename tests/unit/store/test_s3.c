/* links: firn_store */
/* The S3 store against a scripted S3 that fails in every way a real one does: nothing is half
 * visible, no upload is left, nobody's object is taken for one's own. */
#include "tests/unit/unit.h"

#include <stdatomic.h>
#include <time.h>

#include "agent/store/s3/s3.h"
#include "common/clock.h"
#include "tests/unit/http_script.h"

#define PART ((size_t)8 << 20)

typedef enum Fault {
    NO_FAULT,
    LOSE_BEFORE,  /* closed without being carried out */
    LOSE_AFTER,   /* carried out, then closed */
    CUT_AFTER,    /* carried out, the answer cut */
    SLOW_DOWN,    /* 503 */
    INTERNAL,     /* 500 with InternalError */
    INTERNAL_200, /* 200, the error in the body */
    NO_XML,       /* 502 with a page */
    DENIED,       /* 403: no retry */
    FAULTS
} Fault;

typedef struct Object {
    char *key;
    Bytes data;
    int parts;
} Object;

typedef struct Upload {
    char *key;
    Bytes parts[4];
    bool open;
} Upload;

/* What the scripted S3 keeps. */
typedef struct Fake {
    Script *script;
    pthread_mutex_t lock;
    Object objects[64];
    int object_count;
    Upload uploads[64];
    int upload_count;
    int fault_at, fault_count; /* requests from here on, so many */
    Fault fault;
    int struck;
    int counted;                /* requests since the fault was set */
    int emptied;                /* deletions that left nothing */
    bool ignores_if_none_match; /* a store that must not be trusted */
    bool knows_no_conditions;   /* and says so */
    bool ignores_range, wrong_checksum;
    int64_t clock_off_s; /* of the server; refuses what is off from it */
    const char *expired_key;
    const char *refuse_status, *refuse_body; /* every request */
    char last_key[64], if_match[64], target[512];
} Fake;

typedef struct World {
    Fake fake;
    AwsCredentials *credentials;
    Store *store;
} World;

static Object *object_of(Fake *fake, const char *key)
{
    for (int i = 0; i < fake->object_count; i++)
        if (strcmp(fake->objects[i].key, key) == 0)
            return &fake->objects[i];
    return NULL;
}

static void keep(Fake *fake, const char *key, const void *data, size_t bytes, int parts)
{
    Object *object = object_of(fake, key);
    if (!object) {
        assert_true(fake->object_count < 64);
        object = &fake->objects[fake->object_count++];
        *object = (Object){.key = mem_strdup(key)};
    }
    bytes_clear(&object->data);
    bytes_put(&object->data, data, bytes);
    object->parts = parts;
}

static void drop(Fake *fake, const char *key)
{
    Object *object = object_of(fake, key);
    if (!object)
        return;
    free(object->key);
    bytes_done(&object->data);
    *object = fake->objects[--fake->object_count];
}

static void refuse_with(Bytes *reply, int status, const char *headers, const char *code)
{
    AUTO(mem_free)
    char *body =
        mem_format("<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>said so</Message>"
                   "</Error>",
                   code);
    reply_with(reply, status, headers, body, strlen(body));
}

static int open_uploads(Fake *fake)
{
    int open = 0;
    for (int i = 0; i < fake->upload_count; i++)
        open += fake->uploads[i].open;
    return open;
}

static void upload_request(Fake *fake, const Asked *asked, const char *key, const char *query,
                           Bytes *reply)
{
    const char *id_text = strstr(query, "uploadId=up%2F");
    int id = id_text ? (int)strtol(id_text + 14, NULL, 10) : -1;
    Upload *upload = id >= 0 && id < fake->upload_count ? &fake->uploads[id] : NULL;
    if (strcmp(query, "uploads=") == 0) {
        assert_true(fake->upload_count < 64);
        fake->uploads[fake->upload_count] = (Upload){.key = mem_strdup(key), .open = true};
        AUTO(mem_free)
        char *body = mem_format("<InitiateMultipartUploadResult><UploadId>up/%d</UploadId>"
                                "</InitiateMultipartUploadResult>",
                                fake->upload_count++);
        reply_with(reply, 200, "", body, strlen(body));
    } else if (!upload || !upload->open || strcmp(upload->key, key) != 0) {
        refuse_with(reply, 404, "", "NoSuchUpload");
    } else if (strcmp(asked->method, "PUT") == 0) {
        int number = (int)strtol(strstr(query, "partNumber=") + 11, NULL, 10);
        assert_in_range(number, 1, 4);
        char checksum[S3_CHECKSUM_BYTES];
        s3_checksum(asked->body.data, asked->body.used, checksum);
        assert_string_equal(asked_header(asked, "x-amz-checksum-crc32c"), checksum);
        bytes_clear(&upload->parts[number - 1]);
        bytes_put(&upload->parts[number - 1], asked->body.data, asked->body.used);
        reply_with(reply, 200, "ETag: \"part\"\r\n", "", 0);
    } else if (strcmp(asked->method, "POST") == 0) {
        Bytes whole = {0};
        int parts = 0;
        for (; parts < 4 && upload->parts[parts].used; parts++)
            bytes_put(&whole, upload->parts[parts].data, upload->parts[parts].used);
        AUTO(mem_free) char *last = mem_format("<PartNumber>%d</PartNumber><ETag>\"part\"", parts);
        assert_non_null(strstr((char *)asked->body.data, last));
        keep(fake, key, whole.data, whole.used, parts);
        bytes_done(&whole);
        upload->open = false;
        reply_with(reply, 200, "", "<CompleteMultipartUploadResult/>", 32);
    } else {
        upload->open = false;
        reply_with(reply, 204, "", "", 0);
    }
}

static char *etag_of(const Object *object)
{
    char checksum[S3_CHECKSUM_BYTES];
    if (object->parts)
        return mem_format("\"x-%d\"", object->parts);
    s3_checksum(object->data.data, object->data.used, checksum);
    return mem_format("\"%s\"", checksum);
}

static void object_request(Fake *fake, const Asked *asked, const char *key, Bytes *reply)
{
    Object *object = object_of(fake, key);
    const char *none = asked_header(asked, "if-none-match");
    const char *match = asked_header(asked, "if-match");
    AUTO(mem_free) char *etag = object ? etag_of(object) : NULL;
    const char *range = asked_header(asked, "range");
    char checksum[S3_CHECKSUM_BYTES];
    if (strcmp(asked->method, "PUT") == 0) {
        s3_checksum(asked->body.data, asked->body.used, checksum);
        assert_string_equal(asked_header(asked, "x-amz-checksum-crc32c"), checksum);
        if (none && fake->knows_no_conditions) {
            refuse_with(reply, 501, "", "NotImplemented");
            return;
        }
        if (none && object && !fake->ignores_if_none_match) {
            refuse_with(reply, 412, "", "PreconditionFailed");
            return;
        }
        if (match && (!etag || strcmp(etag, match) != 0)) {
            refuse_with(reply, etag ? 412 : 404, "", etag ? "PreconditionFailed" : "NoSuchKey");
            return;
        }
        keep(fake, key, asked->body.data, asked->body.used, 0);
        AUTO(mem_free) char *made = mem_format("ETag: \"%s\"\r\n", checksum);
        reply_with(reply, 200, made, "", 0);
    } else if (strcmp(asked->method, "DELETE") == 0) {
        drop(fake, key);
        fake->emptied += fake->object_count == 0;
        reply_with(reply, 204, "", "", 0);
    } else if (!object && strcmp(asked->method, "HEAD") == 0) {
        reply_text(reply, "HTTP/1.1 404 Not Found\r\nContent-Length: 200\r\n\r\n");
    } else if (!object) {
        refuse_with(reply, 404, "", "NoSuchKey");
    } else if (strcmp(asked->method, "HEAD") == 0) {
        AUTO(mem_free)
        char *head = mem_format("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nETag: %s\r\n\r\n",
                                object->data.used, etag);
        reply_text(reply, head);
    } else if (range && !fake->ignores_range) {
        size_t from = strtoul(range + 6, NULL, 10), to = strtoul(strchr(range, '-') + 1, NULL, 10);
        AUTO(mem_free)
        char *header =
            mem_format("Content-Range: bytes %zu-%zu/%zu\r\n", from, to, object->data.used);
        if (to >= object->data.used)
            refuse_with(reply, 416, "", "InvalidRange");
        else
            reply_with(reply, 206, header, object->data.data + from, to - from + 1);
    } else {
        s3_checksum(object->data.data, object->data.used, checksum);
        AUTO(mem_free)
        char *header = mem_format("x-amz-checksum-crc32c: %s\r\nETag: %s\r\n",
                                  fake->wrong_checksum ? "AAAAAA==" : checksum, etag);
        reply_with(reply, 200, header, object->data.data, object->data.used);
    }
}

/* Two keys to a page; the token is the number of the next. */
static void list_request(Fake *fake, const char *query, Bytes *reply)
{
    const char *token = strstr(query, "continuation-token=");
    int from = token ? (int)strtol(token + 19, NULL, 10) : 0;
    Bytes body = {0};
    if (strncmp(query, "uploads", 7) == 0) {
        reply_text(&body, "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>");
        for (int i = 0; i < fake->upload_count; i++) {
            AUTO(mem_free)
            char *entry = mem_format("<Upload><Key>%s</Key><UploadId>up/%d</UploadId><Initiated>"
                                     "2020-01-01T00:00:00.000Z</Initiated></Upload>",
                                     fake->uploads[i].key, i);
            if (fake->uploads[i].open)
                reply_text(&body, entry);
        }
        reply_text(&body, "</ListMultipartUploadsResult>");
    } else {
        bool more = from + 2 < fake->object_count;
        AUTO(mem_free)
        char *head =
            mem_format("<ListBucketResult xmlns=\"http://s3\"><IsTruncated>%s</IsTruncated>"
                       "<EncodingType>url</EncodingType><NextContinuationToken>%d"
                       "</NextContinuationToken>",
                       more ? "true" : "false", from + 2);
        reply_text(&body, head);
        for (int i = from; i < fake->object_count && i < from + 2; i++) {
            AUTO(mem_free) char *key = http_escape(fake->objects[i].key, "");
            AUTO(mem_free)
            char *entry = mem_format("<Contents><Key>%s</Key><LastModified>2020-01-01T00:00:00Z"
                                     "</LastModified><Size>%zu</Size></Contents>",
                                     key, fake->objects[i].data.used);
            reply_text(&body, entry);
        }
        reply_text(&body, "</ListBucketResult>");
    }
    reply_with(reply, 200, "", body.data, body.used);
    bytes_done(&body);
}

static void carry_out(Fake *fake, const Asked *asked, Bytes *reply)
{
    AUTO(mem_free) char *path = mem_strdup(asked->target);
    char *mark = strchr(path, '?');
    const char *query = mark ? mark + 1 : "";
    if (mark)
        *mark = '\0';
    if (strncmp(path, "/lake", 5) != 0)
        refuse_with(reply, 404, "", "NoSuchBucket");
    else if (!path[5])
        list_request(fake, query, reply);
    else if (strstr(query, "upload"))
        upload_request(fake, asked, path + 6, query, reply);
    else
        object_request(fake, asked, path + 6, reply);
}

static bool refused_first(Fake *fake, const Asked *asked, Bytes *reply)
{
    const char *authorization = asked_header(asked, "authorization");
    const char *date = asked_header(asked, "x-amz-date");
    struct tm signed_at = {0};
    assert_non_null(authorization);
    assert_non_null(strptime(date, "%Y%m%dT%H%M%SZ", &signed_at));
    int64_t off_s = (int64_t)timegm(&signed_at) - (time(NULL) + fake->clock_off_s);
    if (fake->refuse_body) {
        reply_with(reply, (int)strtol(fake->refuse_status, NULL, 10), "", fake->refuse_body,
                   strlen(fake->refuse_body));
        return true;
    }
    if (off_s > 900 || off_s < -900) {
        char header[80];
        time_t now = time(NULL) + fake->clock_off_s;
        struct tm utc;
        strftime(header, sizeof header, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n",
                 gmtime_r(&now, &utc));
        refuse_with(reply, 403, header, "RequestTimeTooSkewed");
        return true;
    }
    if (fake->expired_key && strstr(authorization, fake->expired_key)) {
        refuse_with(reply, 400, "", "ExpiredToken");
        return true;
    }
    return false;
}

static Then answer(void *context, const Asked *asked, Bytes *reply)
{
    Fake *fake = context;
    Then then = THEN_KEEP;
    pthread_mutex_lock(&fake->lock);
    int number = ++fake->counted;
    bool strikes =
        fake->fault && number >= fake->fault_at && number < fake->fault_at + fake->fault_count;
    Fault fault = strikes ? fake->fault : NO_FAULT;
    fake->struck += strikes;
    snprintf(fake->target, sizeof fake->target, "%s", asked->target);
    if (!refused_first(fake, asked, reply) && (!fault || fault == LOSE_AFTER || fault == CUT_AFTER))
        carry_out(fake, asked, reply);
    if (fault == LOSE_BEFORE || fault == LOSE_AFTER)
        bytes_clear(reply);
    if (fault == CUT_AFTER)
        reply->used = reply->used > 40 ? 40 : reply->used;
    if (fault == LOSE_BEFORE || fault == LOSE_AFTER || fault == CUT_AFTER)
        then = THEN_CLOSE;
    if (fault == SLOW_DOWN)
        refuse_with(reply, 503, "Retry-After: 0\r\n", "SlowDown");
    if (fault == INTERNAL)
        refuse_with(reply, 500, "", "InternalError");
    if (fault == INTERNAL_200)
        refuse_with(reply, strcmp(asked->method, "POST") ? 500 : 200, "", "InternalError");
    if (fault == NO_XML)
        reply_with(reply, 502, "", "<html><body>Bad gateway<br></body>", 34);
    if (fault == DENIED)
        refuse_with(reply, 403, "", "AccessDenied");
    pthread_mutex_unlock(&fake->lock);
    return then;
}

static Store *store_with(const World *world, AwsCredentials *credentials)
{
    Error err = {0};
    AUTO(mem_free)
    char *endpoint = mem_format("http://127.0.0.1:%u", world->fake.script->port);
    S3Options options = {.endpoint = endpoint,
                         .region = "eu-west-1",
                         .path_style = true,
                         .credentials = credentials};
    Store *store = store_open("s3://lake/", &options, &err);
    assert_non_null(store);
    s3_store_be_patient(store, &(S3Patience){4, 1000, 20000000});
    return store;
}

static int setup(void **state)
{
    World *world = mem_zalloc(sizeof *world);
    char access[] = "AKOLD", secret[] = "the-secret", token[] = "token";
    pthread_mutex_init(&world->fake.lock, NULL);
    world->fake.script = script_start(answer, &world->fake, NULL);
    world->credentials = aws_credentials_static(&(AwsKeys){access, secret, token, 0});
    world->store = store_with(world, world->credentials);
    *state = world;
    return 0;
}

static void forget(Fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->object_count)
        drop(fake, fake->objects[0].key);
    for (int i = 0; i < fake->upload_count; i++) {
        free(fake->uploads[i].key);
        for (int j = 0; j < 4; j++)
            bytes_done(&fake->uploads[i].parts[j]);
    }
    fake->upload_count = 0;
    pthread_mutex_unlock(&fake->lock);
}

static int teardown(void **state)
{
    World *world = *state;
    store_close(world->store);
    aws_credentials_free(world->credentials);
    script_stop(world->fake.script);
    forget(&world->fake);
    free(world);
    return 0;
}

static void set_fault(Fake *fake, Fault fault, int at, int count)
{
    pthread_mutex_lock(&fake->lock);
    fake->fault = fault;
    fake->fault_at = at;
    fake->fault_count = count;
    fake->counted = fake->struck = 0;
    pthread_mutex_unlock(&fake->lock);
}

static const uint8_t *content(size_t bytes)
{
    static uint8_t *made;
    if (!made) {
        made = mem_alloc(PART * 3);
        for (size_t i = 0; i < PART * 3; i++)
            made[i] = (uint8_t)(i * 2654435761u >> 11);
    }
    assert_true(bytes <= PART * 3);
    return made;
}

static bool write_object(Store *store, size_t bytes, Error *err)
{
    AUTO(store_writer_free) StoreWriter *writer = store_create(store, "s3://lake/t/o", err);
    const uint8_t *at = content(bytes);
    assert_non_null(writer);
    for (size_t done = 0; done < bytes;) {
        size_t now = bytes - done < 1000003 ? bytes - done : 1000003;
        if (!store_write(writer, at + done, now, err))
            return false;
        done += now;
    }
    return store_finish(writer, err);
}

static void expect_whole(Fake *fake, size_t bytes)
{
    Object *object = object_of(fake, "t/o");
    assert_non_null(object);
    assert_int_equal(object->data.used, bytes);
    assert_memory_equal(object->data.data, content(bytes), bytes);
}

/* ---------- every request of an upload fails, in every way ---------- */

static void uploads_survive_every_single_fault(void **state)
{
    World *world = *state;
    Fake *fake = &world->fake;
    static const size_t sizes[] = {1000, PART * 2 + 5000};
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        set_fault(fake, NO_FAULT, 0, 0);
        Error err = {0};
        assert_true(write_object(world->store, sizes[s], &err));
        expect_whole(fake, sizes[s]);
        int requests = fake->counted;
        assert_int_equal(requests, s == 0 ? 1 : 5);
        for (int fault = LOSE_BEFORE; fault < FAULTS; fault++) {
            for (int at = 1; at <= requests; at++) {
                forget(fake);
                set_fault(fake, (Fault)fault, at, 1);
                bool ok = write_object(world->store, sizes[s], &err);
                assert_int_equal(fake->struck, 1);
                if (ok)
                    expect_whole(fake, sizes[s]);
                else
                    assert_null(object_of(fake, "t/o"));
                assert_int_equal(ok, fault != DENIED);
                if (!ok)
                    assert_string_equal(err.code, "AccessDenied");
                /* A begun upload whose answer was lost has an id nobody knows: for the sweep. */
                bool unknown = (fault == LOSE_AFTER || fault == CUT_AFTER) && s == 1 && at == 1;
                assert_int_equal(open_uploads(fake), unknown ? 1 : 0);
                if (unknown) {
                    assert_true(store_sweep_unfinished(world->store, "s3://lake/t/",
                                                       clock_wall_us(), &err));
                    assert_int_equal(open_uploads(fake), 0);
                }
            }
        }
    }
}

static void uploads_that_can_not_be_saved_leave_nothing(void **state)
{
    World *world = *state;
    Fake *fake = &world->fake;
    Error err = {0};
    for (int at = 1; at <= 5; at++) {
        for (int fault = LOSE_BEFORE; fault < FAULTS; fault++) {
            if (fault == LOSE_AFTER || fault == CUT_AFTER)
                continue; /* carried out, in the end */
            forget(fake);
            keep(fake, "t/o", "before", 6, 0);
            set_fault(fake, (Fault)fault, at, 1000);
            assert_false(write_object(world->store, PART * 2 + 5000, &err));
            assert_true(fake->struck >= 1);
            assert_int_equal(err.kind, fault == DENIED ? ERROR_CONFIG : ERROR_RETRY);
            assert_non_null(strstr(err.message, "s3://lake/t/o"));
            assert_null(strstr(err.message, "the-secret"));
            assert_int_equal(object_of(fake, "t/o")->data.used, 6);
            set_fault(fake, NO_FAULT, 0, 0);
            assert_true(
                store_sweep_unfinished(world->store, "s3://lake/t/", clock_wall_us(), &err));
            assert_int_equal(open_uploads(fake), 0);
        }
    }
}

/* ---------- the conditional PUT ---------- */

static void a_new_object_is_new_whatever_is_lost(void **state)
{
    World *world = *state;
    Fake *fake = &world->fake;
    Error err = {0};
    assert_true(store_put_new(world->store, "s3://lake/t/v0", "zero", 4, &err));
    assert_int_equal(fake->object_count, 1); /* the probe is gone */
    assert_int_equal(fake->emptied, 0);      /* but it went last */
    assert_int_equal(fake->counted, 4);
    for (int fault = LOSE_BEFORE; fault < DENIED; fault++) {
        forget(fake);
        set_fault(fake, (Fault)fault, 1, 1);
        assert_true(store_put_new(world->store, "s3://lake/t/v1", "ours", 4, &err));
        assert_int_equal(fake->struck, 1);
        /* Somebody else's, however like ours it is. */
        static const char *const others[] = {"them", "our", "ours and more", ""};
        for (size_t i = 0; i < ARRAY_LEN(others); i++) {
            forget(fake);
            keep(fake, "t/v1", others[i], strlen(others[i]), 0);
            set_fault(fake, (Fault)fault, 1, 1);
            assert_false(store_put_new(world->store, "s3://lake/t/v1", "ours", 4, &err));
            assert_int_equal(fake->struck, 1);
            assert_int_equal(err.kind, ERROR_CONFLICT);
            assert_string_equal(err.code, "ObjectExists");
        }
    }
    /* Without a lost answer the same bytes are somebody else's, too. */
    forget(fake);
    keep(fake, "t/v1", "ours", 4, 0);
    set_fault(fake, NO_FAULT, 0, 0);
    assert_false(store_put_new(world->store, "s3://lake/t/v1", "ours", 4, &err));
    assert_string_equal(err.code, "ObjectExists");
    /* All answers lost, then that of the look: nothing is claimed. */
    forget(fake);
    set_fault(fake, LOSE_AFTER, 1, 1000);
    assert_false(store_put_new(world->store, "s3://lake/t/v1", "ours", 4, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    /* All four answers lost, but the look succeeds. */
    forget(fake);
    set_fault(fake, LOSE_AFTER, 1, 4);
    assert_true(store_put_new(world->store, "s3://lake/t/v1", "ours", 4, &err));
}

static void a_tag_guards_what_stands_there_whatever_is_lost(void **state)
{
    World *world = *state;
    Fake *fake = &world->fake;
    const char *uri = "s3://lake/t/record";
    Error err = {0};
    Bytes got = {0};
    StoreTag mine, theirs;
    assert_true(store_get_tagged(world->store, uri, 10, &got, &mine, &err));
    assert_string_equal(mine.text, "");
    for (int fault = LOSE_BEFORE; fault < DENIED; fault++) {
        forget(fake);
        mine = (StoreTag){{0}};
        assert_true(store_put_tagged(world->store, uri, "one", 3, &mine, &err));
        StoreTag old = mine;
        set_fault(fake, (Fault)fault, 1, 1);
        assert_true(store_put_tagged(world->store, uri, "two", 3, &mine, &err));
        assert_int_equal(fake->struck, 1);
        assert_true(store_get_tagged(world->store, uri, 10, &got, &theirs, &err));
        assert_string_equal(mine.text, theirs.text);
        set_fault(fake, (Fault)fault, 1, 1);
        assert_false(store_put_tagged(world->store, uri, "late", 4, &old, &err));
        assert_int_equal(fake->struck, 1);
        assert_int_equal(err.kind, ERROR_CONFLICT);
        assert_string_equal(err.code, "ObjectChanged");
    }
    forget(fake);
    set_fault(fake, NO_FAULT, 0, 0);
    assert_false(store_put_tagged(world->store, uri, "late", 4, &mine, &err));
    assert_string_equal(err.code, "ObjectChanged");
    bytes_done(&got);
}

static void a_store_without_conditions_is_refused(void **state)
{
    World *world = *state;
    Error err = {0};
    world->fake.ignores_if_none_match = true;
    assert_true(store_put(world->store, "s3://lake/t/o", "x", 1, &err));
    assert_false(store_put_new(world->store, "s3://lake/t/v1", "one", 3, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_string_equal(err.code, "NoConditionalPut");
    assert_int_equal(world->fake.object_count, 1);
    world->fake.knows_no_conditions = true;
    assert_false(store_put_new(world->store, "s3://lake/t/v1", "one", 3, &err));
    assert_string_equal(err.code, "NoConditionalPut");
    assert_non_null(strstr(err.message, "501 NotImplemented"));
}

/* ---------- reads ---------- */

static void reads_are_checked(void **state)
{
    World *world = *state;
    Fake *fake = &world->fake;
    Error err = {0};
    Bytes got = {0};
    char to[4];
    keep(fake, "t/o", "0123456789", 10, 0);
    for (int fault = NO_FAULT; fault < DENIED; fault++) {
        set_fault(fake, (Fault)fault, 1, 2);
        bytes_clear(&got);
        assert_true(store_get(world->store, "s3a://lake/t/o", 10, &got, &err));
        assert_int_equal(got.used, 10);
    }
    set_fault(fake, NO_FAULT, 0, 0);
    assert_false(store_get(world->store, "s3://lake/t/o", 9, &got, &err));
    assert_string_equal(err.code, "ObjectTooLarge");
    assert_false(store_get(world->store, "s3://lake/t/none", 9, &got, &err));
    assert_string_equal(err.code, "ObjectMissing");
    fake->wrong_checksum = true;
    assert_false(store_get(world->store, "s3://lake/t/o", 10, &got, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    assert_string_equal(err.code, "ChecksumWrong");
    StoreReader *reader = store_reader_open(world->store, "s3://lake/t/o", &err);
    assert_int_equal(store_reader_bytes(reader), 10);
    assert_true(store_read(reader, 7, to, 3, &err));
    assert_memory_equal(to, "789", 3);
    assert_false(store_read(reader, 8, to, 3, &err));
    assert_string_equal(err.code, "ObjectTruncated");
    fake->ignores_range = true;
    assert_false(store_read(reader, 3, to, 3, &err));
    assert_int_equal(err.kind, ERROR_RETRY);
    fake->ignores_range = false;
    keep(fake, "t/o", "01234", 5, 0);
    assert_false(store_read(reader, 7, to, 3, &err));
    assert_string_equal(err.code, "ObjectTruncated");
    store_reader_free(reader);
    bytes_done(&got);
}

static bool count_one(const char *uri, uint64_t bytes, int64_t modified_us, void *context)
{
    assert_ptr_equal(strstr(uri, "s3://lake/t/k "), uri);
    assert_int_equal(bytes, 1);
    assert_true(modified_us == INT64_C(1577836800000000));
    return ++*(int *)context < 6;
}

static void lists_go_on_over_pages(void **state)
{
    World *world = *state;
    Error err = {0};
    int seen = 0;
    bool there;
    for (int i = 0; i < 5; i++) {
        char key[16];
        snprintf(key, sizeof key, "t/k +%d", i);
        keep(&world->fake, key, "x", 1, 0);
    }
    keep(&world->fake, "t/.firn-probe-1", "x", 1, 0);
    set_fault(&world->fake, INTERNAL, 2, 1);
    assert_true(store_list(world->store, "s3://lake/t", count_one, &seen, &err));
    assert_int_equal(seen, 5);
    assert_true(store_exists(world->store, "s3://lake/t/none", &there, &err));
    assert_false(there);
    assert_false(store_exists(world->store, "s3://pond/t/none", &there, &err));
    assert_string_equal(err.code, "BucketMissing");
    assert_false(store_delete_all(world->store, "s3://lake/", &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
}

/* ---------- clocks, keys, refusals ---------- */

static void a_clock_that_is_off_is_corrected_once(void **state)
{
    World *world = *state;
    Error err = {0};
    world->fake.clock_off_s = -7200;
    assert_true(store_put(world->store, "s3://lake/o", "x", 1, &err));
    assert_int_equal(world->fake.counted, 2);
    assert_true(store_put(world->store, "s3://lake/o", "x", 1, &err));
    assert_int_equal(world->fake.counted, 3);
    world->fake.refuse_status = "403";
    world->fake.refuse_body = "<Error><Code>RequestTimeTooSkewed</Code></Error>";
    assert_false(store_put(world->store, "s3://lake/o", "x", 1, &err));
    assert_string_equal(err.code, "ClockSkew");
}

static bool vend(void *context, AwsKeys *ret, Error *err)
{
    (void)err;
    int *number = context;
    *ret = (AwsKeys){.access_key = mem_format("AK%d", ++*number),
                     .secret_key = mem_strdup("the-secret"),
                     .session_token = mem_strdup("token"),
                     .expires_us = clock_wall_us() + INT64_C(3600000000)};
    return true;
}

static void expired_keys_are_fetched_anew(void **state)
{
    World *world = *state;
    Error err = {0};
    int fetched = 0;
    AUTO(aws_credentials_free) AwsCredentials *vended = aws_credentials_vended(vend, &fetched);
    AUTO(store_close) Store *store = store_with(world, vended);
    assert_true(store_put(store, "s3://lake/o", "x", 1, &err));
    assert_int_equal(fetched, 1);
    world->fake.expired_key = "AK1/";
    assert_true(store_put(store, "s3://lake/o", "x", 1, &err));
    assert_int_equal(fetched, 2);
    world->fake.expired_key = "AK";
    assert_false(store_put(store, "s3://lake/o", "x", 1, &err));
    assert_int_equal(err.kind, ERROR_CONFIG);
    assert_int_equal(fetched, 3); /* once more, no oftener */
    assert_null(strstr(err.message, "token\""));
}

static void refusals_say_what_to_mend(void **state)
{
    World *world = *state;
    static const struct {
        const char *status, *body, *code, *part;
        ErrorKind kind;
    } refusals[] = {
        {"403", "<Error><Code>InvalidAccessKeyId</Code></Error>", "AccessDenied",
         "spec.storage.credentialsSecretRef", ERROR_CONFIG},
        {"403", "<Error><Code>SignatureDoesNotMatch</Code></Error>", "AccessDenied", "secret key",
         ERROR_CONFIG},
        {"403", "<Error><Code>AccessDenied</Code></Error>", "AccessDenied", "s3:GetObject",
         ERROR_CONFIG},
        {"404", "<Error><Code>NoSuchBucket</Code></Error>", "BucketMissing",
         "spec.catalog.warehouse", ERROR_CONFIG},
        {"301", "<Error><Code>PermanentRedirect</Code><Region>eu-north-1</Region></Error>",
         "WrongRegion", "in region eu-north-1, not in eu-west-1", ERROR_CONFIG},
        {"400",
         "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>",
         "WrongRegion", "spec.storage.region", ERROR_CONFIG},
        {"404", "<html>no S3 here</html>", "StoreRefused", "is spec.storage.endpoint",
         ERROR_CONFIG},
        {"507", "<Error><Code>XMinioStorageFull</Code></Error>", "DiskFull", "full", ERROR_RETRY},
        {"503", "<Error><Code>SlowDown</Code></Error>", "StoreFailed", "503 SlowDown", ERROR_RETRY},
        {"409", "", "StoreFailed", "409", ERROR_RETRY}, /* of something in between */
        {"409", "<Error><Code>InvalidBucketState</Code></Error>", "StoreRefused",
         "InvalidBucketState", ERROR_CONFIG},
    };
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        Error err = {0};
        world->fake.refuse_status = refusals[i].status;
        world->fake.refuse_body = refusals[i].body;
        assert_false(store_put(world->store, "s3://lake/t/o", "x", 1, &err));
        if (strcmp(err.code, refusals[i].code) != 0 || !strstr(err.message, refusals[i].part))
            fail_msg("%s: %s", err.code, err.message);
        assert_int_equal(err.kind, refusals[i].kind);
        assert_non_null(strstr(err.message, "s3://lake/t/o"));
        assert_null(strstr(err.message, "the-secret"));
    }
}

static void locations_and_endpoints(void **state)
{
    World *world = *state;
    Error err = {0};
    static const char *const same[][2] = {{"s3a://lake/a/b/", "s3://lake/a/b"},
                                          {"s3n://lake", "s3://lake"},
                                          {"s3://lake/a//b %20", "s3://lake/a//b %20"}};
    static const char *const bad[] = {"s3://", "s3:///a", "s3://lake/../b", "s3x://lake/a",
                                      "s3:/a"};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        AUTO(mem_free) char *got = store_uri(same[i][0], &err);
        assert_string_equal(got, same[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        AUTO(mem_free) char *got = store_uri(bad[i], &err);
        assert_null(got);
        assert_int_equal(err.kind, ERROR_CONFIG);
    }
    static const char *const outside[] = {"/etc/passwd", "file:///etc/passwd", "s3://LA KE/x",
                                          "s3://lake/", "s3://la/x"};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        assert_false(store_put(world->store, outside[i], "x", 1, &err));
        assert_int_equal(err.kind, ERROR_CONFIG);
    }
    static const char *const endpoints[] = {"lake.example", "ftp://lake", "http://", "http://a/b",
                                            "http://user:pw@host"};
    for (size_t i = 0; i < ARRAY_LEN(endpoints); i++) {
        assert_null(store_s3_open(&(S3Options){.endpoint = endpoints[i]}, &err));
        assert_string_equal(err.code, "BadEndpoint");
        assert_null(strstr(err.message, "pw"));
    }
    /* Virtual hosts: the bucket is part of the name. */
    AUTO(mem_free)
    char *endpoint = mem_format("http://localhost:%u", world->fake.script->port);
    AUTO(store_close)
    Store *hosted =
        store_s3_open(&(S3Options){.endpoint = endpoint, .credentials = world->credentials}, &err);
    s3_store_be_patient(hosted, &(S3Patience){1, 0, 1});
    world->fake.refuse_status = "418";
    world->fake.refuse_body = "";
    assert_false(store_put(hosted, "s3://lake/t/a b", "x", 1, &err));
    assert_string_equal(world->fake.target, "/t/a%20b");
}

static void checksums(void **state)
{
    (void)state;
    char text[S3_CHECKSUM_BYTES];
    s3_checksum("123456789", 9, text); /* 0xe3069283: the check value of CRC-32C */
    assert_string_equal(text, "4waSgw==");
    s3_checksum("", 0, text);
    assert_string_equal(text, "AAAAAA==");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(uploads_survive_every_single_fault),
        TEST(uploads_that_can_not_be_saved_leave_nothing),
        TEST(a_new_object_is_new_whatever_is_lost),
        TEST(a_tag_guards_what_stands_there_whatever_is_lost),
        TEST(a_store_without_conditions_is_refused),
        TEST(reads_are_checked),
        TEST(lists_go_on_over_pages),
        TEST(a_clock_that_is_off_is_corrected_once),
        TEST(expired_keys_are_fetched_anew),
        TEST(refusals_say_what_to_mend),
        TEST(locations_and_endpoints),
        cmocka_unit_test(checksums),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free((void *)(uintptr_t)content(0));
    return failed;
}
