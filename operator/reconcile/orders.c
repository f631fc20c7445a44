/* What is asked of a process while it runs, and what came of it. Of a Connector's: a pause, by
 * spec.state, and tables to be copied again; of a unit's own: a table that goes back to an older
 * snapshot, or on from other offsets. All but the pause is asked by annotations, each by an id,
 * once. Each request stands in status.requests, with who asked, from when to when, and what the
 * table went from and to: that is what survives a takeover, and what is not ended there is told to
 * whoever runs. */
#include <stdio.h>

#include "common/manifest/manifest.h"
#include "operator/reconcile/reconcile.h"

#define REQUESTS_MAX 10

typedef struct Asking {
    const char *kind; /* and the Event's reason */
    const char *annotation, *words;
    UnitRequestKind of_unit; /* UNIT_NOTHING: of a Connector */
} Asking;

/* One is done at a time, in this order. */
static const Asking askings[] = {
    {"Resnapshot", ANNOTATION_RESNAPSHOT, "copying again", UNIT_NOTHING},
    {"Rollback", ANNOTATION_ROLLBACK, "a rollback", UNIT_ROLLBACK},
    {"Positions", ANNOTATION_POSITIONS, "going on from other positions", UNIT_POSITIONS},
};

/* An annotation, read. */
typedef struct Asked {
    const Asking *asking;
    const char *text;
    char id[COPY_REQUEST_BYTES];
    char by[256];
    json_t *what;    /* tables, or the target; NULL: it can't be read */
    json_t *request; /* of the status */
    Error why;
} Asked;

static bool has_ended(const json_t *request)
{
    return json_object_get(request, "endedAt");
}

static void set_text(json_t *to, const char *member, const char *text)
{
    json_t *value = text && *text ? json_string(text) : NULL;
    if (value)
        json_object_set_new(to, member, value);
}

static const Asking *asking_of(const json_t *request)
{
    const char *kind = object_text(request, "kind");
    for (size_t i = 0; kind && i < ARRAY_LEN(askings); i++)
        if (strcmp(askings[i].kind, kind) == 0)
            return &askings[i];
    return &askings[0];
}

static void end_as(Look *look, const json_t *object, json_t *request, const char *state,
                   const char *message)
{
    char now[32];
    const Asking *asking = asking_of(request);
    const char *from = object_text(request, "from"), *to = object_text(request, "to");
    status_time(look->now_s, now);
    set_text(request, "state", state);
    set_text(request, "message", message);
    set_text(request, "endedAt", now);
    AUTO(mem_free)
    char *way = from && to ? mem_format(", from %s to %s", from, to) : mem_strdup("");
    AUTO(mem_free)
    char *text = mem_format("%s, as %s: %s%s%s%s", asking->words, object_text(request, "id"), state,
                            way, *message ? ": " : "", message);
    say_event(look->op, object, strcmp(state, "Refused") == 0, asking->kind, text);
}

static json_t *found_in(json_t *requests, const Asked *asked)
{
    size_t i;
    json_t *one;
    json_array_foreach(requests, i, one)
    {
        const char *known = object_text(one, "id");
        if (known && strcmp(known, asked->id) == 0 && asking_of(one) == asked->asking)
            return one;
    }
    return NULL;
}

/* The newest stands first. */
static json_t *add_request(Look *look, const json_t *object, json_t *requests, const Asked *asked)
{
    char now[32];
    status_time(look->now_s, now);
    json_t *request = json_pack("{ss ss ss ss}", "kind", asked->asking->kind, "id", asked->id,
                                "state", "Waiting", "askedAt", now);
    ASSERT(request);
    if (asked->what)
        json_object_set(request, asked->asking->of_unit ? "target" : "tables", asked->what);
    set_text(request, "by", asked->by);
    json_array_insert_new(requests, 0, request);
    AUTO(mem_free)
    char *text = mem_format("%s is asked for%s%s, as %s", asked->asking->words,
                            asked->by[0] ? " by " : "", asked->by, asked->id);
    say_event(look->op, object, false, asked->asking->kind, text);
    return request;
}

static void take_report(Look *look, const json_t *object, json_t *request, const ChannelFlow *flow)
{
    if (has_ended(request) || strcmp(flow->request, object_text(request, "id")) != 0)
        return;
    bool done = strcmp(flow->request_state, "Done") == 0;
    set_text(request, "from", flow->request_from);
    set_text(request, "to", flow->request_to);
    if (done || strcmp(flow->request_state, "Refused") == 0)
        end_as(look, object, request, flow->request_state, flow->request_why);
    else
        set_text(request, "state", flow->request_state);
}

/* What another request took the place of, or nobody asks for any more. */
static void end_others(Look *look, const json_t *object, json_t *requests, const Asked *asked,
                       size_t count)
{
    size_t i;
    json_t *one;
    json_array_foreach(requests, i, one)
    {
        bool stands = has_ended(one);
        for (size_t k = 0; k < count; k++)
            stands = stands || asked[k].request == one;
        if (!stands)
            end_as(look, object, one, "Withdrawn", "the annotation says something else by now");
    }
}

static void read_tables(Asked *ret)
{
    CopyRequest request;
    if (!copy_request_parse(ret->text, &request, &ret->why))
        return;
    snprintf(ret->id, sizeof ret->id, "%s", request.id);
    memcpy(ret->by, request.by, sizeof ret->by);
    ret->what = json_array();
    for (size_t i = 0; i < request.tables.count; i++)
        json_array_append_new(ret->what, json_string(request.tables.texts[i]));
    copy_request_done(&request);
}

static void read_target(Asked *ret)
{
    UnitRequest request;
    if (!unit_request_parse(ret->asking->of_unit, ret->text, &request, &ret->why))
        return;
    memcpy(ret->id, request.id, sizeof ret->id);
    memcpy(ret->by, request.by, sizeof ret->by);
    ret->what = json_string(request.target);
    unit_request_done(&request);
}

static bool read_asked(const json_t *object, Kind kind, const Asking *asking, Asked *ret)
{
    bool of_unit = asking->of_unit != UNIT_NOTHING;
    *ret = (Asked){.asking = asking, .text = object_annotation(object, asking->annotation)};
    if (of_unit != (kind == KIND_UNIT) || !ret->text)
        return false;
    if (of_unit)
        read_target(ret);
    else
        read_tables(ret);
    if (!ret->what) { /* why it can't be read stands where its outcome would */
        char id[HASH_BYTES];
        hash_as_text(ret->text, id);
        snprintf(ret->id, sizeof ret->id, "%s", id);
    }
    return true;
}

/* Those that an operator wrote which knew of one kind only. */
static void name_kinds(json_t *requests)
{
    size_t i;
    json_t *one;
    json_array_foreach(requests, i, one)
    {
        set_text(one, "kind", asking_of(one)->kind);
    }
}

static void order(Orders *orders, const Asked *asked)
{
    char **to = asked->asking->of_unit == UNIT_ROLLBACK    ? &orders->asked.rollback
                : asked->asking->of_unit == UNIT_POSITIONS ? &orders->asked.positions
                                                           : &orders->asked.resnapshot;
    *to = mem_strdup(asked->text);
    orders->current = asked->request;
}

void orders_find(Look *look, Kind kind, const json_t *object, Orders *ret)
{
    const char *state = object_text(object, "spec.state");
    Asked asked[ARRAY_LEN(askings)];
    size_t count = 0;
    *ret = (Orders){.requests = json_deep_copy(object_at(object, "status.requests"))};
    if (!ret->requests)
        ret->requests = json_array();
    name_kinds(ret->requests);
    ret->asked.pause = kind == KIND_CONNECTOR && state && strcmp(state, "Paused") == 0;
    for (size_t i = 0; i < ARRAY_LEN(askings); i++) {
        Asked *one = &asked[count];
        if (!read_asked(object, kind, &askings[i], one))
            continue;
        count++;
        one->request = found_in(ret->requests, one);
        if (!one->request)
            one->request = add_request(look, object, ret->requests, one);
        if (!one->what && !has_ended(one->request))
            end_as(look, object, one->request, "Refused", one->why.message);
        if (!ret->current && !has_ended(one->request))
            order(ret, one);
    }
    end_others(look, object, ret->requests, asked, count);
    for (size_t i = 0; i < count; i++)
        json_decref(asked[i].what);
    while (json_array_size(ret->requests) > REQUESTS_MAX)
        json_array_remove(ret->requests, REQUESTS_MAX);
}

void orders_done(Orders *orders)
{
    json_decref(orders->requests);
    channel_orders_done(&orders->asked);
    *orders = (Orders){0};
}

void orders_refuse(Look *look, const json_t *object, Orders *orders, const char *why)
{
    bool pause = orders->asked.pause;
    if (orders->current)
        end_as(look, object, orders->current, "Refused", why);
    channel_orders_done(&orders->asked);
    orders->asked.pause = pause;
    orders->current = NULL;
}

char *orders_text(const Orders *orders)
{
    Bytes text = {0};
    channel_put_orders(&text, &orders->asked);
    bytes_put_u8(&text, '\0');
    return (char *)text.data;
}

void orders_tell(Look *look, const json_t *object, const char *key, Orders *orders,
                 const Reported *reported, json_t *more)
{
    Channel *channel = atomic_load(&look->op->channel);
    if (orders->current && reported->known && !reported->silent) {
        take_report(look, object, orders->current, &reported->flow);
        if (has_ended(orders->current)) /* Pods that begin are not to be told of it */
            look_again(look, 0);
    }
    if (json_array_size(orders->requests))
        json_object_set(more, "requests", orders->requests);
    if (channel)
        channel_order(channel, key, &orders->asked);
}
