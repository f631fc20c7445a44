#include "common/channel/channel.h"

#include <jansson.h>
#include <stdio.h>

#define NAME_BYTES_MAX 600
#define ERROR_BYTES_MAX 512

#define CLEAR(field, member) to->field = CHANNEL_NOT_SAID;
#define COPY(field, member) to->field = from->field;
#define SAME(field, member) same = same && a->field == b->field;

void channel_flow_clear(ChannelFlow *to)
{
    *to = (ChannelFlow){0};
    CHANNEL_FLOW_NUMBERS(CLEAR)
}

void channel_flow_done(ChannelFlow *flow)
{
    free(flow->error);
    flow->error = NULL;
}

void channel_flow_copy(ChannelFlow *to, const ChannelFlow *from)
{
    char *error = from->error ? mem_strdup(from->error) : NULL;
    channel_flow_done(to);
    *to = *from;
    to->error = error;
}

bool channel_flow_equals(const ChannelFlow *a, const ChannelFlow *b)
{
    bool same =
        strcmp(a->phase, b->phase) == 0 && strcmp(a->reason, b->reason) == 0 &&
        strcmp(a->error ? a->error : "", b->error ? b->error : "") == 0 &&
        strcmp(a->request, b->request) == 0 && strcmp(a->request_state, b->request_state) == 0 &&
        strcmp(a->request_why, b->request_why) == 0 &&
        strcmp(a->request_from, b->request_from) == 0 && strcmp(a->request_to, b->request_to) == 0;
    CHANNEL_FLOW_NUMBERS(SAME)
    return same;
}

void channel_table_clear(ChannelTable *to)
{
    *to = (ChannelTable){0};
    CHANNEL_TABLE_NUMBERS(CLEAR)
}

void channel_table_done(ChannelTable *table)
{
    free(table->unit);
    free(table->table);
    *table = (ChannelTable){0};
}

bool channel_numbers_equal(const ChannelTable *a, const ChannelTable *b)
{
    bool same = true;
    CHANNEL_TABLE_NUMBERS(SAME)
    return same;
}

#define FREE_TEXT(member) free(orders->member);
void channel_orders_done(ChannelOrders *orders)
{
    CHANNEL_ORDER_TEXTS(FREE_TEXT)
    *orders = (ChannelOrders){0};
}

#define COPY_TEXT(member) to->member = from->member ? mem_strdup(from->member) : NULL;
void channel_orders_copy(ChannelOrders *to, const ChannelOrders *from)
{
    channel_orders_done(to);
    to->pause = from->pause;
    CHANNEL_ORDER_TEXTS(COPY_TEXT)
}

#define SAME_TEXT(member)                                                                          \
    same = same && strcmp(a->member ? a->member : "", b->member ? b->member : "") == 0;
bool channel_orders_equal(const ChannelOrders *a, const ChannelOrders *b)
{
    bool same = a->pause == b->pause;
    CHANNEL_ORDER_TEXTS(SAME_TEXT)
    return same;
}

void channel_word_done(ChannelWord *word)
{
    if (word->token)
        explicit_bzero(word->token, strlen(word->token));
    free(word->token);
    channel_flow_done(&word->report.flow);
    for (size_t i = 0; i < word->report.table_count; i++)
        channel_table_done(&word->report.tables[i]);
    free(word->report.tables);
    channel_orders_done(&word->orders);
    *word = (ChannelWord){0};
}

/* --- writing --- */

/* A text of at most `most` bytes; what a source said may be no UTF-8. The caller's. */
static json_t *text_of(const char *text, size_t most)
{
    size_t bytes = strnlen(text, most);
    json_t *value = json_stringn(text, bytes);
    /* the cut may have gone through a character */
    for (size_t less = 1; !value && bytes == most && less < 4; less++)
        value = json_stringn(text, bytes - less);
    return value ? value : json_string("(not readable)");
}

static void put_word(Bytes *to, const char *name, json_t *body /* taken */)
{
    json_t *word = json_pack("{so}", name, body);
    ASSERT(word);
    char *text = json_dumps(word, JSON_COMPACT);
    bytes_put(to, text, strlen(text));
    explicit_bzero(text, strlen(text));
    free(text);
    json_decref(word);
}

void channel_put_hello(Bytes *to, const char *token, const char *agent)
{
    put_word(to, "hello",
             json_pack("{si so so}", "version", CHANNEL_VERSION, "token",
                       text_of(token, CHANNEL_TOKEN_BYTES_MAX), "agent", text_of(agent, 63)));
}

void channel_put_welcome(Bytes *to)
{
    put_word(to, "welcome", json_pack("{si}", "version", CHANNEL_VERSION));
}

#define PUT_TEXT(member)                                                                           \
    if (orders->member)                                                                            \
        json_object_set_new(body, #member, text_of(orders->member, CHANNEL_ORDER_BYTES_MAX));
void channel_put_orders(Bytes *to, const ChannelOrders *orders)
{
    json_t *body = json_object();
    if (orders->pause)
        json_object_set_new(body, "pause", json_true());
    CHANNEL_ORDER_TEXTS(PUT_TEXT)
    put_word(to, "orders", body);
}

static void put_number(json_t *to, const char *member, int64_t value)
{
    if (value != CHANNEL_NOT_SAID)
        json_object_set_new(to, member, json_integer(value));
}

#define PUT(field, member) put_number(to, member, from->field);

static json_t *flow_of(const ChannelFlow *from)
{
    json_t *to = json_pack("{so}", "phase", text_of(from->phase, sizeof from->phase - 1));
    if (from->reason[0])
        json_object_set_new(to, "reason", text_of(from->reason, sizeof from->reason - 1));
    if (from->error)
        json_object_set_new(to, "error", text_of(from->error, ERROR_BYTES_MAX));
    if (from->request[0]) {
        json_object_set_new(to, "request", text_of(from->request, sizeof from->request - 1));
        json_object_set_new(to, "requestState",
                            text_of(from->request_state, sizeof from->request_state - 1));
    }
    if (from->request_why[0])
        json_object_set_new(to, "requestWhy",
                            text_of(from->request_why, sizeof from->request_why - 1));
    if (from->request_from[0])
        json_object_set_new(to, "requestFrom",
                            text_of(from->request_from, sizeof from->request_from - 1));
    if (from->request_to[0])
        json_object_set_new(to, "requestTo",
                            text_of(from->request_to, sizeof from->request_to - 1));
    CHANNEL_FLOW_NUMBERS(PUT)
    return to;
}

static json_t *table_of(const ChannelTable *from)
{
    json_t *to = json_pack("{so so}", "unit", text_of(from->unit, NAME_BYTES_MAX), "table",
                           text_of(from->table, NAME_BYTES_MAX));
    CHANNEL_TABLE_NUMBERS(PUT)
    return to;
}

void channel_put_report(Bytes *to, const ChannelReport *report)
{
    json_t *body = json_object();
    if (report->has_flow)
        json_object_set_new(body, "flow", flow_of(&report->flow));
    if (report->table_count) {
        json_t *tables = json_array();
        for (size_t i = 0; i < report->table_count; i++)
            json_array_append_new(tables, table_of(&report->tables[i]));
        json_object_set_new(body, "tables", tables);
    }
    if (report->whole)
        json_object_set_new(body, "whole", json_true());
    put_word(to, "report", body);
}

/* --- reading --- */

static bool bad(Error *err, const char *what)
{
    return error_set(err, ERROR_DATA, "BadWord", "%s", what);
}

/* NULL when it is no text or too long. */
static const char *text_in(const json_t *from, const char *member, size_t most)
{
    const json_t *value = json_object_get(from, member);
    size_t bytes = json_string_length(value);
    const char *text = json_string_value(value);
    return text && bytes <= most && strlen(text) == bytes ? text : NULL;
}

static void take_text(const json_t *from, const char *member, char *to, size_t bytes)
{
    const char *text = text_in(from, member, bytes - 1);
    snprintf(to, bytes, "%s", text ? text : "");
}

/* What counts or measures is no less than 0. */
static int64_t number_in(const json_t *from, const char *member)
{
    const json_t *value = json_object_get(from, member);
    return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value)
                                                                    : CHANNEL_NOT_SAID;
}

#define TAKE_NUMBER(field, member) to->field = number_in(from, member);

static bool take_flow(const json_t *from, ChannelFlow *to, Error *err)
{
    channel_flow_clear(to);
    take_text(from, "phase", to->phase, sizeof to->phase);
    if (!to->phase[0])
        return bad(err, "a report's flow has no phase");
    take_text(from, "reason", to->reason, sizeof to->reason);
    const char *error = text_in(from, "error", ERROR_BYTES_MAX);
    to->error = error ? mem_strdup(error) : NULL;
    take_text(from, "request", to->request, sizeof to->request);
    take_text(from, "requestState", to->request_state, sizeof to->request_state);
    take_text(from, "requestWhy", to->request_why, sizeof to->request_why);
    take_text(from, "requestFrom", to->request_from, sizeof to->request_from);
    take_text(from, "requestTo", to->request_to, sizeof to->request_to);
    CHANNEL_FLOW_NUMBERS(TAKE_NUMBER)
    return true;
}

static bool take_tables(const json_t *list, ChannelReport *ret, Error *err)
{
    size_t i;
    json_t *from;
    if (json_array_size(list) > CHANNEL_TABLES_MAX)
        return bad(err, "a report has too many tables");
    if (json_array_size(list))
        ret->tables = mem_array(json_array_size(list), sizeof *ret->tables);
    json_array_foreach(list, i, from)
    {
        const char *unit = text_in(from, "unit", NAME_BYTES_MAX);
        const char *table = text_in(from, "table", NAME_BYTES_MAX);
        if (!unit || !table || !*table)
            return bad(err, "a report's table has no unit and name");
        ChannelTable *to = &ret->tables[ret->table_count++];
        to->unit = mem_strdup(unit);
        to->table = mem_strdup(table);
        CHANNEL_TABLE_NUMBERS(TAKE_NUMBER)
    }
    return true;
}

static bool take_report(const json_t *from, ChannelReport *to, Error *err)
{
    const json_t *flow = json_object_get(from, "flow"), *tables = json_object_get(from, "tables");
    if (!json_is_object(from))
        return bad(err, "a report is an object");
    to->has_flow = json_is_object(flow);
    to->whole = json_is_true(json_object_get(from, "whole"));
    return (!to->has_flow || take_flow(flow, &to->flow, err)) && take_tables(tables, to, err);
}

#define TAKE_TEXT(member)                                                                          \
    text = text_in(from, #member, CHANNEL_ORDER_BYTES_MAX);                                        \
    to->member = text ? mem_strdup(text) : NULL;
static bool take_orders(const json_t *from, ChannelOrders *to, Error *err)
{
    const char *text;
    to->pause = json_is_true(json_object_get(from, "pause"));
    CHANNEL_ORDER_TEXTS(TAKE_TEXT)
    return json_is_object(from) || bad(err, "orders are an object");
}

static bool take_word(const json_t *all, ChannelWord *to, Error *err)
{
    const json_t *hello = json_object_get(all, "hello"), *report = json_object_get(all, "report");
    const json_t *welcome = json_object_get(all, "welcome");
    const json_t *orders = json_object_get(all, "orders");
    if (orders) {
        to->kind = CHANNEL_ORDERS;
        return take_orders(orders, &to->orders, err);
    }
    if (report) {
        to->kind = CHANNEL_REPORT;
        return take_report(report, &to->report, err);
    }
    if (!hello && !welcome)
        return true;
    to->kind = hello ? CHANNEL_HELLO : CHANNEL_WELCOME;
    to->version = number_in(hello ? hello : welcome, "version");
    if (to->version < 1)
        return bad(err, "it has no version");
    if (!hello)
        return true;
    const char *token = text_in(hello, "token", CHANNEL_TOKEN_BYTES_MAX);
    if (!token || !*token)
        return bad(err, "a hello has no token");
    to->token = mem_strdup(token);
    take_text(hello, "agent", to->agent, sizeof to->agent);
    return true;
}

bool channel_take(const void *message, size_t bytes, ChannelWord *ret, Error *err)
{
    json_error_t why;
    *ret = (ChannelWord){0};
    if (bytes > CHANNEL_MESSAGE_BYTES_MAX)
        return bad(err, "a message is too long");
    json_t *all = json_loadb(message, bytes, 0, &why);
    bool ok =
        json_is_object(all) ? take_word(all, ret, err) : bad(err, "a message is no JSON object");
    json_decref(all);
    if (!ok)
        channel_word_done(ret);
    return ok;
}
