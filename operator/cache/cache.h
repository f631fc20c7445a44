/* What the watches have told, one packed text for each object, so that a thousand units are half a
 * megabyte: JSON without what nobody reads (managedFields; of a Pod all but its state). Of Secrets
 * only that they are there and their version. Whoever reads gets a copy of his own. Used by several
 * threads.
 *
 * `ref`: what an object is found by, in two places: the owner of what the operator made (its
 * label), a unit's Connector and its LakeTables. */
#pragma once

#include "operator/api/api.h"

#define CACHE_REFS 2
#define LABEL_CONNECTOR "firn.dev/connector" /* of Pods and children; shortened if need be */
#define LABEL_UNIT "firn.dev/unit"
#define LABEL_PATTERN "firn.dev/pattern" /* of a pattern's units and tables: its unit */

typedef struct Cache Cache;
void cache_free(Cache *cache);
Cache *cache_new(void) OWNED_BY(cache_free);

typedef struct CacheTaker {
    /* Something changed, or went (now NULL); before and now are pruned. Not under the lock. Of the
     * first list also called. */
    void (*changed)(void *context, Kind kind, const json_t *before, const json_t *now);
    void *context;
} CacheTaker;
/* As watch.h wants it: what the watch says goes into the cache, then to `taker`. With several
 * namespaces each watch has a Feed of its own. */
typedef struct Feed Feed;
void feed_free(Feed *feed);
Feed *feed_new(Cache *cache, Kind kind, const char *namespace_name /* NULL: all */,
               const CacheTaker *taker) OWNED_BY(feed_free);
WatchTaker feed_taker(Feed *feed);
bool feed_listed(const Feed *feed); /* once: what is not there is not there */

/* NULL: not there. The caller's. */
json_t *cache_get(Cache *cache, Kind kind, const char *namespace_name, const char *name);
/* As cache_get, without the table's spec that a unit may hold. */
json_t *cache_get_brief(Cache *cache, Kind kind, const char *namespace_name, const char *name);
/* Of a Deployment. False: it is not there. */
bool cache_counts(Cache *cache, const char *namespace_name, const char *name,
                  DeploymentCounts *ret);
/* It is there, and not being deleted. */
bool cache_has(Cache *cache, Kind kind, const char *namespace_name, const char *name);
/* An array of those whose ref `at` is `value` (NULL: all); namespace_name NULL: of all. */
json_t *cache_list(Cache *cache, Kind kind, const char *namespace_name, size_t at,
                   const char *value);
/* The resourceVersion, or NULL: not there. The caller's. */
char *cache_version(Cache *cache, Kind kind, const char *namespace_name, const char *name);
size_t cache_count(Cache *cache, Kind kind);
/* What was just written, ahead of its event, which tells nobody then: so nothing else of it may
 * have changed. An older one than what is there is left out. */
void cache_put(Cache *cache, Kind kind, const json_t *object);
/* … of an object as it was read, by the answer's metadata: it has this status now. What somebody
 * changed meanwhile is left to the watch, which tells whom it concerns. */
void cache_said(Cache *cache, Kind kind, const json_t *read, const json_t *status,
                const json_t *now);
/* "namespace/name" of each; `each` must not call the cache. */
void cache_each_name(Cache *cache, Kind kind, const char *namespace_name, size_t at,
                     const char *value,
                     void (*each)(void *context, const char *namespace_name, const char *name),
                     void *context);
/* The names of those in a namespace: an array of texts, the caller's. */
json_t *cache_names(Cache *cache, Kind kind, const char *namespace_name, size_t at,
                    const char *value);
DEFINE_AUTO(Cache, cache_free);
DEFINE_AUTO(Feed, feed_free);
