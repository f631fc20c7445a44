/* The few figures that a status shows, out of what an agent's /metrics say (Prometheus' text format
 * 0.0.4). Nothing in it is trusted further than that: what can't be read is left out. */
#include <math.h>
#include <stdio.h>

#include "operator/status/status.h"

#define LINE_BYTES_MAX 4096
#define UNITS_MAX 100000
#define EXACT_MAX 9e15 /* integers that a double holds */

typedef struct Line {
    char name[64];
    char table[600], unit[600];
    double value;
} Line;

/* A label's value, unescaped, behind its opening quote; NULL: it does not end or is too long. */
static const char *take_value(const char *at, char *to, size_t bytes)
{
    size_t used = 0;
    for (; *at && *at != '"'; at++) {
        char letter = *at;
        if (letter == '\\' && at[1]) {
            at++;
            letter = *at == 'n' ? '\n' : *at;
        }
        if (used + 1 >= bytes)
            return NULL;
        to[used++] = letter;
    }
    to[used] = '\0';
    return *at == '"' ? at + 1 : NULL;
}

/* `text`: one line. */
static bool take_line(const char *text, Line *ret)
{
    char other[600];
    size_t bytes = strcspn(text, "{ ");
    *ret = (Line){0};
    if (*text == '#' || bytes == 0 || bytes >= sizeof ret->name)
        return false;
    memcpy(ret->name, text, bytes);
    const char *at = text + bytes;
    if (*at == '{') {
        at++;
        while (*at && *at != '}') {
            char label[64];
            bytes = strcspn(at, "=");
            if (bytes >= sizeof label || at[bytes] != '=' || at[bytes + 1] != '"')
                return false;
            memcpy(label, at, bytes);
            label[bytes] = '\0';
            char *to = strcmp(label, "table") == 0  ? ret->table
                       : strcmp(label, "unit") == 0 ? ret->unit
                                                    : other;
            at = take_value(at + bytes + 2, to, sizeof other);
            if (!at)
                return false;
            at += *at == ',';
        }
        at += *at == '}';
    }
    char *end;
    ret->value = strtod(at, &end);
    return end != at && isfinite(ret->value) && fabs(ret->value) < EXACT_MAX;
}

static json_t *unit_in(json_t *units, const Line *line, const char *namespace_name)
{
    size_t bytes = strlen(namespace_name);
    if (!line->table[0] || strncmp(line->unit, namespace_name, bytes) != 0 ||
        line->unit[bytes] != '/')
        return NULL;
    const char *name = line->unit + bytes + 1;
    json_t *unit = json_object_get(units, name);
    if (!unit && json_object_size(units) < UNITS_MAX) {
        json_t *table = json_string(line->table); /* NULL when it is no UTF-8 */
        unit = table ? json_pack("{so}", "table", table) : NULL;
        if (!unit || json_object_set_new(units, name, unit) != 0)
            return NULL;
    }
    return unit;
}

static void take_figure(json_t *report, const Line *line, const char *namespace_name)
{
    static const struct {
        const char *metric, *figure;
    } of_process[] = {{"firn_phase", "phase"},
                      {"firn_lag_bytes", "lag"},
                      {"firn_freshness_seconds", "freshness"}},
      of_unit[] = {{"firn_table_rows", "rows"},
                   {"firn_table_copying", "copying"},
                   {"firn_ingest_commits", "commits"},
                   {"firn_table_copy_rows_total", "copied"},
                   {"firn_table_copy_rows_estimate", "toCopy"}};
    json_t *value = json_integer((json_int_t)line->value);
    for (size_t i = 0; i < ARRAY_LEN(of_process); i++)
        if (strcmp(line->name, of_process[i].metric) == 0)
            json_object_set(report, of_process[i].figure, value);
    for (size_t i = 0; i < ARRAY_LEN(of_unit); i++) {
        if (strcmp(line->name, of_unit[i].metric) != 0)
            continue;
        json_t *unit = unit_in(json_object_get(report, "units"), line, namespace_name);
        if (unit)
            json_object_set(unit, of_unit[i].figure, value);
    }
    json_decref(value);
}

json_t *figures_of_metrics(const char *text, size_t bytes, const char *namespace_name)
{
    json_t *report = json_pack("{s{}}", "units");
    const char *at = text, *end = text + bytes;
    while (at < end) {
        char one[LINE_BYTES_MAX];
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop ? stop : end) - at);
        Line line;
        if (length < sizeof one) {
            memcpy(one, at, length);
            one[length] = '\0';
            if (take_line(one, &line))
                take_figure(report, &line, namespace_name);
        }
        at += length + 1;
    }
    return report;
}
