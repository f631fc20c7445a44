/* Block style, two spaces, keys in the order they were set; texts plain where YAML 1.1 and 1.2 read
 * them as the same text, else in double quotes as JSON has them (which YAML reads). */
#include <strings.h>

#include "common/json/text.h"
#include "common/text.h"
#include "operator/crd/crd.h"

static void put(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static void indent(Bytes *to, int depth)
{
    for (int i = 0; i < depth; i++)
        put(to, "  ");
}

static bool is_plain(const char *text)
{
    static const char *const words[] = {"true", "false", "null", "yes", "no",
                                        "on",   "off",   "y",    "n"};
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/";
    if (!*text || !strchr(first, *text) || text[strlen(text) - 1] == ' ')
        return false;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasecmp(words[i], text) == 0)
            return false;
    if (strstr(text, ": ") || strstr(text, " #") || text[strlen(text) - 1] == ':')
        return false;
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20 || strchr("\"'`\\{}[]&*!|>%@", *at))
            return false;
    return true;
}

static void put_scalar(Bytes *to, const json_t *value)
{
    if (json_is_string(value) && is_plain(json_string_value(value))) {
        put(to, json_string_value(value));
        return;
    }
    char *text = json_text(value, JSON_ENCODE_ANY | JSON_COMPACT);
    ASSERT(text);
    put(to, text);
    free(text);
}

static bool is_block(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value)) ||
           (json_is_array(value) && json_array_size(value));
}

static void put_value(Bytes *to, const json_t *value, int depth, bool in_list);

static void put_map(Bytes *to, const json_t *map, int depth, bool in_list)
{
    const char *key;
    json_t *item;
    bool first = true;
    json_object_foreach((json_t *)(uintptr_t)map, key, item)
    {
        if (!first || !in_list)
            indent(to, depth);
        first = false;
        json_t *name = json_string(key);
        put_scalar(to, name);
        json_decref(name);
        put(to, ":");
        if (is_block(item)) {
            put(to, "\n");
            put_value(to, item, json_is_array(item) ? depth : depth + 1, false);
        } else {
            put(to, " ");
            put_value(to, item, depth, false);
        }
    }
}

static void put_value(Bytes *to, const json_t *value, int depth, bool in_list)
{
    if (!is_block(value)) {
        if (json_is_object(value))
            put(to, "{}");
        else if (json_is_array(value))
            put(to, "[]");
        else
            put_scalar(to, value);
        put(to, "\n");
    } else if (json_is_object(value)) {
        put_map(to, value, depth, in_list);
    } else {
        for (size_t i = 0; i < json_array_size(value); i++) {
            indent(to, depth);
            put(to, "- ");
            put_value(to, json_array_get(value, i), depth + 1, true);
        }
    }
}

void yaml_text_write(Bytes *to, const json_t *value)
{
    put_value(to, value, 0, false);
}
