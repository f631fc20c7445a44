/* What is told, or changed, in an object's text without reading it. Most of what the API server
 * sends is metadata that nobody reads here (managedFields is half of an object that is applied),
 * and most events are of what was written here: both are told from the text, without a tree. */
#include <string.h>

#include "common/json/scan.h"
#include "operator/api/api.h"

#define IS(text) (bytes == sizeof(text) - 1 && memcmp(name, text, sizeof(text) - 1) == 0)

#define DEPTH_MAX 200

static bool take_metadata(Scan *json, const char *from, ObjectHead *ret)
{
    const char *name;
    size_t bytes;
    bool end;
    if (!scan_expect(json, '{'))
        return false;
    for (bool first = true;; first = false) {
        (void)scan_peek(json);
        const char *comma = json->at;
        if (!scan_member(json, first, &name, &bytes, &end))
            return false;
        if (end)
            return true;
        bool ok = IS("name")              ? scan_text_to(json, ret->name, sizeof ret->name)
                  : IS("namespace")       ? scan_text_to(json, ret->space, sizeof ret->space)
                  : IS("resourceVersion") ? scan_text_to(json, ret->version, sizeof ret->version)
                                          : scan_skip(json);
        if (!ok)
            return false;
        if (!first && IS("managedFields")) {
            ret->cut_from = (size_t)(comma - from);
            ret->cut_bytes = (size_t)(json->at - comma);
        }
    }
}

/* As far as its metadata; of an event the object's. */
static bool take_head(Scan *json, const char *from, ObjectHead *ret)
{
    const char *name;
    size_t bytes;
    bool end, first = true;
    if (!scan_expect(json, '{'))
        return false;
    while (scan_member(json, first, &name, &bytes, &end) && !end) {
        if (IS("metadata"))
            return take_metadata(json, from, ret);
        first = IS("object") && scan_peek(json) == '{'; /* its members from here on */
        bool ok = first        ? scan_is(json, '{')
                  : IS("type") ? scan_text_to(json, ret->type, sizeof ret->type)
                               : scan_skip(json);
        if (!ok)
            return false;
    }
    return false;
}

bool object_head(const char *text, size_t bytes, ObjectHead *ret)
{
    Scan json = {.at = text, .end = text + bytes};
    *ret = (ObjectHead){0};
    bool ok = take_head(&json, text, ret) && ret->name[0];
    bytes_done(&json.scratch);
    if (!ok)
        *ret = (ObjectHead){0};
    return ok;
}

/* The API server takes what jansson does not read: NULs in texts, and thousands of values in one
 * another. Then this makes it readable, in place: U+FFFD stands for a NUL, and 0 for what lies
 * deeper than anything that means something. */
static void soften(char *text, size_t bytes)
{
    unsigned depth = 0;
    bool quoted = false, deep = false;
    for (size_t i = 0; i < bytes; i++) {
        bool opens = !quoted && (text[i] == '{' || text[i] == '[');
        bool closes = !quoted && (text[i] == '}' || text[i] == ']');
        depth += opens;
        deep = depth > DEPTH_MAX;
        if (text[i] == '"')
            quoted = !quoted;
        else if (quoted && text[i] == '\\' && i + 1 < bytes) {
            if (!deep && bytes - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
                memcpy(text + i, "\\ufffd", 6);
            if (deep)
                text[i] = ' ';
            i++; /* what is escaped ends no text */
        }
        if (deep)
            text[i] = opens && depth == DEPTH_MAX + 1 ? '0' : ' ';
        depth -= closes && depth;
    }
}

json_t *object_read(char *text, size_t bytes, const ObjectHead *head)
{
    size_t end = head->cut_from + head->cut_bytes;
    memmove(text + head->cut_from, text + end, bytes - end);
    bytes -= head->cut_bytes;
    json_t *object = json_loadb(text, bytes, 0, NULL);
    if (object)
        return object;
    soften(text, bytes);
    return json_loadb(text, bytes, 0, NULL);
}

/* Goes to the value of the member; false: there is none. */
static bool enter(Scan *json, const char *member)
{
    const char *name;
    size_t bytes, wanted = strlen(member);
    bool end;
    if (!scan_is(json, '{'))
        return false;
    for (bool first = true; scan_member(json, first, &name, &bytes, &end) && !end; first = false)
        if (bytes == wanted && memcmp(name, member, bytes) == 0)
            return true;
        else if (!scan_skip(json))
            return false;
    return false;
}

bool object_replace(char **text, const char *const *path, const char *by)
{
    Scan json = {.at = *text, .end = *text + strlen(*text)};
    bool found = true;
    for (size_t i = 0; found && path[i]; i++)
        found = enter(&json, path[i]);
    int before = (int)(json.at - *text);
    found = found && scan_skip(&json);
    if (found) {
        char *other = mem_format("%.*s%s%s", before, *text, by, json.at);
        free(*text);
        *text = other;
    }
    bytes_done(&json.scratch);
    return found;
}
