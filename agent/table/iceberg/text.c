/* metadata.json as text. Snapshots and the logs are long arrays of which a commit changes a few
 * entries, of schemas and properties mostly nothing; what did not change is shared between the old
 * metadata and the new (apply.c), so that a member or an entry at the same address says the same,
 * and its text is copied from the text of before. What is left
 * of a commit's cost per snapshot is a comparison of addresses and a memcpy. */
#include <string.h>

#include "agent/table/iceberg/state.h"
#include "common/mem.h"

static const char *const kept[TEXT_ARRAYS] = {"snapshots", "snapshot-log", "metadata-log",
                                              "statistics", "partition-statistics"};

static int put(const char *text, size_t bytes, void *to)
{
    bytes_put(to, text, bytes);
    return 0;
}

static void dump(const json_t *json, Bytes *to)
{
    int failed = json_dump_callback(json, put, to, JSON_COMPACT | JSON_ENCODE_ANY);
    ASSERT(!failed);
}

static void put_key(const char *key, Bytes *to)
{
    json_t *name = json_string(key);
    dump(name, to);
    json_decref(name);
}

static size_t start_of(const TextArray *array, size_t at)
{
    return at ? array->ends[at - 1] + 1 : array->start;
}

/* A run of entries that stand side by side in the old array, too, is copied as one. */
static size_t copy_run(MetadataText *to, TextArray *array, size_t i, const MetadataText *known,
                       const TextArray *old, size_t j)
{
    size_t run = 0, from = start_of(old, j), into = to->text.used;
    while (i + run < array->count && j + run < old->count &&
           json_array_get(array->array, i + run) == json_array_get(old->array, j + run)) {
        array->ends[i + run] = old->ends[j + run] - from + into;
        run++;
    }
    bytes_put(&to->text, known->text.data + from, old->ends[j + run - 1] - from);
    return run;
}

static void put_array(MetadataText *to, TextArray *array, json_t *json, const MetadataText *known,
                      const TextArray *old)
{
    size_t count = json_array_size(json), j = 0;
    bytes_put_u8(&to->text, '[');
    *array = (TextArray){.array = json_incref(json), .count = count, .start = to->text.used};
    array->ends = mem_array(count + 1, sizeof *array->ends);
    for (size_t i = 0; i < count;) {
        if (i)
            bytes_put_u8(&to->text, ',');
        size_t at = j;
        while (old && at < old->count && json_array_get(old->array, at) != json_array_get(json, i))
            at++;
        if (old && at < old->count) {
            size_t run = copy_run(to, array, i, known, old, at);
            i += run;
            j = at + run;
        } else {
            dump(json_array_get(json, i), &to->text);
            array->ends[i++] = to->text.used;
        }
    }
    bytes_put_u8(&to->text, ']');
}

static void put_member(MetadataText *to, TextMember *member, json_t *value,
                       const MetadataText *known)
{
    *member = (TextMember){.value = json_incref(value), .start = to->text.used};
    const TextMember *same = NULL;
    for (size_t m = 0; m < known->member_count && !same; m++)
        if (known->members[m].value == value)
            same = &known->members[m];
    if (same)
        bytes_put(&to->text, known->text.data + same->start, same->bytes);
    else
        dump(value, &to->text);
    member->bytes = to->text.used - member->start;
}

void metadata_text_init(MetadataText *to, json_t *metadata, const MetadataText *known)
{
    const char *key;
    json_t *value;
    *to = (MetadataText){0};
    bytes_reserve(&to->text, known->text.used + 8192);
    to->members = mem_array(json_object_size(metadata), sizeof *to->members);
    json_object_foreach(metadata, key, value)
    {
        size_t a = 0;
        bytes_put_u8(&to->text, to->text.used ? ',' : '{');
        put_key(key, &to->text);
        bytes_put_u8(&to->text, ':');
        while (a < TEXT_ARRAYS && strcmp(kept[a], key) != 0)
            a++;
        if (a < TEXT_ARRAYS && json_is_array(value))
            put_array(to, &to->arrays[a], value, known,
                      known->arrays[a].array ? &known->arrays[a] : NULL);
        else
            put_member(to, &to->members[to->member_count++], value, known);
    }
    bytes_put_u8(&to->text, '}');
}

void metadata_text_done(MetadataText *text)
{
    for (size_t a = 0; a < TEXT_ARRAYS; a++) {
        json_decref(text->arrays[a].array);
        free(text->arrays[a].ends);
    }
    for (size_t m = 0; m < text->member_count; m++)
        json_decref(text->members[m].value);
    free(text->members);
    bytes_done(&text->text);
    *text = (MetadataText){0};
}
