/* The snapshots of a table in the order of their sequence numbers, and their parents. */
#pragma once

#include "agent/table/iceberg/state.h"

/* metadata must outlive it. known: of older metadata that is still there and shares snapshots with
 * this, which are then not looked into again; NULL. */
void history_init(History *history, const json_t *metadata, const History *known);
/* Takes the steps, in any order; a snapshot that is there twice counts once. */
void history_of(History *history, Step *steps, size_t count);
Step history_step(json_t *snapshot);
void history_done(History *history);
int64_t history_find(const History *history, int64_t id); /* index, or -1 */
/* Marks the head and what it stands on, as far as can be told; true: the chain of parents is cut.
 */
bool history_mark(History *history, int64_t head_id);
/* Does each snapshot stand on the one before it? A parent that is gone is taken to. */
bool history_is_linear(const History *history);
