/* What is asked of a Connector's process while it runs, and what came of it: a pause, by
 * spec.state, and tables to be copied again, by the annotation firn.dev/resnapshot. Each request
 * stands in status.requests, with who asked, from when to when: that is what survives a takeover,
 * and what is not ended there is told to whoever runs. */
#include <stdio.h>

#include "common/manifest/manifest.h"
#include "operator/reconcile/reconcile.h"

#define REQUESTS_MAX 10

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

static void end_as(Look *look, const json_t *connector, json_t *request, const char *state,
                   const char *message)
{
    char now[32];
    status_time(look->now_s, now);
    set_text(request, "state", state);
    set_text(request, "message", message);
    set_text(request, "endedAt", now);
    AUTO(mem_free)
    char *text = mem_format("copying again, as %s: %s%s%s", object_text(request, "id"), state,
                            *message ? ": " : "", message);
    say_event(look->op, connector, strcmp(state, "Refused") == 0, "Resnapshot", text);
}

static json_t *found_in(json_t *requests, const char *id)
{
    size_t i;
    json_t *one;
    json_array_foreach(requests, i, one)
    {
        const char *known = object_text(one, "id");
        if (known && strcmp(known, id) == 0)
            return one;
    }
    return NULL;
}

/* The newest stands first. */
static json_t *add_request(Look *look, const json_t *connector, json_t *requests,
                           const CopyRequest *asked)
{
    char now[32];
    status_time(look->now_s, now);
    json_t *tables = json_array();
    for (size_t i = 0; i < asked->tables.count; i++)
        json_array_append_new(tables, json_string(asked->tables.texts[i]));
    json_t *request = json_pack("{ss so ss ss}", "id", asked->id, "tables", tables, "state",
                                "Waiting", "askedAt", now);
    ASSERT(request);
    set_text(request, "by", asked->by);
    json_array_insert_new(requests, 0, request);
    AUTO(mem_free)
    char *text = mem_format("copying again is asked for%s%s, as %s", asked->by[0] ? " by " : "",
                            asked->by, asked->id);
    say_event(look->op, connector, false, "Resnapshot", text);
    return request;
}

static void take_report(Look *look, const json_t *connector, json_t *request,
                        const ChannelFlow *flow)
{
    if (has_ended(request) || strcmp(flow->request, object_text(request, "id")) != 0)
        return;
    bool done = strcmp(flow->request_state, "Done") == 0;
    if (done || strcmp(flow->request_state, "Refused") == 0)
        end_as(look, connector, request, flow->request_state, flow->request_why);
    else
        set_text(request, "state", flow->request_state);
}

/* What another request took the place of, or nobody asks for any more. */
static void end_others(Look *look, const json_t *connector, json_t *requests, const char *id)
{
    size_t i;
    json_t *one;
    json_array_foreach(requests, i, one)
    {
        if (!has_ended(one) && !(id && strcmp(object_text(one, "id"), id) == 0))
            end_as(look, connector, one, "Withdrawn", "the annotation says something else by now");
    }
}

/* Why it can't be read stands where its outcome would. */
static void refuse(Look *look, const json_t *connector, json_t *requests, const char *text,
                   const char *why)
{
    CopyRequest nothing = {0};
    char id[HASH_BYTES];
    hash_as_text(text, id);
    if (found_in(requests, id))
        return;
    copy_request_of(&nothing, id, &nothing.tables);
    end_as(look, connector, add_request(look, connector, requests, &nothing), "Refused", why);
    copy_request_done(&nothing);
}

void orders_find(Look *look, const json_t *connector, Orders *ret)
{
    const char *text = object_annotation(connector, ANNOTATION_RESNAPSHOT);
    const char *state = object_text(connector, "spec.state");
    CopyRequest asked = {0};
    Error err = {0};
    *ret = (Orders){.requests = json_deep_copy(object_at(connector, "status.requests"))};
    if (!ret->requests)
        ret->requests = json_array();
    ret->asked.pause = state && strcmp(state, "Paused") == 0;
    if (text && !copy_request_parse(text, &asked, &err))
        refuse(look, connector, ret->requests, text, err.message);
    end_others(look, connector, ret->requests, asked.id);
    if (asked.id) {
        json_t *request = found_in(ret->requests, asked.id);
        if (!request)
            request = add_request(look, connector, ret->requests, &asked);
        if (!has_ended(request))
            ret->asked.resnapshot = mem_strdup(text);
        ret->current = request;
    }
    while (json_array_size(ret->requests) > REQUESTS_MAX)
        json_array_remove(ret->requests, REQUESTS_MAX);
    copy_request_done(&asked);
}

void orders_done(Orders *orders)
{
    json_decref(orders->requests);
    free(orders->asked.resnapshot);
    *orders = (Orders){0};
}

char *orders_text(const Orders *orders)
{
    Bytes text = {0};
    channel_put_orders(&text, &orders->asked);
    bytes_put_u8(&text, '\0');
    return (char *)text.data;
}

void orders_tell(Look *look, const json_t *connector, Orders *orders, const Reported *reported,
                 json_t *more)
{
    Channel *channel = atomic_load(&look->op->channel);
    if (orders->current && reported->known && !reported->silent)
        take_report(look, connector, orders->current, &reported->flow);
    if (json_array_size(orders->requests))
        json_object_set(more, "requests", orders->requests);
    if (!channel)
        return;
    AUTO(mem_free) char *key = reports_key('c', look->namespace_name, look->name);
    channel_order(channel, key, &orders->asked);
}
