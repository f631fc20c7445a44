/* ways[c][n]: in how many ways the names from n on can stand for columns from c on, counted to 2;
 * plain[c][n]: of these, those in which every column has a name that it is known by; likely[c][n]:
 * or no name that is known. */
#include "agent/capture/postgres/match.h"

#include <string.h>

#include "common/mem.h"

typedef struct Ways {
    uint8_t all, plain, likely;
} Ways;

typedef struct Match {
    const MatchColumn *columns;
    size_t column_count;
    const char *const *names;
    const uint32_t *layouts; /* NULL: of none */
    size_t name_count;
    Ways *ways; /* (column_count + 1) * (name_count + 1) */
} Match;

static Ways *at(const Match *match, size_t column, size_t name)
{
    return &match->ways[column * (match->name_count + 1) + name];
}

static uint8_t sum(uint8_t a, uint8_t b)
{
    return (uint8_t)(a + b > 2 ? 2 : a + b);
}

static bool is_called(const MatchColumn *column, const char *name)
{
    return (column->before && strcmp(column->before, name) == 0) ||
           (column->now && strcmp(column->now, name) == 0);
}

/* One that came and went meanwhile may have had any name, also one that was given again. */
static bool may_be_called(const Match *match, size_t c, size_t n)
{
    const MatchColumn *column = &match->columns[c];
    uint32_t layout = match->layouts ? match->layouts[n] : 0;
    if (is_called(column, match->names[n]))
        return true;
    return !column->before && !column->now && column->since <= 0 &&
           (!column->layout || !layout || column->layout == layout);
}

/* Can it be missing from the message, when the names from `name` on are still to come? */
static bool can_be_missing(const Match *match, const MatchColumn *column, size_t name)
{
    if (!column->now) /* dropped by then; or it came and went */
        return true;
    return !column->before && name == match->name_count; /* it came later */
}

static void count(const Match *match)
{
    *at(match, match->column_count, match->name_count) = (Ways){1, 1, 1};
    for (size_t c = match->column_count; c-- > 0;)
        for (size_t n = match->name_count + 1; n-- > 0;) {
            Ways *to = at(match, c, n);
            if (n < match->name_count) {
                const Ways *taken = at(match, c + 1, n + 1);
                to->all = taken->all;
                to->plain = is_called(&match->columns[c], match->names[n]) ? taken->plain : 0;
                to->likely = may_be_called(match, c, n) ? taken->likely : 0;
            }
            if (can_be_missing(match, &match->columns[c], n)) {
                const Ways *missing = at(match, c + 1, n);
                to->all = sum(to->all, missing->all);
                to->plain = sum(to->plain, missing->plain);
                to->likely = sum(to->likely, missing->likely);
            }
        }
}

MatchResult match_exactly(const MatchColumn *columns, size_t column_count, const char *const *names,
                          const uint32_t *layouts, size_t name_count, uint32_t *ret_place)
{
    Match match = {columns, column_count, names, layouts, name_count, NULL};
    AUTO(mem_free) Ways *ways = mem_array((column_count + 1) * (name_count + 1), sizeof *ways);
    match.ways = ways;
    count(&match);
    uint8_t likely = at(&match, 0, 0)->likely;
    if (likely != 1)
        return likely ? MATCH_SEVERAL : MATCH_NONE;
    for (size_t c = 0, n = 0; n < name_count; c++)
        if (at(&match, c + 1, n + 1)->likely && may_be_called(&match, c, n))
            ret_place[n++] = (uint32_t)c;
    return MATCH_ONE;
}

/* Is a column that is taken for a new one of this type? */
static bool may_pass_for_new(const Match *match, const uint32_t *types, const uint32_t *place,
                             uint32_t type)
{
    for (size_t n = 0; n < match->name_count; n++)
        if (!match->columns[place[n]].before && types[n] == type)
            return true;
    return false;
}

/* Do the transactions' numbers say that it is there, or not, as it seems by its name? */
static bool is_borne_out(const Match *match, const uint32_t *types, const uint32_t *place,
                         const MatchColumn *column, bool is_there)
{
    if (column->now)
        return is_there || column->since <= 0;
    if (is_there)
        return column->since <= 0;
    return column->since >= 0 || !column->before ||
           !may_pass_for_new(match, types, place, column->type);
}

MatchResult match_columns(const MatchColumn *columns, size_t column_count, const char *const *names,
                          const uint32_t *types, size_t name_count, uint32_t *ret_place)
{
    Match match = {columns, column_count, names, NULL, name_count, NULL};
    AUTO(mem_free) Ways *ways = mem_array((column_count + 1) * (name_count + 1), sizeof *ways);
    match.ways = ways;
    count(&match);
    const Ways *all = at(&match, 0, 0);
    if (all->all == 0)
        return MATCH_NONE;
    bool plain = all->all > 1;
    if (plain && (all->plain != 1 || all->likely != 1))
        return MATCH_SEVERAL;
    for (size_t c = 0, n = 0; n < name_count; c++) {
        const Ways *taken = at(&match, c + 1, n + 1);
        bool takes = plain ? taken->plain && is_called(&columns[c], names[n]) : taken->all != 0;
        if (takes)
            ret_place[n++] = (uint32_t)c;
    }
    for (size_t c = 0, n = 0; c < column_count && plain; c++) {
        bool is_there = n < name_count && ret_place[n] == c;
        n += is_there;
        if (!is_borne_out(&match, types, ret_place, &columns[c], is_there))
            return MATCH_SEVERAL;
    }
    return MATCH_ONE;
}
