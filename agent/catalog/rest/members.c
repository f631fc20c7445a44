/* Members of a JSON object found by their text. The answers about a table hold its metadata, up to
 * hundreds of megabytes, which whoever asked parses: here it is only cut out. */
#include <stdlib.h>
#include <string.h>

#include "agent/catalog/rest/rest.h"
#include "common/mem.h"

static size_t skip_space(Span text, size_t at)
{
    while (at < text.bytes && strchr(" \t\r\n", text.at[at]) && text.at[at])
        at++;
    return at;
}

/* Behind the string that starts at its quote. */
static size_t skip_string(Span text, size_t at)
{
    for (at++; at < text.bytes && text.at[at] != '"'; at++)
        if (text.at[at] == '\\')
            at++;
    return at < text.bytes ? at + 1 : text.bytes;
}

/* Behind the value: what is nested is counted, never recursed into. */
static size_t skip_value(Span text, size_t at)
{
    size_t depth = 0;
    while (at < text.bytes) {
        char c = text.at[at];
        if (c == '"') {
            at = skip_string(text, at);
            if (!depth)
                return at;
            continue;
        }
        if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (!depth)
                return at;
            if (!--depth)
                return at + 1;
        } else if (!depth && (c == ',' || strchr(" \t\r\n", c))) {
            return at;
        }
        at++;
    }
    return at;
}

Span member_span(Span object, const char *key)
{
    const Span none = {NULL, 0};
    size_t at = skip_space(object, 0), bytes = strlen(key);
    if (at >= object.bytes || object.at[at] != '{')
        return none;
    at = skip_space(object, at + 1);
    while (at < object.bytes && object.at[at] == '"') {
        size_t name = at + 1;
        at = skip_string(object, at);
        size_t name_bytes = at - name - 1;
        at = skip_space(object, at);
        if (at >= object.bytes || object.at[at] != ':')
            return none;
        size_t value = skip_space(object, at + 1);
        at = skip_value(object, value);
        if (name_bytes == bytes && memcmp(object.at + name, key, bytes) == 0 && at > value)
            return (Span){object.at + value, at - value};
        at = skip_space(object, at);
        if (at >= object.bytes || object.at[at] != ',')
            return none;
        at = skip_space(object, at + 1);
    }
    return none;
}

json_t *member_json(Span object, const char *key)
{
    Span span = member_span(object, key);
    return span.at ? json_loadb(span.at, span.bytes, JSON_DECODE_ANY, NULL) : NULL;
}

char *member_text(Span object, const char *key)
{
    json_t *json = member_json(object, key);
    char *text = json_is_string(json) ? mem_strdup(json_string_value(json)) : NULL;
    json_decref(json);
    return text;
}
