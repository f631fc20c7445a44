/* The snapshots of a table in the order of their sequence numbers, and their parents. */
#pragma once

#include "agent/table/iceberg/state.h"

typedef struct Step {
    json_t *snapshot; /* the metadata's */
    int64_t id, parent_id, sequence, time_ms;
    int64_t parent; /* index; -1: none, or no longer known */
    bool on_chain;  /* history_mark */
    bool keep;      /* retention.c */
} Step;

typedef struct History {
    Step *steps; /* owned */
    size_t count;
} History;

void history_init(History *history, const json_t *metadata); /* metadata must outlive it */
void history_done(History *history);
int64_t history_find(const History *history, int64_t id); /* index, or -1 */
/* Marks the head and what it stands on, as far as can be told; true: the chain of parents is cut.
 */
bool history_mark(History *history, int64_t head_id);
/* Does each snapshot stand on the one before it? A parent that is gone is taken to. */
bool history_is_linear(const History *history);
