/* The annotation firn.dev/resnapshot: "TABLES [ID [BY]]", words with blanks between. TABLES are
 * patterns with commas between, ID is anything new, which is done once, BY says who asked. Without
 * an ID the tables stand for it: then the same ones can't be asked for twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/manifest/checks.h"
#include "common/manifest/manifest.h"
#include "common/mem.h"

#define BLANKS " \t\r\n"
#define TABLES_MAX 1000

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

static bool bad(Error *err, const char *what, const char *text)
{
    return error_set(err, ERROR_CONFIG, "BadRequest",
                     "%s \"%.200s\": write %s as TABLES [ID [BY]], such as "
                     "\"public.orders,public.order_* 2026-11-22\"",
                     what, text, ANNOTATION_RESNAPSHOT);
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
            return bad(err, "there is no table", one);
        ret->tables.texts =
            mem_regrow(ret->tables.texts, ret->tables.count + 1, sizeof *ret->tables.texts);
        ret->tables.texts[ret->tables.count++] = mem_strdup(one);
    }
    return true;
}

static void id_of_tables(const char *tables, char ret[COPY_REQUEST_BYTES])
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *tables; tables++)
        hash = (hash ^ (uint8_t)*tables) * UINT64_C(0x100000001b3);
    snprintf(ret, COPY_REQUEST_BYTES, "%016llx", (unsigned long long)hash);
}

bool copy_request_parse(const char *text, CopyRequest *ret, Error *err)
{
    *ret = (CopyRequest){0};
    const char *at = text + strspn(text, BLANKS);
    size_t bytes = strcspn(at, BLANKS);
    AUTO(mem_free) char *tables = mem_strndup(at, bytes);
    char id[COPY_REQUEST_BYTES];
    at += bytes;
    if (!take_word(&at, id, sizeof id))
        return bad(err, "too long, or not of plain letters, is the id of", text);
    if (!take_word(&at, ret->by, sizeof ret->by))
        return bad(err, "too long, or not of plain letters, is who asked in", text);
    if (at[strspn(at, BLANKS)])
        return bad(err, "there are more words than three in", text);
    if (!id[0])
        id_of_tables(tables, id);
    ret->id = mem_strdup(id);
    if (take_tables(tables, ret, err))
        return true;
    copy_request_done(ret);
    return false;
}

bool copy_request_names(const CopyRequest *request, const char *table_name)
{
    for (size_t i = 0; i < request->tables.count; i++)
        if (manifest_pattern_matches(request->tables.texts[i], table_name))
            return true;
    return false;
}
