/* A change of a table's metadata, as the REST protocol expresses it: what must hold, and what is to
 * be done; from it the metadata that comes of it, and its text.
 *
 *   create.c  the updates that make a table; snapshot.c: those of a commit; rollback.c: those of
 *             going back to an older one
 *   apply.c   updates and metadata give metadata
 *   text.c    metadata as text, of which most is the text of before
 *   send.c    to the catalog, and what became of it */
#pragma once

#include "agent/table/iceberg/state.h"

#define PARTITION_ID_BEFORE_FIRST 999 /* partition fields are numbered from 1000 on */

/* NULL: CONFIG. Without a location. */
json_t *create_updates(const IcebergCreate *create, Error *err);

/* New metadata, sharing with the old what did not change; base NULL: the table is made. FATAL
 * "BadUpdate" for updates that are unknown or make no sense. */
json_t *metadata_apply(json_t *base, const json_t *updates, int64_t now_ms, Error *err);

typedef struct Change {
    json_t *requirements, *updates;
    json_t *metadata;  /* what is expected to come of it */
    char id[37];       /* UUID, version 7 */
    CatalogEntry base; /* what it was made for, without the text */
    MetadataText text; /* of the metadata; empty where the catalog writes it itself */
    int64_t snapshot_id;
    json_t *marks; /* properties it sets that name the snapshot: they tell of it even when it has
                      been expired meanwhile; NULL: none */
} Change;
void change_done(Change *change);
/* What was compared must still stand: the table, its head, and the shape the files were written in.
 */
json_t *change_requirements(const IcebergTable *table);
void change_set_main(const IcebergTable *table, json_t *updates, int64_t snapshot_id);
/* The metadata of before joins the log of the new one. *ret_dropped: URIs of metadata files that
 * are no longer kept, and go once the change took effect. */
void change_log_metadata(const IcebergTable *table, json_t *metadata, json_t *ret_dropped);
void change_delete_dropped(const IcebergTable *table, const json_t *dropped);

typedef enum Outcome {
    OUTCOME_TAKEN,   /* it took effect */
    OUTCOME_LOST,    /* it has surely not taken effect */
    OUTCOME_UNKNOWN, /* nothing could be told, or an answer may still be under way */
} Outcome;

/* Sends it to the catalog, once. TAKEN: *ret_entry names the metadata now, *ret_metadata is it
 * where somebody else wrote it (NULL: the change's); somebody may have committed on top already.
 * Otherwise *why is filled. An answer that does not tell of the change is UNKNOWN. */
Outcome change_send(IcebergTable *table, const Change *change, CatalogEntry *ret_entry,
                    json_t **ret_metadata, Error *why);
