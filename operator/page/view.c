/* A pipeline is a Connector with the units that name it, or a unit that reads others' topics. Its
 * text is made anew with each look, and what differs has the look's version. */
#include "common/clock.h"
#include "common/text.h"
#include "operator/page/page.h"

/* --- one pipeline --- */

static void put_state(json_t *to, const json_t *object)
{
    static const char *const members[] = {"phase", "freshAt", "lag", "rows", "lakeTable"};
    const json_t *status = json_object_get(object, "status");
    const json_t *ready = condition_of(object, "Ready");
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        if (json_object_get(status, members[i]))
            json_object_set(to, members[i], json_object_get(status, members[i]));
    static const char *const words[][2] = {
        {"ready", "status"}, {"reason", "reason"}, {"message", "message"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (json_object_get(ready, words[i][1]))
            json_object_set(to, words[i][0], json_object_get(ready, words[i][1]));
    if (condition_is(object, "Stalled", "True", NULL))
        json_object_set_new(to, "stalled", json_true());
}

/* Of the conditions beside Ready those that say that something is not as it should be. */
static void put_warnings(json_t *to, const json_t *object)
{
    static const struct {
        const char *type, *bad;
    } warnings[] = {{"SourceReachable", "False"}, {"LogHeadroom", "False"},
                    {"Fresh", "False"},           {"DeadLetters", "True"},
                    {"TopicRetention", "False"},  {"SchemaInSync", "False"}};
    json_t *list = json_array();
    for (size_t i = 0; i < ARRAY_LEN(warnings); i++)
        if (condition_is(object, warnings[i].type, warnings[i].bad, NULL)) {
            const json_t *one = condition_of(object, warnings[i].type);
            json_array_append_new(list, json_pack("{ss sO* sO*}", "type", warnings[i].type,
                                                  "reason", json_object_get(one, "reason"),
                                                  "message", json_object_get(one, "message")));
        }
    if (json_array_size(list))
        json_object_set(to, "warnings", list);
    json_decref(list);
}

static json_t *live_of(const PageSource *source, char kind, const char *space, const char *name)
{
    AUTO(mem_free) char *key = mem_format("%c/%s/%s", kind, space, name);
    return reports_live(source->reports, key);
}

/* live: of the process that fills it; may be NULL. */
static json_t *table_of(const json_t *unit, const json_t *live)
{
    const char *table = object_text(unit, "spec.connectorRef.table");
    const char *topic = object_text(unit, "spec.kafka.topic");
    const char *sla = object_text(unit, "spec.sla.freshness");
    json_t *to = json_pack("{ss ss*}", "unit", object_name(unit), "table", table ? table : topic);
    put_state(to, unit);
    put_warnings(to, unit);
    int64_t promised_ms;
    if (sla && text_duration_parse(sla, &promised_ms))
        json_object_set_new(to, "promised", json_integer(promised_ms));
    const json_t *tables = json_object_get(live, "tables");
    json_t *now = json_object_get(tables, object_name(unit));
    if (now)
        json_object_set(to, "live", now);
    return to;
}

/* A pattern is seen by what it found, or where it found nothing yet. */
static bool is_seen(const json_t *unit, const json_t *units)
{
    size_t i;
    json_t *other;
    if (!object_at(unit, "spec.connectorRef.tables"))
        return true;
    json_array_foreach(units, i, other)
    {
        const char *of = object_label(other, LABEL_PATTERN);
        if (of && strcmp(of, object_name(unit)) == 0)
            return false;
    }
    return true;
}

static json_t *source_of(const json_t *connector)
{
    const json_t *source = object_at(connector, "spec.source");
    return json_pack("{sO* sO* sO*}", "type", json_object_get(source, "type"), "host",
                     json_object_get(source, "host"), "database",
                     json_object_get(source, "database"));
}

static json_t *pipeline_of(const PageSource *source, const json_t *connector)
{
    const char *space = object_namespace(connector), *name = object_name(connector);
    bool streams = object_at(connector, "spec.stream");
    AUTO(json_free) json_t *live = live_of(source, 'c', space, name);
    AUTO(json_free) json_t *units = cache_list(source->cache, KIND_UNIT, space, 0, name);
    json_t *tables = json_array();
    size_t i;
    json_t *unit;
    json_array_foreach(units, i, unit)
    {
        if (!is_seen(unit, units))
            continue;
        AUTO(json_free)
        json_t *own = streams ? live_of(source, 'u', space, object_name(unit)) : NULL;
        json_t *table = table_of(unit, streams ? own : live);
        if (own)
            json_object_set(table, "process", json_object_get(own, "flow"));
        json_array_append_new(tables, table);
    }
    json_t *to = json_pack("{ss ss so so}", "namespace", space, "name", name, "source",
                           source_of(connector), "tables", tables);
    if (streams)
        json_object_set_new(to, "topics", json_true());
    put_state(to, connector);
    put_warnings(to, connector);
    if (live)
        json_object_set(to, "live", json_object_get(live, "flow"));
    return to;
}

/* A unit of a topic that others fill. */
static json_t *pipeline_of_topic(const PageSource *source, const json_t *unit)
{
    const char *space = object_namespace(unit), *name = object_name(unit);
    AUTO(json_free) json_t *live = live_of(source, 'u', space, name);
    json_t *from =
        json_pack("{ss sO*}", "type", "Kafka", "database", object_at(unit, "spec.kafka.topic"));
    json_t *to = json_pack("{ss ss so s[o]}", "namespace", space, "name", name, "source", from,
                           "tables", table_of(unit, live));
    put_state(to, unit);
    if (live)
        json_object_set(to, "live", json_object_get(live, "flow"));
    return to;
}

/* --- all of them --- */

void view_done(View *view)
{
    for (size_t i = 0; i < view->count; i++) {
        free(view->items[i].id);
        free(view->items[i].text);
    }
    free(view->items);
    *view = (View){0};
}

static ViewItem *item_of(View *view, const char *id)
{
    for (size_t i = 0; i < view->count; i++)
        if (strcmp(view->items[i].id, id) == 0)
            return &view->items[i];
    view->items = mem_regrow(view->items, view->count + 1, sizeof *view->items);
    ViewItem *made = &view->items[view->count++];
    *made = (ViewItem){.id = mem_strdup(id)};
    return made;
}

static void take(View *view, json_t *pipeline /* taken */, char kind)
{
    AUTO(mem_free)
    char *id = mem_format("%s/%c/%s", json_string_value(json_object_get(pipeline, "namespace")),
                          kind, json_string_value(json_object_get(pipeline, "name")));
    json_object_set_new(pipeline, "id", json_string(id));
    char *text = json_text(pipeline, JSON_COMPACT);
    json_decref(pipeline);
    ViewItem *item = item_of(view, id);
    item->seen = true;
    if (item->text && strcmp(item->text, text) == 0) {
        free(text);
        return;
    }
    free(item->text);
    item->text = text;
    item->version = view->version;
}

void view_look(View *view, const PageSource *source)
{
    AUTO(json_free) json_t *connectors = cache_list(source->cache, KIND_CONNECTOR, NULL, 0, NULL);
    AUTO(json_free) json_t *units = cache_list(source->cache, KIND_UNIT, NULL, 0, NULL);
    size_t i;
    json_t *one;
    view->version++;
    for (i = 0; i < view->count; i++)
        view->items[i].seen = false;
    json_array_foreach(connectors, i, one)
    {
        take(view, pipeline_of(source, one), 'c');
    }
    json_array_foreach(units, i, one)
    {
        if (object_at(one, "spec.kafka"))
            take(view, pipeline_of_topic(source, one), 'u');
    }
    for (i = 0; i < view->count; i++)
        if (!view->items[i].seen && view->items[i].text) {
            free(TAKE(view->items[i].text));
            view->items[i].version = view->version;
        }
}

static bool is_allowed(const char *id, const json_t *namespaces)
{
    AUTO(mem_free) char *space = mem_strndup(id, strcspn(id, "/"));
    return !namespaces || json_object_get(namespaces, space);
}

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

static bool put_list(const View *view, uint64_t since, const json_t *namespaces, bool gone,
                     Bytes *to)
{
    bool any = false;
    for (size_t i = 0; i < view->count; i++) {
        const ViewItem *item = &view->items[i];
        if (item->version <= since || !item->text != gone || !is_allowed(item->id, namespaces))
            continue;
        put_text(to, any ? "," : "");
        AUTO(json_free) json_t *id = json_string(item->id);
        AUTO(mem_free) char *quoted = json_text(id, JSON_ENCODE_ANY);
        put_text(to, gone ? quoted : item->text);
        any = true;
    }
    return any;
}

bool view_put(const View *view, uint64_t since, const json_t *namespaces, bool works, Bytes *to)
{
    AUTO(mem_free)
    char *head = mem_format("{\"now\":%lld,\"works\":%s,%s\"pipelines\":[",
                            (long long)(clock_wall_us() / 1000), works ? "true" : "false",
                            since ? "" : "\"whole\":true,");
    put_text(to, head);
    bool any = put_list(view, since, namespaces, false, to);
    put_text(to, "],\"gone\":[");
    any |= put_list(view, since ? since : view->version, namespaces, true, to);
    put_text(to, "]}");
    return any || !since;
}

static void add_name(void *context, const char *namespace_name, const char *name)
{
    (void)name;
    json_object_set_new(context, namespace_name, json_true());
}

json_t *view_namespaces(const PageSource *source)
{
    json_t *names = json_object();
    cache_each_name(source->cache, KIND_CONNECTOR, NULL, 0, NULL, add_name, names);
    cache_each_name(source->cache, KIND_UNIT, NULL, 0, NULL, add_name, names);
    return names;
}
