/* Words of the channel, as they come: read once, straight into their members. No tree is made of
 * them, for the operator reads a report a second of every agent. */
#include <stdlib.h>
#include <string.h>

#include "common/channel/channel.h"
#include "common/json/scan.h"

/* Takes one member's value, or passes it over. */
typedef bool (*TakeMember)(Scan *json, const char *name, size_t bytes, void *to);

#define IS(text) (bytes == sizeof(text) - 1 && memcmp(name, text, sizeof(text) - 1) == 0)

static bool take_object(Scan *json, TakeMember take, void *to)
{
    const char *name;
    size_t bytes;
    bool end;
    if (!scan_expect(json, '{'))
        return false;
    for (bool first = true;; first = false) {
        if (!scan_member(json, first, &name, &bytes, &end))
            return false;
        if (end)
            return true;
        if (!take(json, name, bytes, to))
            return false;
    }
}

/* NULL where it is no text, too long, or has a NUL. */
static bool take_copy(Scan *json, size_t most, char **to)
{
    const char *text;
    size_t bytes;
    free(*to);
    *to = NULL;
    if (scan_peek(json) != '"')
        return scan_skip(json);
    if (!scan_text(json, &text, &bytes))
        return false;
    if (bytes <= most && !memchr(text, '\0', bytes))
        *to = mem_strndup(text, bytes);
    return true;
}

/* What counts or measures is whole, and no less than 0: else it was not said. */
static bool take_number(Scan *json, int64_t *to)
{
    char first = scan_peek(json);
    const char *from = json->at;
    *to = CHANNEL_NOT_SAID;
    if (first < '0' || first > '9')
        return scan_skip(json);
    if (scan_integer(json, to))
        return true;
    *to = CHANNEL_NOT_SAID;
    json->at = from;
    return scan_skip(json);
}

static bool take_flag(Scan *json, bool *to)
{
    char first = scan_peek(json);
    *to = false;
    return first == 't' || first == 'f' ? scan_boolean(json, to) : scan_skip(json);
}

#define TEXT(member, field)                                                                        \
    if (IS(member))                                                                                \
        return scan_text_to(json, to->field, sizeof to->field);
#define NUMBER(field, member)                                                                      \
    if (IS(member))                                                                                \
        return take_number(json, &to->field);

static bool take_flow_member(Scan *json, const char *name, size_t bytes, void *context)
{
    ChannelFlow *to = context;
    CHANNEL_FLOW_NUMBERS(NUMBER)
    TEXT("phase", phase)
    TEXT("reason", reason)
    if (IS("error"))
        return take_copy(json, CHANNEL_ERROR_BYTES_MAX, &to->error);
    TEXT("request", request)
    TEXT("requestState", request_state)
    TEXT("requestWhy", request_why)
    TEXT("requestFrom", request_from)
    TEXT("requestTo", request_to)
    return scan_skip(json);
}

static bool take_flow(Scan *json, ChannelReport *to)
{
    channel_flow_done(&to->flow); /* it may be said twice */
    channel_flow_clear(&to->flow);
    to->has_flow = scan_peek(json) == '{';
    if (!to->has_flow)
        return scan_skip(json);
    return take_object(json, take_flow_member, &to->flow) &&
           (to->flow.phase[0] || scan_bad(json, "has a flow without a phase"));
}

static bool take_table_member(Scan *json, const char *name, size_t bytes, void *context)
{
    ChannelTable *to = context;
    CHANNEL_TABLE_NUMBERS(NUMBER)
    if (IS("unit"))
        return take_copy(json, CHANNEL_NAME_BYTES_MAX, &to->unit);
    if (IS("table"))
        return take_copy(json, CHANNEL_NAME_BYTES_MAX, &to->table);
    return scan_skip(json);
}

static bool take_tables(Scan *json, ChannelReport *to)
{
    bool end;
    if (scan_peek(json) != '[')
        return scan_skip(json);
    json->at++;
    for (bool first = true;; first = false) {
        if (!scan_element(json, first, &end))
            return false;
        if (end)
            return true;
        size_t count = to->table_count;
        if (count == CHANNEL_TABLES_MAX)
            return scan_bad(json, "has too many tables");
        if ((count & (count - 1)) == 0)
            to->tables = mem_regrow(to->tables, count ? count * 2 : 1, sizeof *to->tables);
        ChannelTable *table = &to->tables[to->table_count++];
        channel_table_clear(table);
        if (!take_object(json, take_table_member, table))
            return false;
        if (!table->unit || !table->table || !*table->table)
            return scan_bad(json, "has a table without its unit and name");
    }
}

static bool take_report_member(Scan *json, const char *name, size_t bytes, void *context)
{
    ChannelReport *to = context;
    if (IS("flow"))
        return take_flow(json, to);
    if (IS("tables"))
        return take_tables(json, to);
    if (IS("whole"))
        return take_flag(json, &to->whole);
    return scan_skip(json);
}

#define ORDER(member)                                                                              \
    if (IS(#member))                                                                               \
        return take_copy(json, CHANNEL_ORDER_BYTES_MAX, &to->member);
static bool take_orders_member(Scan *json, const char *name, size_t bytes, void *context)
{
    ChannelOrders *to = context;
    if (IS("pause"))
        return take_flag(json, &to->pause);
    CHANNEL_ORDER_TEXTS(ORDER)
    return scan_skip(json);
}

/* Of hello and welcome. */
static bool take_greeting_member(Scan *json, const char *name, size_t bytes, void *context)
{
    ChannelWord *to = context;
    NUMBER(version, "version")
    if (to->kind == CHANNEL_WELCOME)
        return scan_skip(json);
    if (IS("token"))
        return take_copy(json, CHANNEL_TOKEN_BYTES_MAX, &to->token);
    TEXT("agent", agent)
    return scan_skip(json);
}

static bool take_greeting(Scan *json, ChannelWord *to)
{
    return take_object(json, take_greeting_member, to) &&
           (to->version >= 1 || scan_bad(json, "has no version")) &&
           (to->kind == CHANNEL_WELCOME || (to->token && *to->token) ||
            scan_bad(json, "has a hello without a token"));
}

static bool take_word(Scan *json, const char *name, size_t bytes, void *context)
{
    ChannelWord *to = context;
    ChannelKind kind = IS("report")    ? CHANNEL_REPORT
                       : IS("orders")  ? CHANNEL_ORDERS
                       : IS("welcome") ? CHANNEL_WELCOME
                       : IS("hello")   ? CHANNEL_HELLO
                                       : CHANNEL_OTHER;
    if (kind == CHANNEL_OTHER)
        return scan_skip(json);
    if (to->kind != CHANNEL_OTHER)
        return scan_bad(json, "has two words");
    to->kind = kind;
    if (kind == CHANNEL_REPORT)
        return take_object(json, take_report_member, &to->report);
    return kind == CHANNEL_ORDERS ? take_object(json, take_orders_member, &to->orders)
                                  : take_greeting(json, to);
}

bool channel_take(const void *message, size_t bytes, ChannelWord *ret, Error *err)
{
    Scan json = {.at = message, .end = (const char *)message + bytes};
    *ret = (ChannelWord){0};
    bool ok = bytes <= CHANNEL_MESSAGE_BYTES_MAX || scan_bad(&json, "is too long");
    ok = ok && take_object(&json, take_word, ret);
    ok = ok && ((void)scan_peek(&json), json.at == json.end || scan_bad(&json, "goes on"));
    if (json.scratch.used) /* a token may be in it */
        explicit_bzero(json.scratch.data, json.scratch.used);
    bytes_done(&json.scratch);
    if (ok)
        return true;
    channel_word_done(ret);
    return error_set(err, ERROR_DATA, "BadWord", "a message %s", json.why);
}
