/* Signature Version 4. The canonical request is made from what will go out: the URL's path and
 * query as they are escaped there, and every header the caller set.
 *
 * S3 takes the path as sent; every other service wants it without empty and dot segments and
 * escaped once more. */
#include "common/aws/aws.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>

#include "common/mem.h"

#define HASH_BYTES 32
#define HEX_BYTES (2 * HASH_BYTES + 1)
#define ADDED_MAX 4

typedef struct Field {
    char *name, *value;
} Field;

typedef struct Url {
    const char *host, *path, *query; /* in the caller's text */
    size_t host_bytes, path_bytes, query_bytes;
} Url;

static void hex_of(const uint8_t hash[HASH_BYTES], char ret[HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < HASH_BYTES; i++) {
        ret[2 * i] = digits[hash[i] >> 4];
        ret[2 * i + 1] = digits[hash[i] & 15];
    }
    ret[HEX_BYTES - 1] = '\0';
}

static void hash_hex(const void *data, size_t bytes, char ret[HEX_BYTES])
{
    uint8_t hash[HASH_BYTES];
    ASSERT(EVP_Digest(bytes ? data : "", bytes, hash, NULL, EVP_sha256(), NULL) == 1);
    hex_of(hash, ret);
}

static void mac(const uint8_t *key, size_t key_bytes, const void *text, size_t bytes,
                uint8_t ret[HASH_BYTES])
{
    unsigned int made = 0;
    ASSERT(HMAC(EVP_sha256(), key, (int)key_bytes, text, bytes, ret, &made) != NULL &&
           made == HASH_BYTES);
}

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static Url url_of(const char *text)
{
    Url url = {0};
    const char *slashes = strstr(text, "://");
    ASSERT(slashes);
    url.host = slashes + 3;
    url.host_bytes = strcspn(url.host, "/?#");
    url.path = url.host + url.host_bytes;
    url.path_bytes = strcspn(url.path, "?#");
    const char *rest = url.path + url.path_bytes;
    url.query = *rest == '?' ? rest + 1 : rest;
    url.query_bytes = strcspn(url.query, "#");
    /* The scheme's own port is not in the host header. */
    const char *port = strncmp(text, "https:", 6) == 0 ? ":443" : ":80";
    size_t port_bytes = strlen(port);
    if (url.host_bytes > port_bytes &&
        memcmp(url.host + url.host_bytes - port_bytes, port, port_bytes) == 0)
        url.host_bytes -= port_bytes;
    return url;
}

/* ---------- the path ---------- */

static void put_escaped(Bytes *to, const char *text, size_t bytes)
{
    AUTO(mem_free) char *copy = mem_strndup(text, bytes);
    AUTO(mem_free) char *escaped = http_escape(copy, "");
    put_text(to, escaped);
}

static void put_path(Bytes *to, const Url *url, bool s3)
{
    if (s3) {
        bytes_put(to, url->path, url->path_bytes);
        if (!url->path_bytes)
            bytes_put_u8(to, '/');
        return;
    }
    const char *at = url->path, *end = at + url->path_bytes;
    size_t start = to->used;
    bool folder = true; /* a slash at the end stays */
    while (at < end) {
        while (at < end && *at == '/')
            at++;
        const char *slash = memchr(at, '/', (size_t)(end - at));
        size_t bytes = (size_t)((slash ? slash : end) - at);
        bool dot = bytes == 1 && at[0] == '.';
        bool up = bytes == 2 && at[0] == '.' && at[1] == '.';
        if (up)
            while (to->used > start && to->data[--to->used] != '/') {
            }
        folder = !bytes || dot || up;
        if (!folder) {
            bytes_put_u8(to, '/');
            put_escaped(to, at, bytes);
        }
        at += bytes;
    }
    if (folder || to->used == start)
        bytes_put_u8(to, '/');
}

/* ---------- the query ---------- */

static int by_name_and_value(const void *a, const void *b)
{
    const Field *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    return order ? order : strcmp(left->value, right->value);
}

static int hex_value(char digit)
{
    return isdigit((unsigned char)digit) ? digit - '0' : tolower((unsigned char)digit) - 'a' + 10;
}

/* Unescaped and escaped again, so that every sender's way of escaping gives the same. */
static char *query_part(const char *text, size_t bytes)
{
    AUTO(mem_free) char *plain = mem_alloc(bytes + 1);
    char *to = plain;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '%' && i + 2 < bytes && isxdigit((unsigned char)text[i + 1]) &&
            isxdigit((unsigned char)text[i + 2])) {
            *to++ = (char)(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
            i += 2;
        } else {
            *to++ = text[i];
        }
    }
    *to = '\0';
    return http_escape(plain, "");
}

static void free_fields(Field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(fields[i].name);
        free(fields[i].value);
    }
    free(fields);
}

static void put_query(Bytes *to, const Url *url)
{
    size_t most = 1, count = 0;
    for (size_t i = 0; i < url->query_bytes; i++)
        most += url->query[i] == '&';
    Field *fields = mem_array(most, sizeof *fields);
    const char *at = url->query, *end = at + url->query_bytes;
    while (at < end) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        size_t bytes = (size_t)((next ? next : end) - at);
        const char *equals = memchr(at, '=', bytes);
        size_t name_bytes = equals ? (size_t)(equals - at) : bytes;
        if (bytes)
            fields[count++] = (Field){
                .name = query_part(at, name_bytes),
                .value = equals ? query_part(equals + 1, bytes - name_bytes - 1) : mem_strdup("")};
        at += bytes + 1;
    }
    qsort(fields, count, sizeof *fields, by_name_and_value);
    for (size_t i = 0; i < count; i++) {
        if (i)
            bytes_put_u8(to, '&');
        put_text(to, fields[i].name);
        bytes_put_u8(to, '=');
        put_text(to, fields[i].value);
    }
    free_fields(fields, count);
}

/* ---------- the headers ---------- */

static char *lower(const char *text)
{
    char *copy = mem_strdup(text);
    for (char *at = copy; *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return copy;
}

/* Without blanks at the ends, and single ones within. */
static char *squeezed(const char *text)
{
    char *copy = mem_alloc(strlen(text) + 1), *to = copy;
    for (const char *at = text; *at; at++) {
        bool blank = *at == ' ' || *at == '\t';
        if (!blank)
            *to++ = *at;
        else if (to > copy && to[-1] != ' ')
            *to++ = ' ';
    }
    if (to > copy && to[-1] == ' ')
        to--;
    *to = '\0';
    return copy;
}

/* "name:value\n" for each, and the names joined by ';'. Same names keep their order. */
static void put_headers(Bytes *to, Bytes *names, Field *fields, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0 && strcmp(fields[j - 1].name, fields[j].name) > 0; j--) {
            Field moved = fields[j];
            fields[j] = fields[j - 1];
            fields[j - 1] = moved;
        }
    for (size_t i = 0; i < count; i++) {
        if (i && strcmp(fields[i - 1].name, fields[i].name) == 0) {
            to->used--; /* the line's end */
            bytes_put_u8(to, ',');
        } else {
            if (i)
                bytes_put_u8(names, ';');
            put_text(names, fields[i].name);
            put_text(to, fields[i].name);
            bytes_put_u8(to, ':');
        }
        put_text(to, fields[i].value);
        bytes_put_u8(to, '\n');
    }
}

/* ---------- the signature ---------- */

static void signing_key(const AwsSigning *signing, const char *day, uint8_t ret[HASH_BYTES])
{
    char *secret = mem_format("AWS4%s", signing->keys->secret_key);
    size_t secret_bytes = strlen(secret);
    mac((const uint8_t *)secret, secret_bytes, day, strlen(day), ret);
    OPENSSL_cleanse(secret, secret_bytes);
    free(secret);
    const char *const parts[] = {signing->region, signing->service, "aws4_request"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        uint8_t next[HASH_BYTES];
        mac(ret, HASH_BYTES, parts[i], strlen(parts[i]), next);
        memcpy(ret, next, HASH_BYTES);
        OPENSSL_cleanse(next, sizeof next);
    }
}

void aws_sign(const AwsSigning *signing, const HttpRequest *request, AwsHeader *put, void *context)
{
    bool s3 = strcmp(signing->service, "s3") == 0;
    Url url = url_of(request->url);
    char when[20], day[12], payload[HEX_BYTES];
    time_t now_s = (time_t)(signing->now_us / 1000000);
    struct tm utc;
    gmtime_r(&now_s, &utc);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &utc);
    strftime(day, sizeof day, "%Y%m%d", &utc);
    const char *payload_hash = signing->payload_hash;
    if (!payload_hash) {
        hash_hex(request->body, request->body_bytes, payload);
        payload_hash = payload;
    }
    HttpHeader added[ADDED_MAX] = {{"x-amz-date", when}};
    size_t added_count = 1;
    if (s3 || signing->payload_hash)
        added[added_count++] = (HttpHeader){"x-amz-content-sha256", payload_hash};
    if (signing->keys->session_token)
        added[added_count++] = (HttpHeader){"x-amz-security-token", signing->keys->session_token};

    Field *fields = mem_array(request->header_count + added_count + 1, sizeof *fields);
    size_t count = 0;
    bool host = false;
    for (size_t i = 0; i < request->header_count; i++) {
        fields[count++] =
            (Field){lower(request->headers[i].name), squeezed(request->headers[i].value)};
        host |= strcasecmp(request->headers[i].name, "host") == 0;
    }
    for (size_t i = 0; i < added_count; i++) {
        fields[count++] = (Field){mem_strdup(added[i].name), squeezed(added[i].value)};
        put(context, added[i].name, added[i].value);
    }
    if (!host)
        fields[count++] = (Field){mem_strdup("host"), mem_strndup(url.host, url.host_bytes)};

    Bytes canonical = {0}, headers = {0}, names = {0};
    put_headers(&headers, &names, fields, count);
    bytes_put_u8(&names, '\0');
    put_text(&canonical, request->method);
    bytes_put_u8(&canonical, '\n');
    put_path(&canonical, &url, s3);
    bytes_put_u8(&canonical, '\n');
    put_query(&canonical, &url);
    bytes_put_u8(&canonical, '\n');
    bytes_put(&canonical, headers.data, headers.used);
    bytes_put_u8(&canonical, '\n');
    put_text(&canonical, (const char *)names.data);
    bytes_put_u8(&canonical, '\n');
    put_text(&canonical, payload_hash);

    char canonical_hash[HEX_BYTES], signature[HEX_BYTES];
    uint8_t key[HASH_BYTES], made[HASH_BYTES];
    hash_hex(canonical.data, canonical.used, canonical_hash);
    AUTO(mem_free)
    char *scope = mem_format("%s/%s/%s/aws4_request", day, signing->region, signing->service);
    AUTO(mem_free)
    char *to_sign = mem_format("AWS4-HMAC-SHA256\n%s\n%s\n%s", when, scope, canonical_hash);
    signing_key(signing, day, key);
    mac(key, sizeof key, to_sign, strlen(to_sign), made);
    OPENSSL_cleanse(key, sizeof key);
    hex_of(made, signature);
    AUTO(mem_free)
    char *authorization =
        mem_format("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
                   signing->keys->access_key, scope, (const char *)names.data, signature);
    put(context, "authorization", authorization);
    free_fields(fields, count);
    bytes_done(&canonical);
    bytes_done(&headers);
    bytes_done(&names);
}
