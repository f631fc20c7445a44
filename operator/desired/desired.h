/* What ought to be there: from resources to the objects of Kubernetes, without asking anybody.
 * Pure: the same input gives the same objects, to the byte.
 *
 *   names.c       names and labels that fit
 *   bundle.c      the manifest that the Pods of a Connector read
 *   pod.c         their template: restricted, with the user's own laid over it
 *   sidecar.c     the container beside it that maintains tables
 *   overlay.c     how that is laid over, and whether an object holds all that is wanted of it
 *   children.c    the objects of a Connector and of a unit
 *   drop.c        the Jobs that drop a deleted Connector's slot, a deleted LakeTable's table
 *   lake_table.c  the LakeTable of a unit with outsourcingUnit */
#pragma once

#include "operator/api/api.h"

#define ANNOTATION_RESTART "firn.dev/restart"
#define ANNOTATION_ORDERS "firn.dev/orders"
#define ANNOTATION_MANIFEST "firn.dev/manifest-hash"
#define ANNOTATION_SECRETS "firn.dev/secrets-hash"
#define ANNOTATION_PAUSE "firn.dev/pause-reconciliation"
#define LABEL_ROLE                                                                                 \
    "firn.dev/role" /* capture: a Connector's Pod; ingest: a unit's; drop: a Job's                 \
                     */
#define LABEL_TABLE "firn.dev/table" /* of a Job's Pod: the LakeTable whose table it drops */
#define NAME_BYTES_MAX 64            /* with the NUL */
#define AGENT_PORT 8080
#define MAINTAIN_PORT 8081

/* --- names.c --- */

/* A DNS label of at most 63 bytes: what was cut or changed gets a hash of the whole behind it. */
void name_of_child(const char *name, const char *suffix, char ret[NAME_BYTES_MAX]);
/* A label's value, likewise. */
void name_of_label(const char *name, char ret[NAME_BYTES_MAX]);
uint64_t hash_of_text(const char *text);
#define HASH_BYTES 17 /* with the NUL */
/* The same in hexadecimal, as annotations have it. */
void hash_as_text(const char *text, char ret[HASH_BYTES]);

/* --- bundle.c --- */

typedef struct Verdict {
    char *object; /* "IngestionUnit/orders", "LakeTable/orders", "Connector/shop" */
    char *message;
} Verdict;
typedef struct Bundle {
    char *text; /* NULL: the Connector itself is refused */
    char hash[HASH_BYTES];
    Verdict *verdicts; /* of those that had to be left out, or of the Connector */
    size_t verdict_count;
    size_t units;   /* that are in it */
    bool maintains; /* a table of it asks for that */
} Bundle;
void bundle_done(Bundle *bundle);
/* units: an array of those that name the connector, which is NULL where one reads a topic of
 * somebody else's; tables: those that they name, by their names, none that is being deleted (a unit
 * whose table is not among them is left out). What the agent would refuse is left out, the younger
 * of two that can't stand side by side, so that one mistake stops one unit and not its neighbours.
 */
void bundle_make(const json_t *connector, const json_t *units, const json_t *tables, Bundle *ret);
/* A LakeTable alone, as `firn-agent drop` reads it; the caller's. */
char *bundle_of_table(const json_t *table);
/* Whether such a text holds an object. */
bool bundle_holds(const char *text, const char *kind, const char *name);
/* Whether it holds a unit that is not among these. */
bool bundle_holds_others(const char *text, const json_t *units);
/* NULL: nothing is wrong with it. */
const char *bundle_verdict(const Bundle *bundle, const char *kind, const char *name);
/* The names of all Secrets that the text's objects refer to, sorted, each once: an array of texts.
 */
json_t *bundle_secrets(const json_t *connector, const json_t *units, const json_t *tables);

/* --- pod.c, children.c --- */

typedef struct AgentDefaults {
    const char *image, *pull_policy;
} AgentDefaults;

typedef struct ConnectorInput {
    const json_t *connector;
    const char *manifest, *manifest_hash;
    bool maintains;        /* tables, in a container beside */
    const json_t *secrets; /* array of names */
    const char *secrets_hash;
    const AgentDefaults *defaults;
    const char *channel_host, *channel_trust; /* where to report, and its CA; NULL: nowhere */
    uint16_t channel_port;
    const char *orders; /* what is asked of a process that begins */
} ConnectorInput;
/* ServiceAccount, ConfigMap, Service, PodDisruptionBudget, NetworkPolicy, Deployment. The caller's.
 */
json_t *desired_of_connector(const ConnectorInput *input);
/* The same of a unit that is filled from a topic: one Pod for each consumer. `connector` is still
 * the one it belongs to, or NULL. */
json_t *desired_of_unit(const ConnectorInput *input, const json_t *unit);
/* Whether a unit has Pods of its own: with a topic in between. */
bool unit_has_pods(const json_t *unit, const json_t *connector);

/* --- drop.c --- */

/* ConfigMap and Job; not owned by the Connector, which is going: whoever makes them removes them.
 */
json_t *desired_drop(const ConnectorInput *input);

/* Likewise, of a LakeTable. `input`: its manifest, Secrets, and as the Connector what has the
 * spec.agent of the Pods that reached it. */
json_t *desired_drop_table(const ConnectorInput *input, const json_t *table);

/* --- lake_table.c --- */

/* Its outsourcingUnit is one table, not a pattern of them. */
bool unit_makes_table(const json_t *unit);
/* NULL: it makes none, or its source's name can't be read. */
json_t *desired_lake_table(const json_t *unit);

/* --- overlay.c --- */

/* Lays `over` onto `base`: mappings key by key (null removes), lists of things with a name (of
 * mounts, a path) one by one, everything else whole. */
void overlay(json_t *base, const json_t *over);
/* Whether everything that `wanted` says stands in `live`, which may say more. */
bool overlay_holds(const json_t *live, const json_t *wanted);

/* --- inside --- */

/* What json_pack made of a form of ours, which has to be right. */
static inline json_t *packed(json_t *value)
{
    ASSERT(value);
    return value;
}

typedef struct PodInput {
    const ConnectorInput *from;
    const char *name, *role, *command;
    const json_t *owner;  /* the resource that it is made for; NULL: the Connector */
    const json_t *labels; /* the selector's */
} PodInput;
json_t *pod_template(const PodInput *input);
json_t *pod_probe(const char *path, const char *port, int period_s, int failures);
/* Puts the container that maintains tables beside the agent's, which it is like in all that was
 * laid over that; without it, what was laid over it goes, too. */
void sidecar_put(json_t *template, bool maintains);
json_t *child_object(Kind kind, const json_t *owner, const char *name, const json_t *labels);
