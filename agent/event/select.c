#include "agent/event/select.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void selection_done(Selection *selection)
{
    for (size_t i = 0; i < selection->event_count; i++)
        free(selection->events[i]);
    free(selection->events);
    free(selection->event_field);
    free(selection->columns);
    *selection = (Selection){0};
}

void selection_init(Selection *selection, const EventOptions *options)
{
    *selection = (Selection){.routes = options->routes,
                             .route_count = options->route_count,
                             .route = options->route,
                             .upserts = options->upserts,
                             .some_upserts = options->some_upserts};
    if (!options->event_field)
        return;
    selection->event_field = mem_strdup(options->event_field);
    selection->events = mem_array(options->event_count + 1, sizeof *selection->events);
    for (size_t i = 0; i < options->event_count; i++)
        selection->events[selection->event_count++] = mem_strdup(options->events[i]);
}

/* The first member of that name; *ret_there false: there is none. False: it is no JSON as far as
 * there. */
static bool find_member(Scan *json, const char *field, bool *ret_there)
{
    const char *name;
    size_t bytes, wanted = strlen(field);
    bool end = false;
    *ret_there = false;
    if (!scan_expect(json, '{'))
        return false;
    for (bool first = true;; first = false) {
        if (!scan_member(json, first, &name, &bytes, &end))
            return false;
        if (end)
            return true;
        if (bytes == wanted && memcmp(name, field, bytes) == 0) {
            *ret_there = true;
            return true;
        }
        if (!scan_skip(json))
            return false;
    }
}

/* Is the record's event one of those that are taken? False: it does not say which it is. */
static bool look_for_event(const Selection *selection, Decode *decode, Scan *json, bool *ret)
{
    const char *text;
    size_t bytes;
    bool there;
    *ret = false;
    if (!find_member(json, selection->event_field, &there))
        return false;
    if (!there || scan_peek(json) != '"')
        return decode_bad(decode, "has no text in the field of the event's name");
    if (!scan_text(json, &text, &bytes))
        return false;
    for (size_t i = 0; i < selection->event_count && !*ret; i++)
        *ret =
            strlen(selection->events[i]) == bytes && memcmp(selection->events[i], text, bytes) == 0;
    return true;
}

/* As a condition compares it; NULL: no value. */
static bool find_value(Scan *json, const char *field, const char **ret, size_t *ret_bytes)
{
    bool there;
    *ret = NULL;
    if (!find_member(json, field, &there))
        return false;
    char first = there ? scan_peek(json) : 'n';
    if (first == '"')
        return scan_text(json, ret, ret_bytes);
    if (first == 'n' || first == '{' || first == '[')
        return true;
    const char *from = json->at;
    if (!scan_skip(json))
        return false;
    *ret = from;
    *ret_bytes = (size_t)(json->at - from);
    return true;
}

/* Whose it is; route_count: nobody's. False: it can't be told. */
static bool find_route(const Selection *selection, Scan *json, const char *from, size_t *ret)
{
    const char *field = NULL, *value = NULL;
    size_t bytes = 0;
    for (*ret = 0; *ret < selection->route_count; (*ret)++) {
        const EventRoute *route = &selection->routes[*ret];
        if (route->always)
            return true;
        if (!field || strcmp(field, route->when.field) != 0) {
            field = route->when.field;
            json->at = from;
            if (!find_value(json, field, &value, &bytes))
                return false;
        }
        if (value && condition_holds(&route->when, value, bytes))
            return true;
    }
    return true;
}

Selected selection_look(const Selection *selection, Decode *decode, Scan *json)
{
    const char *from = json->at;
    bool taken = true, told = true, speaks = selection->route == 0;
    size_t route = 0;
    if (selection->event_field)
        told = look_for_event(selection, decode, json, &taken);
    if (told && taken && selection->route_count)
        told = find_route(selection, json, from, &route);
    json->at = from;
    if (!told)
        return speaks ? SELECTED_BAD : SELECTED_PASSED;
    if (!taken)
        return SELECTED_PASSED;
    if (selection->route_count && route == selection->route_count)
        return speaks ? SELECTED_UNROUTED : SELECTED_PASSED;
    return route == selection->route ? SELECTED_TAKEN : SELECTED_PASSED;
}

/* ---------- by the row ---------- */
bool event_can_route(const Type *type)
{
    return type->kind == TYPE_STRING || type->kind == TYPE_BOOL || type->kind == TYPE_INT32 ||
           type->kind == TYPE_INT64;
}

void selection_target(Selection *selection, const Schema *target)
{
    if (!selection->route_count)
        return;
    selection->columns =
        mem_regrow(selection->columns, selection->route_count, sizeof *selection->columns);
    for (size_t i = 0; i < selection->route_count; i++) {
        const EventRoute *route = &selection->routes[i];
        int at = route->always ? -1 : schema_find(target, route->when.field);
        bool tells = at >= 0 && event_can_route(&target->fields[at].type);
        selection->columns[i] = tells ? (uint32_t)at : COLUMN_NONE;
    }
}

/* As a condition compares it; NULL: no value. */
static const char *text_of(const Column *column, uint32_t row, char hold[32], size_t *ret_bytes)
{
    uint32_t bytes;
    if (column_is_null(column, row))
        return NULL;
    if (column->offsets) {
        const uint8_t *at = column_bytes(column, row, &bytes);
        *ret_bytes = bytes;
        return (const char *)at;
    }
    if (column->field->type.kind == TYPE_BOOL)
        snprintf(hold, 32, "%s", bit_get(column->values, row) ? "true" : "false");
    else
        snprintf(hold, 32, "%" PRId64,
                 column->width == 8 ? column_i64(column, row) : column_i32(column, row));
    *ret_bytes = strlen(hold);
    return hold;
}

/* Whose the row is; route_count: nobody's. False: it can't be told. */
static bool find_row_route(const Selection *selection, Decode *decode, size_t *ret)
{
    const Batch *batch = decode->batch;
    uint32_t row = batch->row_count - 1;
    char hold[32];
    for (*ret = 0; *ret < selection->route_count; (*ret)++) {
        const EventRoute *route = &selection->routes[*ret];
        uint32_t at = selection->columns[*ret];
        if (route->always)
            return true;
        if (at == COLUMN_NONE)
            continue;
        size_t bytes = 0;
        const Column *column = &batch->columns[at];
        if (column_is_unchanged(column, row))
            return decode_bad(decode, "is an update that leaves out the field of a route");
        const char *text = text_of(column, row, hold, &bytes);
        if (text && condition_holds(&route->when, text, bytes))
            return true;
    }
    return true;
}

/* What a deletion says of its row beside the key may be left out, or made up. */
Selected selection_judge(const Selection *selection, Decode *decode, bool in_envelope)
{
    uint8_t *op = &decode->batch->ops[decode->batch->row_count - 1];
    bool speaks = selection->route == 0;
    size_t route;
    if (*op == ROW_DELETE && selection->upserts)
        return SELECTED_TAKEN;
    decode->field = NULL;
    if (!find_row_route(selection, decode, &route))
        return speaks ? SELECTED_BAD : SELECTED_PASSED;
    if (route == selection->route)
        return SELECTED_TAKEN;
    bool deletes = *op == ROW_DELETE;
    bool nobodys = speaks && route == selection->route_count;
    if (in_envelope && selection->upserts && *op != ROW_INSERT) { /* it may have been here before */
        *op = ROW_DELETE;
        return nobodys ? SELECTED_GONE : SELECTED_TAKEN;
    }
    return nobodys && !(deletes && selection->some_upserts) ? SELECTED_UNROUTED : SELECTED_PASSED;
}
