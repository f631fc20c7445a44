#include "agent/event/select.h"

#include <string.h>

void selection_done(Selection *selection)
{
    for (size_t i = 0; i < selection->event_count; i++)
        free(selection->events[i]);
    free(selection->events);
    free(selection->event_field);
    *selection = (Selection){0};
}

void selection_init(Selection *selection, const EventOptions *options)
{
    *selection = (Selection){
        .routes = options->routes, .route_count = options->route_count, .route = options->route};
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
