/* A condition on one field of a record, as people write it in a resource:
 *
 *   eventName == 'page_view'
 *   eventName in ['add_to_cart', 'checkout']
 *
 * A field is letters, digits and _, not a digit first; a value is a text in single quotes, of which
 * '' is one quote. What the field holds is compared as a text, byte by byte: a number or a boolean
 * as it is written in the record. No value (the field is missing, null, a list or an object) is
 * none of them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/attrs.h"

typedef struct Condition {
    char *field;
    char **values; /* at least one */
    size_t value_count;
} Condition;

void condition_done(Condition *condition);
/* False: it is none, and *ret is empty. Else *ret is the caller's to end. */
MUST_CHECK bool condition_parse(const char *text, Condition *ret);
bool condition_holds(const Condition *condition, const char *value, size_t bytes);
