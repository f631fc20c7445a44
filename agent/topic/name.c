/* See name.h. Debezium works on Java's UTF-16 units: a character outside the basic plane is two of
 * them, so it becomes two underscores here as well. */
#include "agent/topic/name.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

/* Reads one character of UTF-8; its bytes are taken one by one where they are none. */
static size_t take(const uint8_t *at, uint32_t *ret)
{
    size_t bytes = *at < 0x80 ? 1 : *at >= 0xf0 ? 4 : *at >= 0xe0 ? 3 : *at >= 0xc0 ? 2 : 1;
    *ret = bytes == 1 ? *at : *at & (0x7fu >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            *ret = *at;
            return 1;
        }
        *ret = *ret << 6 | (at[i] & 0x3f);
    }
    return bytes;
}

static bool is_letter(uint32_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}
static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

/* --- schemas and fields --- */

static void put_unicode(Bytes *to, uint32_t c)
{
    char text[16];
    if (c == '_') {
        bytes_put(to, "__", 2);
        return;
    }
    if (c >= 0x10000) {
        put_unicode(to, 0xd800 + ((c - 0x10000) >> 10));
        put_unicode(to, 0xdc00 + ((c - 0x10000) & 0x3ff));
        return;
    }
    int bytes = snprintf(text, sizeof text, "_u%04x", c);
    bytes_put(to, text, (size_t)bytes);
}

char *topic_adjust(const char *name, TopicAdjust adjust, bool field)
{
    Bytes to = {0};
    if (adjust == TOPIC_ADJUST_NONE)
        return mem_strdup(name);
    bool unicode = adjust == TOPIC_ADJUST_AVRO_UNICODE;
    for (const uint8_t *at = (const uint8_t *)name; *at;) {
        uint32_t c;
        bool first = at == (const uint8_t *)name;
        at += take(at, &c);
        bool valid = is_letter(c) || (c == '_' && !unicode) ||
                     (!first && (is_digit(c) || (c == '.' && !field)));
        if (valid) {
            bytes_put_u8(&to, (uint8_t)c);
        } else if (unicode) {
            put_unicode(&to, c);
        } else {
            bytes_put(&to, "__", c >= 0x10000 ? 2 : 1);
            if (first && is_digit(c))
                bytes_put_u8(&to, (uint8_t)c);
        }
    }
    bytes_put_u8(&to, 0);
    return (char *)to.data;
}

/* --- topics --- */

static void put_topic_part(Bytes *to, const char *part)
{
    for (const uint8_t *at = (const uint8_t *)part; *at;) {
        uint32_t c;
        at += take(at, &c);
        if (is_letter(c) || is_digit(c) || c == '.' || c == '_' || c == '-')
            bytes_put_u8(to, (uint8_t)c);
        else
            bytes_put(to, "__", c >= 0x10000 ? 2 : 1);
    }
}

char *topic_name(const char *template, const TopicTableSpec *spec, Error *err)
{
    const char *const words[][2] = {{"{connector}", spec->connector},
                                    {"{database}", spec->database},
                                    {"{schema}", spec->schema_name},
                                    {"{table}", spec->table_name}};
    Bytes to = {0};
    template = template ? template : "{connector}.{schema}.{table}";
    for (const char *at = template; *at;) {
        size_t word = 0;
        while (word < ARRAY_LEN(words) && strncmp(at, words[word][0], strlen(words[word][0])) != 0)
            word++;
        if (word < ARRAY_LEN(words)) {
            put_topic_part(&to, words[word][1] ? words[word][1] : "");
            at += strlen(words[word][0]);
            continue;
        }
        if (*at == '{' || *at == '}') {
            bytes_done(&to);
            error_set(
                err, ERROR_CONFIG, "TopicTemplate",
                "the name of topics \"%.100s\" has something else in braces than {connector}, "
                "{database}, {schema}, {table}",
                template);
            return NULL;
        }
        char one[5] = {0};
        uint32_t unused;
        size_t bytes = take((const uint8_t *)at, &unused);
        memcpy(one, at, bytes);
        put_topic_part(&to, one);
        at += bytes;
    }
    if (to.used > TOPIC_NAME_BYTES_MAX)
        to.used = TOPIC_NAME_BYTES_MAX;
    bool dots = to.used == 1 || (to.used == 2 && to.data[1] == '.');
    if (dots && to.data[0] == '.')
        memset(to.data, '_', to.used);
    if (!to.used) {
        bytes_done(&to);
        error_set(err, ERROR_CONFIG, "TopicTemplate", "the name of topics \"%.100s\" gives nothing",
                  template);
        return NULL;
    }
    bytes_put_u8(&to, 0);
    return (char *)to.data;
}
