/* Annotations that ask for something once: "WHAT [ID [BY]]", words with blanks between. ID is
 * anything new, which is done once, BY says who asked. Without an ID what is asked for stands for
 * it: then the same can't be asked for twice. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/manifest/checks.h"
#include "common/manifest/manifest.h"
#include "common/mem.h"
#include "common/text.h"

#define BLANKS " \t\r\n"
#define TABLES_MAX 1000
#define OFFSETS_MAX 4096

void copy_request_done(CopyRequest *request)
{
    for (size_t i = 0; i < request->tables.count; i++)
        free(request->tables.texts[i]);
    free(request->tables.texts);
    free(request->id);
    *request = (CopyRequest){0};
}

void copy_request_of(CopyRequest *ret, const char *id, const TextList *tables)
{
    *ret = (CopyRequest){0};
    if (!id)
        return;
    ret->id = mem_strdup(id);
    ret->tables.texts = mem_array(tables->count + 1, sizeof *ret->tables.texts);
    for (; ret->tables.count < tables->count; ret->tables.count++)
        ret->tables.texts[ret->tables.count] = mem_strdup(tables->texts[ret->tables.count]);
}

typedef struct Form {
    const char *annotation, *what, *example;
} Form;
static const Form resnapshot_form = {ANNOTATION_RESNAPSHOT, "TABLES",
                                     "public.orders,public.order_* 2026-11-22"};
static const Form unit_forms[] = {
    [UNIT_POSITIONS] = {ANNOTATION_POSITIONS, "Earliest, Latest, a time or PARTITION:OFFSET,…",
                        "2026-11-22T00:00:00Z again-1"},
    [UNIT_ROLLBACK] = {ANNOTATION_ROLLBACK, "a time or a snapshot's id",
                       "2026-11-22T00:00:00Z again-1"},
};

static bool bad(Error *err, const Form *form, const char *what, const char *text)
{
    return error_set(err, ERROR_CONFIG, "BadRequest",
                     "%s \"%.200s\": write %s as %s [ID [BY]], such as \"%s\"", what, text,
                     form->annotation, form->what, form->example);
}

/* A word as a text of at most `bytes` with its end; false: it is longer, or not plain. */
static bool take_word(const char **at, char *to, size_t bytes)
{
    *at += strspn(*at, BLANKS);
    size_t length = strcspn(*at, BLANKS);
    if (length >= bytes)
        return false;
    for (size_t i = 0; i < length; i++)
        if ((*at)[i] < '!' || (*at)[i] > '~')
            return false;
    memcpy(to, *at, length);
    to[length] = '\0';
    *at += length;
    return true;
}

static bool take_tables(char *words, CopyRequest *ret, Error *err)
{
    char *rest = words;
    for (char *one; (one = strsep(&rest, ","));) {
        const char *wanted;
        if (!check_pattern(one, &wanted) || ret->tables.count == TABLES_MAX)
            return bad(err, &resnapshot_form, "there is no table", one);
        ret->tables.texts =
            mem_regrow(ret->tables.texts, ret->tables.count + 1, sizeof *ret->tables.texts);
        ret->tables.texts[ret->tables.count++] = mem_strdup(one);
    }
    return true;
}

static void id_of_what(const char *what, char ret[COPY_REQUEST_BYTES])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *what; what++)
        hash = (hash ^ (uint8_t)*what) * UINT64_C(0x100000001b3);
    snprintf(ret, COPY_REQUEST_BYTES, "%016llx", (unsigned long long)hash);
}

typedef struct Words {
    char *what; /* owned */
    char id[COPY_REQUEST_BYTES];
    char by[256];
} Words;

static bool take_words(const Form *form, const char *text, Words *ret, Error *err)
{
    const char *at = text + strspn(text, BLANKS);
    size_t bytes = strcspn(at, BLANKS);
    *ret = (Words){.what = mem_strndup(at, bytes)};
    at += bytes;
    if (!take_word(&at, ret->id, sizeof ret->id))
        return bad(err, form, "too long, or not of plain letters, is the id of", text);
    if (!take_word(&at, ret->by, sizeof ret->by))
        return bad(err, form, "too long, or not of plain letters, is who asked in", text);
    if (at[strspn(at, BLANKS)])
        return bad(err, form, "there are more words than three in", text);
    if (!ret->id[0])
        id_of_what(ret->what, ret->id);
    return true;
}

/* ---------- tables of a Connector ---------- */
bool copy_request_parse(const char *text, CopyRequest *ret, Error *err)
{
    Words words;
    *ret = (CopyRequest){0};
    bool good = take_words(&resnapshot_form, text, &words, err);
    if (good) {
        memcpy(ret->by, words.by, sizeof ret->by);
        ret->id = mem_strdup(words.id);
        good = take_tables(words.what, ret, err);
    }
    free(words.what);
    if (!good)
        copy_request_done(ret);
    return good;
}

bool copy_request_names(const CopyRequest *request, const char *table_name)
{
    return manifest_patterns_match(&request->tables, table_name);
}

/* ---------- a unit's table ---------- */
void unit_request_done(UnitRequest *request)
{
    free(request->offsets.items);
    free(request->target);
    *request = (UnitRequest){.at_ms = INT64_MIN};
}

/* A whole number, no sign before it, up to `end`. */
static bool take_number(const char **at, char end, int64_t most, int64_t *ret)
{
    char *after;
    errno = 0;
    if (**at < '0' || **at > '9')
        return false;
    *ret = strtoll(*at, &after, 10);
    if (errno || *after != end || *ret > most)
        return false;
    *at = *after ? after + 1 : after;
    return true;
}

static bool take_offset(const char *text, ReplayOffsets *to)
{
    int64_t partition, offset;
    if (!take_number(&text, ':', INT32_MAX, &partition) ||
        !take_number(&text, '\0', INT64_MAX, &offset) || to->count == OFFSETS_MAX)
        return false;
    for (size_t i = 0; i < to->count; i++)
        if (to->items[i].partition == (uint32_t)partition)
            return false;
    to->items = mem_regrow(to->items, to->count + 1, sizeof *to->items);
    to->items[to->count++] = (ReplayOffset){(uint32_t)partition, (uint64_t)offset};
    return true;
}

static bool take_offsets(const char *what, ReplayOffsets *to)
{
    AUTO(mem_free) char *copy = mem_strdup(what);
    char *rest = copy;
    for (char *one; (one = strsep(&rest, ","));)
        if (!take_offset(one, to))
            return false;
    return true;
}

static bool take_target(const char *what, UnitRequest *ret)
{
    if (text_time_parse(what, &ret->at_ms))
        return true;
    ret->at_ms = INT64_MIN;
    if (ret->kind == UNIT_ROLLBACK)
        return take_number(&what, '\0', INT64_MAX, &ret->snapshot) && ret->snapshot;
    ret->latest = strcmp(what, "Latest") == 0;
    return ret->latest || strcmp(what, "Earliest") == 0 || take_offsets(what, &ret->offsets);
}

bool unit_request_parse(UnitRequestKind kind, const char *text, UnitRequest *ret, Error *err)
{
    const Form *form = &unit_forms[kind];
    Words words;
    *ret = (UnitRequest){.kind = kind, .at_ms = INT64_MIN};
    bool good = take_words(form, text, &words, err);
    memcpy(ret->id, words.id, sizeof ret->id);
    memcpy(ret->by, words.by, sizeof ret->by);
    if (good && !take_target(words.what, ret))
        good = bad(err, form, "there is nowhere to go in", text);
    ret->target = words.what;
    if (!good)
        unit_request_done(ret);
    return good;
}
