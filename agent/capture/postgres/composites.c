#include "agent/capture/postgres/composites.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/capture/postgres/match.h"
#include "common/mem.h"
#include "common/reader.h"

#define ATTRIBUTES_MAX 1664 /* PostgreSQL's limit is 1600 */
#define DIMENSIONS_MAX 6
#define OID_TEXT_BYTES 12

/* ---------- what a value has ---------- */
void composite_seen_done(CompositeSeen *seen)
{
    free(seen->oids);
    *seen = (CompositeSeen){0};
}

static bool find_in_array(const PgDecoder *decoder, Reader in, CompositeSeen *ret)
{
    uint32_t dimensions, word, size, length;
    uint64_t elements = 1;
    if (!reader_u32be(&in, &dimensions) || !reader_u32be(&in, &word) || !reader_u32be(&in, &word) ||
        dimensions > DIMENSIONS_MAX)
        return false;
    for (uint32_t i = 0; i < dimensions; i++) {
        if (!reader_u32be(&in, &size) || !reader_u32be(&in, &word) || size > reader_left(&in))
            return false;
        elements *= size;
        if (elements > reader_left(&in))
            return false;
    }
    for (uint64_t i = 0; dimensions && i < elements; i++) {
        const uint8_t *at;
        if (!reader_u32be(&in, &length))
            return false;
        if (length == UINT32_MAX)
            continue;
        if (!reader_take(&in, length, &at))
            return false;
        if (composite_find_other(&decoder->children[0], at, length, ret))
            return true;
    }
    return false;
}

/* The next child that values have, from `at` on. */
static uint32_t next_there(const PgDecoder *decoder, uint32_t at)
{
    while (at < decoder->child_count && decoder->children[at].gone)
        at++;
    return at;
}

static bool find_in_composite(const PgDecoder *decoder, Reader in, CompositeSeen *ret)
{
    uint32_t count, length = 0;
    if (!reader_u32be(&in, &count) || count > ATTRIBUTES_MAX || count > reader_left(&in) / 8)
        return false;
    CompositeSeen seen = {
        .oid = decoder->base_oid, .oids = mem_array(count, sizeof *seen.oids), .count = count};
    const uint8_t **values = mem_array(count, sizeof *values);
    uint32_t *lengths = mem_array(count, sizeof *lengths);
    bool whole = true, same = true, found = false;
    uint32_t child = 0;
    for (uint32_t i = 0; i < count && whole; i++, child++) {
        whole = reader_u32be(&in, &seen.oids[i]) && reader_u32be(&in, &length);
        lengths[i] = length;
        if (whole && length != UINT32_MAX)
            whole = reader_take(&in, length, &values[i]);
        child = next_there(decoder, child);
        same = same && child < decoder->child_count &&
               decoder->children[child].type_oid == seen.oids[i];
    }
    same = same && next_there(decoder, child) == decoder->child_count;
    child = 0;
    for (uint32_t i = 0; whole && same && i < count && !found; i++, child++) {
        child = next_there(decoder, child);
        found = values[i] &&
                composite_find_other(&decoder->children[child], values[i], lengths[i], ret);
    }
    free(values);
    free(lengths);
    if (whole && !same) {
        *ret = seen;
        return true;
    }
    composite_seen_done(&seen);
    return found;
}

bool composite_find_other(const PgDecoder *decoder, const uint8_t *value, uint32_t bytes,
                          CompositeSeen *ret)
{
    switch (decoder->form) {
    case FORM_PRINTED:
        return composite_find_other(&decoder->children[0], value, bytes, ret);
    case FORM_ARRAY:
        return find_in_array(decoder, reader_over(value, bytes), ret);
    case FORM_COMPOSITE:
        return find_in_composite(decoder, reader_over(value, bytes), ret);
    default:
        return false;
    }
}

/* ---------- sets of them ---------- */
bool composites_in(const PgDecoder *decoder)
{
    if (decoder->form == FORM_COMPOSITE)
        return true;
    for (uint32_t i = 0; i < decoder->child_count; i++)
        if (composites_in(&decoder->children[i]))
            return true;
    return false;
}

static void copy_attributes(PgType *to, const PgType *from, bool with_dropped)
{
    to->attributes = mem_array(from->attribute_count, sizeof *to->attributes);
    to->attribute_count = 0;
    to->last_number = from->last_number;
    for (uint32_t i = 0; i < from->attribute_count; i++) {
        if (from->attributes[i].dropped && !with_dropped)
            continue;
        PgAttribute *attribute = &to->attributes[to->attribute_count++];
        *attribute = from->attributes[i];
        attribute->name = mem_strdup(attribute->name);
    }
}

static void add_type(PgTypes *ret, const PgType *type)
{
    size_t at = 0;
    while (at < ret->count && ret->types[at].oid < type->oid)
        at++;
    if (at < ret->count && ret->types[at].oid == type->oid)
        return;
    ret->types = mem_regrow(ret->types, ret->count + 1, sizeof *ret->types);
    memmove(&ret->types[at + 1], &ret->types[at], (ret->count++ - at) * sizeof *ret->types);
    PgType *to = &ret->types[at];
    *to = (PgType){.oid = type->oid, .typtype = 'c'};
    copy_attributes(to, type, false);
}

void composites_add(PgTypes *ret, const PgTypes *types, const PgDecoder *decoder)
{
    if (decoder->form == FORM_COMPOSITE) {
        const PgType *type = types_find(types, decoder->base_oid);
        if (type)
            add_type(ret, type);
    }
    for (uint32_t i = 0; i < decoder->child_count; i++)
        composites_add(ret, types, &decoder->children[i]);
}

void composites_put(PgTypes *types, const PgTypes *known)
{
    for (size_t i = 0; i < types->count; i++) {
        const PgType *from = types_find(known, types->types[i].oid);
        if (!from)
            continue;
        type_attributes_free(&types->types[i]);
        copy_attributes(&types->types[i], from, false);
    }
}

/* ---------- which attribute is which ---------- */
typedef struct Candidates {
    MatchColumn *columns;
    PgAttribute *attributes; /* names are not theirs */
    uint32_t count;
    char (*texts)[OID_TEXT_BYTES]; /* of the types' oids, which stand for names */
} Candidates;

static void candidates_done(Candidates *candidates)
{
    free(candidates->columns);
    free(candidates->attributes);
    free(candidates->texts);
}

static const PgAttribute *find_number(const PgType *type, int32_t number)
{
    for (uint32_t i = 0; type && i < type->attribute_count; i++)
        if (type->attributes[i].number == number)
            return &type->attributes[i];
    return NULL;
}

static void add(Candidates *to, const PgAttribute *attribute, bool before, bool now)
{
    char *text = to->texts[to->count];
    snprintf(text, sizeof *to->texts, "%u", attribute->oid);
    to->attributes[to->count] = *attribute;
    to->columns[to->count++] = (MatchColumn){.number = attribute->number,
                                             .before = before ? text : NULL,
                                             .now = now ? text : NULL,
                                             .layout = attribute->layout};
}

/* By number. strictly: what values have and the catalog has still must be there, what they no
 * longer have can't come again. Else all can: that is so of a type that was found in the catalog
 * before the log came to it, and of values fetched from the source, which are ahead of the log. */
static Candidates list(const PgType *known, const PgType *now, bool strictly)
{
    uint32_t most = known->attribute_count + (now ? now->attribute_count : 0);
    Candidates ret = {.columns = mem_array(most, sizeof *ret.columns),
                      .attributes = mem_array(most, sizeof *ret.attributes),
                      .texts = mem_array(most, sizeof *ret.texts)};
    int32_t last = 0;
    for (uint32_t i = 0; i < known->attribute_count; i++)
        if (known->attributes[i].number > last)
            last = known->attributes[i].number;
    if (known->last_number > last)
        last = known->last_number;
    uint32_t at = 0;
    for (int32_t number = 1; number <= last; number++) {
        const PgAttribute *there = find_number(now, number);
        while (at < known->attribute_count && known->attributes[at].number < number)
            at++;
        bool is_known = at < known->attribute_count && known->attributes[at].number == number;
        bool live = there && !there->dropped;
        if (is_known && !(strictly && known->attributes[at].gone))
            add(&ret, &known->attributes[at], strictly || !live, live);
        else if (!is_known && !strictly && there)
            add(&ret, there, false, live);
    }
    for (uint32_t i = 0; now && i < now->attribute_count; i++)
        if (now->attributes[i].number > last)
            add(&ret, &now->attributes[i], false, !now->attributes[i].dropped);
    return ret;
}

static MatchResult try(const Candidates *candidates, const PgTypes *types, const uint32_t *oids,
                       uint32_t count, uint32_t *place)
{
    AUTO(mem_free) uint32_t *layouts = mem_array(count, sizeof *layouts);
    char(*texts)[OID_TEXT_BYTES] = mem_array(count, sizeof *texts);
    const char **names = mem_array(count, sizeof *names);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%u", oids[i]);
        names[i] = texts[i];
        const PgType *type = types_find(types, oids[i]);
        layouts[i] = type ? type->layout : 0;
    }
    MatchResult result =
        match_exactly(candidates->columns, candidates->count, names, layouts, count, place);
    free(names);
    free(texts);
    return result;
}

typedef struct Take {
    PgType *known;
    const PgType *now;
    const Candidates *candidates;
    const uint32_t *oids; /* of the values, and the candidate that each one is */
    const uint32_t *place;
    uint32_t count;
    bool forgets;
} Take;

/* An attribute as it is from here on; false: it leaves the list. from_known: or it came. */
static bool take_one(const Take *take, const PgAttribute *from, bool from_known, PgAttribute *ret,
                     bool *changed)
{
    uint32_t at = 0;
    while (at < take->count && take->candidates->attributes[take->place[at]].number != from->number)
        at++;
    bool is_there = at < take->count;
    const PgAttribute *now = find_number(take->now, from->number);
    bool is_live = now && !now->dropped;
    if (!is_there && (!from_known || (take->forgets && take->count && !is_live))) {
        *changed |= from_known;
        return false;
    }
    *ret = *from;
    ret->gone = !is_there;
    ret->dropped = false;
    if (is_live)
        ret->name = mem_strdup(now->name);
    else if (from_known)
        ret->name = mem_strdup(from->name);
    else
        ret->name = mem_format("attribute_%" PRId32, from->number); /* nobody knows it any more */
    if (!from_known) {
        ret->oid = take->oids[at];
        ret->typmod = is_live ? from->typmod : -1;
    }
    *changed |= !from_known || from->gone != ret->gone || strcmp(ret->name, from->name) != 0;
    return true;
}

/* The known ones in their order, with those that have come: is that another list? */
static bool take(const Take *how)
{
    PgType *known = how->known;
    const Candidates *candidates = how->candidates;
    PgAttribute *next = mem_array(known->attribute_count + candidates->count, sizeof *next);
    uint32_t count = 0;
    bool changed = false;
    for (uint32_t c = 0, k = 0; c < candidates->count || k < known->attribute_count;) {
        bool from_known = k < known->attribute_count &&
                          (c == candidates->count ||
                           known->attributes[k].number <= candidates->attributes[c].number);
        const PgAttribute *one = from_known ? &known->attributes[k++] : &candidates->attributes[c];
        c += c < candidates->count && candidates->attributes[c].number == one->number;
        if (!take_one(how, one, from_known, &next[count], &changed))
            continue;
        if (!next[count].gone && one->number > known->last_number)
            known->last_number = one->number;
        count++;
    }
    type_attributes_free(known);
    known->attributes = next;
    known->attribute_count = count;
    return changed;
}

CompositeMatch composite_match(PgType *known, const PgTypes *types, const uint32_t *oids,
                               uint32_t count, bool forgets)
{
    const PgType *now = types_find(types, known->oid);
    AUTO(mem_free) uint32_t *place = mem_array(count, sizeof *place);
    MatchResult result = MATCH_NONE;
    Candidates candidates = {0};
    for (int strictly = 1; strictly >= 0 && result == MATCH_NONE; strictly--) {
        candidates_done(&candidates);
        candidates = list(known, now, strictly);
        result = try(&candidates, types, oids, count, place);
    }
    CompositeMatch ret = result == MATCH_SEVERAL ? COMPOSITE_SEVERAL : COMPOSITE_NONE;
    Take how = {known, now, &candidates, oids, place, count, forgets};
    if (result == MATCH_ONE)
        ret = take(&how) ? COMPOSITE_CHANGED : COMPOSITE_SAME;
    candidates_done(&candidates);
    return ret;
}

CompositeMatch composite_check(PgType *known, const PgTypes *types)
{
    const PgType *now = types_find(types, known->oid);
    AUTO(mem_free) uint32_t *oids = mem_array(known->attribute_count, sizeof *oids);
    AUTO(mem_free) uint32_t *place = mem_array(known->attribute_count, sizeof *place);
    uint32_t count = 0;
    for (uint32_t i = 0; i < known->attribute_count; i++)
        if (!known->attributes[i].gone)
            oids[count++] = known->attributes[i].oid;
    Candidates candidates = list(known, now, true);
    MatchResult result = try(&candidates, types, oids, count, place);
    candidates_done(&candidates);
    if (result != MATCH_ONE)
        return result == MATCH_NONE ? COMPOSITE_NONE : COMPOSITE_SEVERAL;
    CompositeMatch ret = COMPOSITE_SAME;
    for (uint32_t i = 0; i < known->attribute_count; i++) {
        PgAttribute *attribute = &known->attributes[i];
        const PgAttribute *live = find_number(now, attribute->number);
        if (!live || live->dropped || strcmp(live->name, attribute->name) == 0)
            continue;
        free(attribute->name);
        attribute->name = mem_strdup(live->name);
        ret = COMPOSITE_CHANGED;
    }
    return ret;
}

/* ---------- beside the table ---------- */
json_t *composites_to_json(const PgTypes *known)
{
    json_t *types = json_array();
    for (size_t i = 0; i < known->count; i++) {
        const PgType *type = &known->types[i];
        json_t *attributes = json_array();
        for (uint32_t k = 0; k < type->attribute_count; k++) {
            const PgAttribute *attribute = &type->attributes[k];
            json_array_append_new(attributes, json_pack("[i,s,I,i,b]", attribute->number,
                                                        attribute->name, (json_int_t)attribute->oid,
                                                        attribute->typmod, attribute->gone));
        }
        json_array_append_new(
            types, json_pack("[I,i,o]", (json_int_t)type->oid, type->last_number, attributes));
    }
    return types;
}

static bool attribute_from_json(json_t *json, PgAttribute *ret)
{
    json_int_t oid;
    const char *name;
    int gone;
    if (json_unpack(json, "[i,s,I,i,b]", &ret->number, &name, &oid, &ret->typmod, &gone) != 0)
        return false;
    ret->name = mem_strdup(name);
    ret->oid = (uint32_t)oid;
    ret->gone = gone;
    return true;
}

bool composites_from_json(const json_t *json, PgTypes *ret)
{
    *ret = (PgTypes){.types = mem_array(json_array_size(json), sizeof *ret->types)};
    uint32_t before = 0;
    for (size_t i = 0; i < json_array_size(json); i++) {
        PgType *type = &ret->types[ret->count++];
        json_t *attributes;
        json_int_t oid;
        *type = (PgType){.typtype = 'c'};
        if (json_unpack(json_array_get(json, i), "[I,i,o]", &oid, &type->last_number,
                        &attributes) != 0 ||
            (uint32_t)oid <= before)
            return false;
        before = type->oid = (uint32_t)oid;
        type->attributes = mem_array(json_array_size(attributes), sizeof *type->attributes);
        for (size_t k = 0; k < json_array_size(attributes); k++)
            if (!attribute_from_json(json_array_get(attributes, k),
                                     &type->attributes[type->attribute_count++]))
                return false;
    }
    return true;
}
