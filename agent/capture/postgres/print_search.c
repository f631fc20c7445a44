/* tsvector and tsquery; the tables stand in print.h. */
#include "agent/capture/postgres/print.h"
#include "common/reader.h"

#define DEPTH_MAX 1000 /* of a tsquery; PostgreSQL's own stack ends somewhere near */

static const char cut[] = "is cut short, or longer than its bytes";

static void put_lexeme(Bytes *to, const char *text)
{
    bytes_put_u8(to, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            bytes_put_u8(to, (uint8_t)*text);
        bytes_put_u8(to, (uint8_t)*text);
    }
    bytes_put_u8(to, '\'');
}

const char *print_tsvector(const uint8_t *value, uint32_t bytes, Bytes *to)
{
    Reader in = reader_over(value, bytes);
    uint32_t lexemes;
    if (!reader_u32be(&in, &lexemes))
        return cut;
    for (uint32_t i = 0; i < lexemes; i++) {
        const char *text;
        uint16_t positions, position;
        if (!reader_cstring(&in, &text) || !reader_u16be(&in, &positions))
            return cut;
        if (i)
            bytes_put_u8(to, ' ');
        put_lexeme(to, text);
        for (uint16_t at = 0; at < positions; at++) {
            if (!reader_u16be(&in, &position))
                return cut;
            print_format(to, "%c%d", at ? ',' : ':', position & 0x3fff);
            if (position >> 14)
                bytes_put_u8(to, (uint8_t)("DCBA"[position >> 14]));
        }
    }
    return reader_left(&in) ? cut : NULL;
}

enum { ITEM_VALUE = 1, ITEM_OPERATOR = 2 };
enum { OPERATOR_NOT = 1, OPERATOR_AND, OPERATOR_OR, OPERATOR_PHRASE };

typedef struct Query {
    Reader in;
    uint32_t items;
    unsigned depth;
} Query;

static const char *print_item(Query *query, int outer_priority, bool right_of_phrase, Bytes *to);

static const char *print_word(Query *query, Bytes *to)
{
    uint8_t weights, prefix;
    const char *text;
    if (!reader_u8(&query->in, &weights) || !reader_u8(&query->in, &prefix) ||
        !reader_cstring(&query->in, &text))
        return cut;
    put_lexeme(to, text);
    if (weights || prefix)
        bytes_put_u8(to, ':');
    if (prefix)
        bytes_put_u8(to, '*');
    for (int at = 0; at < 4; at++)
        if (weights & 8 >> at)
            bytes_put_u8(to, (uint8_t)("ABCD"[at]));
    return NULL;
}

/* The right operand comes first, so it waits in a buffer of its own. */
static const char *print_pair(Query *query, uint8_t verb, uint16_t distance, int priority,
                              Bytes *to)
{
    static const char *const signs[] = {"", "", " & ", " | ", " <-> "};
    Bytes right = {0};
    const char *why = print_item(query, priority, verb == OPERATOR_PHRASE, &right);
    if (!why)
        why = print_item(query, priority, false, to);
    if (!why && verb == OPERATOR_PHRASE && distance != 1)
        print_format(to, " <%d> ", (int16_t)distance);
    else if (!why)
        print_format(to, "%s", signs[verb]);
    if (!why)
        bytes_put(to, right.data, right.used);
    bytes_done(&right);
    return why;
}

static bool read_operator(Query *query, uint8_t *ret_verb, uint16_t *ret_distance)
{
    *ret_distance = 0;
    return reader_u8(&query->in, ret_verb) && *ret_verb >= OPERATOR_NOT &&
           *ret_verb <= OPERATOR_PHRASE &&
           (*ret_verb != OPERATOR_PHRASE || reader_u16be(&query->in, ret_distance));
}

static const char *print_item(Query *query, int outer_priority, bool right_of_phrase, Bytes *to)
{
    static const int priorities[] = {0, 4, 2, 1, 3};
    uint8_t kind, verb;
    uint16_t distance;
    if (!query->items || query->depth >= DEPTH_MAX || !reader_u8(&query->in, &kind))
        return cut;
    query->items--;
    if (kind == ITEM_VALUE)
        return print_word(query, to);
    if (kind != ITEM_OPERATOR || !read_operator(query, &verb, &distance))
        return cut;
    int priority = priorities[verb];
    bool parentheses = priority < outer_priority || (verb == OPERATOR_PHRASE && right_of_phrase);
    if (parentheses)
        bytes_put(to, "( ", 2);
    if (verb == OPERATOR_NOT)
        bytes_put_u8(to, '!');
    query->depth++;
    const char *why = verb == OPERATOR_NOT ? print_item(query, priority, false, to)
                                           : print_pair(query, verb, distance, priority, to);
    query->depth--;
    if (parentheses)
        bytes_put(to, " )", 2);
    return why;
}

const char *print_tsquery(const uint8_t *value, uint32_t bytes, Bytes *to)
{
    Query query = {.in = reader_over(value, bytes)};
    if (!reader_u32be(&query.in, &query.items))
        return cut;
    if (!query.items)
        return reader_left(&query.in) ? cut : NULL;
    const char *why = print_item(&query, -1, false, to);
    return why ? why : query.items || reader_left(&query.in) ? cut : NULL;
}
