#include "common/condition.h"

#include <ctype.h>
#include <string.h>

#include "common/mem.h"

void condition_done(Condition *condition)
{
    for (size_t i = 0; i < condition->value_count; i++)
        free(condition->values[i]);
    free(condition->values);
    free(condition->field);
    *condition = (Condition){0};
}

static void skip_blanks(const char **at)
{
    *at += strspn(*at, " ");
}

static bool take_field(const char **at, Condition *ret)
{
    size_t bytes = 0;
    if (isdigit((unsigned char)**at))
        return false;
    while (isalnum((unsigned char)(*at)[bytes]) || (*at)[bytes] == '_')
        bytes++;
    if (!bytes)
        return false;
    ret->field = mem_strndup(*at, bytes);
    *at += bytes;
    return true;
}

/* 'it''s' */
static bool take_value(const char **at, Condition *ret)
{
    if (*(*at)++ != '\'')
        return false;
    char *value = mem_array(strlen(*at) + 1, 1);
    size_t bytes = 0;
    for (; **at && (**at != '\'' || (*at)[1] == '\''); (*at)++) {
        *at += **at == '\'';
        value[bytes++] = **at;
    }
    ret->values = mem_regrow(ret->values, ret->value_count + 1, sizeof *ret->values);
    ret->values[ret->value_count++] = value;
    return *(*at)++ == '\'';
}

static bool take_list(const char **at, Condition *ret)
{
    if (*(*at)++ != '[')
        return false;
    for (;;) {
        skip_blanks(at);
        if (!take_value(at, ret))
            return false;
        skip_blanks(at);
        char next = *(*at)++;
        if (next != ',')
            return next == ']';
    }
}

static bool take_all(const char *at, Condition *ret)
{
    if (!take_field(&at, ret))
        return false;
    bool apart = *at == ' ';
    skip_blanks(&at);
    bool is_list = apart && strncmp(at, "in", 2) == 0;
    if (!is_list && strncmp(at, "==", 2) != 0)
        return false;
    at += 2;
    skip_blanks(&at);
    return (is_list ? take_list(&at, ret) : take_value(&at, ret)) && !*at;
}

bool condition_parse(const char *text, Condition *ret)
{
    *ret = (Condition){0};
    if (take_all(text, ret))
        return true;
    condition_done(ret);
    return false;
}

bool condition_holds(const Condition *condition, const char *value, size_t bytes)
{
    for (size_t i = 0; i < condition->value_count; i++)
        if (strlen(condition->values[i]) == bytes &&
            memcmp(condition->values[i], value, bytes) == 0)
            return true;
    return false;
}
