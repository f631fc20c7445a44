#include "agent/event/key.h"

#include <string.h>

#include "common/json/scan.h"
#include "common/mem.h"

void key_add(char **keys, size_t *count, const char *name, size_t bytes)
{
    if (*count < KEYS_MAX)
        keys[(*count)++] = mem_strndup(name, bytes);
}

/* A field of the key, and its value is next. */
typedef void FieldTaker(void *context, const char *name, size_t bytes);
/* What was taken was no key's: {"schema": …, "payload": {  */
typedef void FieldDropper(void *context);

/* False: it is no object, as far as it was read. */
static bool read_fields(const EventRecord *record, FieldTaker *take, FieldDropper *drop,
                        void *context)
{
    Scan json = {.at = (const char *)record->key,
                 .end = (const char *)record->key + record->key_bytes};
    const char *name;
    size_t bytes;
    bool end = false, first = true, read = record->key && scan_is(&json, '{');
    while (read && (read = scan_member(&json, first, &name, &bytes, &end)) && !end) {
        first = bytes == 7 && memcmp(name, "payload", 7) == 0 && scan_is(&json, '{');
        if (first) {
            drop(context);
            continue;
        }
        take(context, name, bytes);
        read = scan_skip(&json);
    }
    bytes_done(&json.scratch);
    return read;
}

/* --- their names --- */

typedef struct Names {
    char **keys;
    size_t *count;
} Names;

static void take_name(void *context, const char *name, size_t bytes)
{
    const Names *names = context;
    key_add(names->keys, names->count, name, bytes);
}

static void drop_names(void *context)
{
    const Names *names = context;
    while (*names->count)
        free(names->keys[--*names->count]);
}

void key_names(const EventRecord *record, char **keys, size_t *count)
{
    Names names = {keys, count};
    (void)read_fields(record, take_name, drop_names, &names);
}

/* --- are they these --- */

typedef struct Match {
    char *const *keys;
    size_t count, found;
    uint64_t seen; /* bit per key */
    bool others;
} Match;

static void take_match(void *context, const char *name, size_t bytes)
{
    Match *match = context;
    for (size_t i = 0; i < match->count; i++)
        if (!(match->seen >> i & 1) && strlen(match->keys[i]) == bytes &&
            memcmp(match->keys[i], name, bytes) == 0) {
            match->seen |= UINT64_C(1) << i;
            match->found++;
            return;
        }
    match->others = true;
}

static void drop_match(void *context)
{
    Match *match = context;
    *match = (Match){.keys = match->keys, .count = match->count};
}

bool key_is_of(const EventRecord *record, char *const *keys, size_t count)
{
    Match match = {.keys = keys, .count = count};
    return read_fields(record, take_match, drop_match, &match) && match.found == count &&
           !match.others;
}
