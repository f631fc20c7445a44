/* What the cache keeps of an object. */
#pragma once

#include "operator/cache/cache.h"

/* A new object; the caller's. */
json_t *prune(Kind kind, const json_t *object);
/* The names of ref `at` of a pruned object, each behind a line's end; NULL: none. The caller's. */
char *prune_ref(Kind kind, const json_t *object, size_t at);
