/* Lists, deletes, and uploads that nobody finished. Keys come escaped (encoding-type=url), because
 * XML cannot hold every byte that a key may. */
#include <ctype.h>
#include <openssl/evp.h>
#include <stdio.h>

#include "agent/store/s3/s3.h"
#include "common/text.h"
#include "common/xml.h"

#define PAGE_BYTES_MAX ((size_t)16 << 20)
#define PAGES_MAX 1000000

typedef struct Entry {
    char *key, *upload; /* upload: of an unfinished one */
    int64_t at_us;      /* modified, or begun */
    uint64_t bytes;
} Entry;

typedef struct Page {
    Entry *entries;
    size_t count, held;
    Entry current;
    bool escaped, more;
    char *next, *next_upload; /* where the next page begins */
} Page;

static void entry_done(Entry *entry)
{
    free(entry->key);
    free(entry->upload);
    *entry = (Entry){0};
}

static void page_done(Page *page)
{
    for (size_t i = 0; i < page->count; i++)
        entry_done(&page->entries[i]);
    entry_done(&page->current);
    free(page->entries);
    free(page->next);
    free(page->next_upload);
    *page = (Page){0};
}

static void replace(char **text, const char *by)
{
    free(*text);
    *text = mem_strdup(by);
}

static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; at++) {
        if (at[0] == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2])) {
            char digits[3] = {at[1], at[2], '\0'};
            *to++ = (char)strtoul(digits, NULL, 16);
            at += 2;
        } else {
            *to++ = *at == '+' ? ' ' : *at;
        }
    }
    *to = '\0';
}

/* ---------- pages of a list ---------- */

static bool take_element(void *context, const char *path, const char *text)
{
    Page *page = context;
    const char *slash = strchr(path, '/');
    const char *name = slash ? slash + 1 : "";
    if (strcmp(name, "Contents/Key") == 0 || strcmp(name, "Upload/Key") == 0)
        replace(&page->current.key, text);
    else if (strcmp(name, "Upload/UploadId") == 0)
        replace(&page->current.upload, text);
    else if (strcmp(name, "Contents/Size") == 0)
        page->current.bytes = strtoull(text, NULL, 10);
    else if (strcmp(name, "Contents/LastModified") == 0 || strcmp(name, "Upload/Initiated") == 0) {
        if (!aws_time_parse(text, &page->current.at_us))
            page->current.at_us = 0;
    } else if (strcmp(name, "EncodingType") == 0)
        page->escaped = strcmp(text, "url") == 0;
    else if (strcmp(name, "IsTruncated") == 0)
        page->more = strcmp(text, "true") == 0;
    else if (strcmp(name, "NextContinuationToken") == 0 || strcmp(name, "NextKeyMarker") == 0)
        replace(&page->next, text);
    else if (strcmp(name, "NextUploadIdMarker") == 0)
        replace(&page->next_upload, text);
    else if (strcmp(name, "Contents") == 0 || strcmp(name, "Upload") == 0) {
        if (page->count == page->held) {
            page->held = page->held ? page->held * 2 : 256;
            page->entries = mem_regrow(page->entries, page->held, sizeof(Entry));
        }
        page->entries[page->count++] = page->current;
        page->current = (Entry){0};
    }
    return true;
}

static bool page_read(S3Store *store, const S3Place *place, const char *query, Page *page,
                      Error *err)
{
    S3Call call = {.doing = "list",
                   .method = "GET",
                   .place = place,
                   .on_bucket = true,
                   .query = query,
                   .answer_bytes_max = PAGE_BYTES_MAX};
    S3Answer answer = {0};
    bool ok = s3_call(store, &call, &answer, err);
    if (ok && !xml_read(answer.http.body.data, answer.http.body.used, take_element, page, err)) {
        error_wrap(err, "list %.200s", place->uri);
        ok = false;
    }
    s3_answer_done(&answer);
    for (size_t i = 0; ok && i < page->count; i++) {
        Entry *entry = &page->entries[i];
        if (!entry->key)
            ok = error_set(err, ERROR_RETRY, "StoreFailed", "list %.300s: an entry has no key",
                           place->uri);
        else if (page->escaped)
            unescape(entry->key);
    }
    if (ok && page->more && (!page->next || !*page->next))
        ok = error_set(err, ERROR_RETRY, "StoreFailed",
                       "list %.300s: cut short without saying where to go on", place->uri);
    return ok;
}

/* The place of a folder, its key empty or ending in '/'. */
static bool folder_of(const char *prefix, S3Place *ret, Error *err)
{
    if (!s3_place_of(prefix, ret, err))
        return false;
    size_t bytes = strlen(ret->key);
    if (!bytes || ret->key[bytes - 1] == '/')
        return true;
    AUTO(mem_free) char *folder = mem_format("%s/", ret->uri);
    s3_place_done(ret);
    return s3_place_of(folder, ret, err);
}

/* Calls take(page) for every page; it says by *stop that it has seen enough. */
typedef bool TakePage(void *context, const S3Place *folder, Page *page, bool *stop, Error *err);

static bool each_page(S3Store *store, const S3Place *folder, TakePage *take, void *context,
                      Error *err)
{
    AUTO(mem_free) char *prefix = http_escape(folder->key, "");
    AUTO(mem_free) char *token = NULL;
    bool ok = true, more = true, stop = false;
    for (size_t pages = 0; ok && more && !stop && pages < PAGES_MAX; pages++) {
        AUTO(mem_free)
        char *query = mem_format("list-type=2&encoding-type=url&prefix=%s%s%s", prefix,
                                 token ? "&continuation-token=" : "", token ? token : "");
        Page page = {0};
        ok = page_read(store, folder, query, &page, err);
        more = page.more;
        free(token);
        token = ok && more ? http_escape(page.next, "") : NULL;
        if (ok)
            ok = take(context, folder, &page, &stop, err);
        page_done(&page);
    }
    return ok;
}

/* ---------- lists ---------- */

typedef struct List {
    StoreEach *each;
    void *context;
} List;

static bool is_object(const char *key)
{
    const char *slash = strrchr(key, '/');
    const char *name = slash ? slash + 1 : key;
    /* Neither a console's markers of folders nor a probe that a crash left. */
    return *name && strncmp(name, S3_PROBE_NAME, strlen(S3_PROBE_NAME)) != 0;
}

static bool list_page(void *context, const S3Place *folder, Page *page, bool *stop, Error *err)
{
    const List *list = context;
    (void)err;
    for (size_t i = 0; i < page->count && !*stop; i++) {
        const Entry *entry = &page->entries[i];
        if (!is_object(entry->key))
            continue;
        AUTO(mem_free) char *uri = mem_format("s3://%s/%s", folder->bucket, entry->key);
        *stop = !list->each(uri, entry->bytes, entry->at_us, list->context);
    }
    return true;
}

bool s3_list(Store *store, const char *prefix, StoreEach *each, void *context, Error *err)
{
    S3Place folder;
    List list = {each, context};
    if (!folder_of(prefix, &folder, err))
        return false;
    bool ok = each_page((S3Store *)store, &folder, list_page, &list, err);
    s3_place_done(&folder);
    return ok;
}

/* ---------- deletes ---------- */

bool s3_remove(Store *store, const char *uri, Error *err)
{
    S3Place place;
    if (!s3_place_of(uri, &place, err))
        return false;
    if (!*place.key) {
        s3_place_done(&place);
        return error_set(err, ERROR_CONFIG, "LocationUnusable", "%.300s names no object", uri);
    }
    S3Call call = {.doing = "delete", .method = "DELETE", .place = &place, .also = 404};
    S3Answer answer = {0};
    bool ok = s3_call((S3Store *)store, &call, &answer, err);
    s3_answer_done(&answer);
    s3_place_done(&place);
    return ok;
}

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

/* False: a byte that no XML can hold. */
static bool put_xml(Bytes *to, const char *text)
{
    for (const char *at = text; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r')
            return false;
        if (byte < 0x20 || strchr("<>&\"'", byte)) {
            char reference[8];
            snprintf(reference, sizeof reference, "&#%u;", byte);
            put_text(to, reference);
        } else {
            bytes_put_u8(to, byte);
        }
    }
    return true;
}

typedef struct Refused {
    char key[512], code[64], message[128];
    bool any;
} Refused;

static bool take_refused(void *context, const char *path, const char *text)
{
    Refused *refused = context;
    if (refused->any)
        return true;
    if (strcmp(path, "DeleteResult/Error/Key") == 0)
        snprintf(refused->key, sizeof refused->key, "%s", text);
    if (strcmp(path, "DeleteResult/Error/Code") == 0)
        snprintf(refused->code, sizeof refused->code, "%s", text);
    if (strcmp(path, "DeleteResult/Error/Message") == 0)
        snprintf(refused->message, sizeof refused->message, "%s", text);
    if (strcmp(path, "DeleteResult/Error") == 0)
        refused->any = strcmp(refused->code, "NoSuchKey") != 0;
    return true;
}

static bool delete_batch(S3Store *store, const S3Place *folder, const Bytes *body, Error *err)
{
    unsigned char digest[16], base64[25];
    ASSERT(EVP_Digest(body->data, body->used, digest, NULL, EVP_md5(), NULL) == 1);
    EVP_EncodeBlock(base64, digest, sizeof digest);
    S3Call call = {
        .doing = "delete",
        .method = "POST",
        .place = folder,
        .on_bucket = true,
        .query = "delete=",
        .headers = {{"content-md5", (const char *)base64}, {"content-type", "application/xml"}},
        .header_count = 2,
        .body = body->data,
        .body_bytes = body->used,
        .answer_bytes_max = PAGE_BYTES_MAX};
    S3Answer answer = {0};
    Refused refused = {0};
    bool ok = s3_call(store, &call, &answer, err) &&
              xml_read(answer.http.body.data, answer.http.body.used, take_refused, &refused, err);
    s3_answer_done(&answer);
    if (ok && refused.any) {
        bool passes =
            strcmp(refused.code, "InternalError") == 0 || strcmp(refused.code, "SlowDown") == 0;
        ok = error_set(err, passes ? ERROR_RETRY : ERROR_CONFIG,
                       passes ? "StoreFailed" : "AccessDenied",
                       "delete s3://%.63s/%.200s: refused with %s: %s", folder->bucket, refused.key,
                       refused.code, refused.message);
    }
    return ok;
}

static bool delete_page(void *context, const S3Place *folder, Page *page, bool *stop, Error *err)
{
    S3Store *store = context;
    Bytes body = {0};
    size_t count = 0;
    bool ok = true;
    (void)stop;
    put_text(&body,
             "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
    for (size_t i = 0; ok && i < page->count; i++) {
        size_t before = body.used;
        put_text(&body, "<Object><Key>");
        if (put_xml(&body, page->entries[i].key)) {
            put_text(&body, "</Key></Object>");
            count++;
            continue;
        }
        body.used = before;
        AUTO(mem_free) char *uri = mem_format("s3://%s/%s", folder->bucket, page->entries[i].key);
        ok = s3_remove(&store->store, uri, err);
    }
    put_text(&body, "</Delete>");
    if (ok && count)
        ok = delete_batch(store, folder, &body, err);
    bytes_done(&body);
    return ok;
}

bool s3_remove_all(Store *store, const char *prefix, Error *err)
{
    S3Place folder;
    if (!folder_of(prefix, &folder, err))
        return false;
    bool ok = *folder.key ? each_page((S3Store *)store, &folder, delete_page, store, err)
                          : error_set(err, ERROR_CONFIG, "LocationUnusable",
                                      "refusing to delete all of %s", folder.uri);
    s3_place_done(&folder);
    return ok && s3_sweep(store, prefix, INT64_MAX, err);
}

/* ---------- unfinished uploads ---------- */

static bool abort_old(S3Store *store, const S3Place *folder, const Page *page, int64_t before_us,
                      Error *err)
{
    size_t prefix_bytes = strlen(folder->key);
    for (size_t i = 0; i < page->count; i++) {
        const Entry *entry = &page->entries[i];
        bool ours = strncmp(entry->key, folder->key, prefix_bytes) == 0;
        if (!ours || !entry->upload || !entry->at_us || entry->at_us >= before_us)
            continue;
        AUTO(mem_free) char *uri = mem_format("s3://%s/%s", folder->bucket, entry->key);
        AUTO(mem_free) char *escaped = http_escape(entry->upload, "");
        AUTO(mem_free) char *query = mem_format("uploadId=%s", escaped);
        S3Place place;
        if (!s3_place_of(uri, &place, err))
            return false;
        S3Call call = {.doing = "abort the upload of",
                       .method = "DELETE",
                       .place = &place,
                       .query = query,
                       .also = 404};
        S3Answer answer = {0};
        bool ok = s3_call(store, &call, &answer, err);
        s3_answer_done(&answer);
        s3_place_done(&place);
        if (!ok)
            return false;
    }
    return true;
}

/* *ret_seen: the uploads that were listed, ours or not. */
static bool sweep_listed(S3Store *store, const S3Place *folder, const char *prefix,
                         int64_t before_us, size_t *ret_seen, Error *err)
{
    AUTO(mem_free) char *escaped = http_escape(prefix, "");
    AUTO(mem_free) char *marker = mem_strdup("");
    bool ok = true, more = true;
    *ret_seen = 0;
    for (size_t pages = 0; ok && more && pages < PAGES_MAX; pages++) {
        AUTO(mem_free)
        char *query = mem_format("uploads=&encoding-type=url&prefix=%s%s", escaped, marker);
        Page page = {0};
        ok = page_read(store, folder, query, &page, err) &&
             abort_old(store, folder, &page, before_us, err);
        *ret_seen += page.count;
        more = ok && page.more;
        if (more) {
            if (page.escaped)
                unescape(page.next);
            AUTO(mem_free) char *key = http_escape(page.next, "");
            AUTO(mem_free) char *upload = http_escape(page.next_upload ? page.next_upload : "", "");
            free(marker);
            marker = mem_format("&key-marker=%s&upload-id-marker=%s", key, upload);
        }
        page_done(&page);
    }
    return ok;
}

/* MinIO lists unfinished uploads only under a whole key as the prefix, or under none: where nothing
 * is found, the whole bucket's are looked through. */
bool s3_sweep(Store *store, const char *prefix, int64_t before_us, Error *err)
{
    S3Store *s3 = (S3Store *)store;
    S3Place folder;
    size_t seen;
    if (!folder_of(prefix, &folder, err))
        return false;
    bool ok = sweep_listed(s3, &folder, folder.key, before_us, &seen, err);
    if (ok && !seen && *folder.key)
        ok = sweep_listed(s3, &folder, "", before_us, &seen, err);
    s3_place_done(&folder);
    return ok;
}
