#include "common/channel/channel.h"
#include "common/json/text.h"

#include <jansson.h>

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
    char *text = json_text(word, JSON_COMPACT);
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
        json_object_set_new(to, "error", text_of(from->error, CHANNEL_ERROR_BYTES_MAX));
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
    json_t *to = json_pack("{so so}", "unit", text_of(from->unit, CHANNEL_NAME_BYTES_MAX), "table",
                           text_of(from->table, CHANNEL_NAME_BYTES_MAX));
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
