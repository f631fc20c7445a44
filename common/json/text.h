/* A tree as JSON text. */
#pragma once

#include <jansson.h>

/* As json_dumps, but with free, whatever jansson allocates with (operator/api/trees.c). */
char *json_text(const json_t *value, size_t flags);
