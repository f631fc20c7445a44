/* Keys of records in JSON: {"id": 1}, or that beside its schema. */
#pragma once

#include "agent/event/event.h"

#define KEYS_MAX 64

/* Adds a copy; more than KEYS_MAX there are not. */
void key_add(char **keys, size_t *count, const char *name, size_t bytes);
/* The names of its fields; none, where it is no object. */
void key_names(const EventRecord *record, char **keys, size_t *count);
/* Has it just these fields? */
bool key_is_of(const EventRecord *record, char *const *keys, size_t count);
