/* The Kubernetes API over libcurl and jansson: single requests, and lists that are followed by
 * watches.
 *
 *   config.c      who and where: a kubeconfig, or a Pod's ServiceAccount
 *   transport.c   one request; tokens and CAs read again, 429 and Retry-After obeyed
 *   kinds.c       the kinds that the operator knows, and their paths
 *   watch.c       list in chunks, watch with bookmarks, 410 lists again, back-off
 *   head.c        what is told, or changed, in an object's text without reading it
 *   objects.c     reading metadata
 *   trees.c       where jansson's trees are made
 *
 * Errors: code is the API's own reason ("NotFound", "Conflict", "AlreadyExists", "Forbidden",
 * "Invalid", …), or "NamespaceTerminating" where that is the cause. RETRY what may pass (429, 5xx,
 * connection), CONFLICT 409 Conflict, CONFIG the rest. Messages never hold a token or a body that
 * was sent.
 *
 * https://kubernetes.io/docs/reference/using-api/api-concepts */
#pragma once

#include <jansson.h>
#include <stdatomic.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/json/text.h"

#define API_FIELD_MANAGER "firn-operator"

/* --- config.c --- */

typedef struct ApiConfig {
    char *server; /* https://host:port, no slash at the end */
    char *namespace_name;
    char *ca_pem, *ca_file;   /* of both the file, which is read again; NULL: the system's */
    char *token, *token_file; /* likewise */
    char *client_pem, *client_key_pem;
    char *server_name; /* in the certificate, and asked for with TLS; NULL: the server's host */
} ApiConfig;
void api_config_free(ApiConfig *config); /* wipes what is secret; NULL is fine */
/* kubeconfig NULL: those of KUBECONFIG, else the Pod's ServiceAccount, else ~/.kube/config. CONFIG
 * "BadKubeconfig" names file and field. */
MUST_CHECK bool api_config_load(const char *kubeconfig, ApiConfig **ret, Error *err);
/* Of a kubeconfig's text; `file` for messages, and for what it names relative to itself. */
MUST_CHECK bool api_config_parse(const char *file, const char *text, size_t bytes, ApiConfig **ret,
                                 Error *err);
DEFINE_AUTO(ApiConfig, api_config_free);
/* What a "…-data" field of a kubeconfig, or a Secret's value, is in base64; NULL: it is none. The
 * caller's. */
char *api_base64(const char *text);

/* --- transport.c --- */

typedef struct Api Api;
void api_free(Api *api); /* no request may be under way */
Api *api_new(ApiConfig *config /* taken */) OWNED_BY(api_free);
/* Ends waits and watches, from any thread; requests that are made afterwards fail at once. */
void api_stop(Api *api);
bool api_stopping(const Api *api);
/* Asked, from any thread, before anything is written, before it is sent once more, and each second
 * while it is under way: what may not be any more is broken off. NULL (at first): all may. */
typedef bool ApiGuard(const void *context);
void api_guard(Api *api, ApiGuard *may_write, const void *context);
/* Sleeps; false when it was stopped meanwhile. */
bool api_sleep(Api *api, int64_t us);

typedef enum ApiBody { API_JSON, API_APPLY, API_MERGE_PATCH } ApiBody;
typedef struct ApiRequest {
    const char *method;
    const char *path;   /* "/apis/apps/v1/namespaces/a/deployments/b?x=y", escaped */
    const json_t *body; /* NULL: none */
    ApiBody body_kind;
    bool metadata_only; /* PartialObjectMetadata is asked for */
    bool unguarded;     /* it asks with a body, or is how the guard comes to know */
    int64_t timeout_us; /* 0: 30 s */
    int64_t *wait_us;   /* NULL is fine: after false, for how long the server is to be left alone */
} ApiRequest;
/* *ret (NULL is fine): the answer's object, the caller's; NULL after false. A 429, and a 5xx with
 * Retry-After, is asked again as the server says, for as long as the request's time limit. RETRY
 * "NotLeader": by the guard. */
MUST_CHECK bool api_call(Api *api, const ApiRequest *request, json_t **ret, Error *err);

/* For watch.c: the answer's body is given away piece by piece until `take` returns false or the
 * server ends it. *ret_status is 0 when there was no answer; *ret_wait_us as above. */
typedef bool ApiTake(void *context, const char *data, size_t bytes);
MUST_CHECK bool api_stream(Api *api, const char *path, bool metadata_only, ApiTake *take,
                           void *context, int *ret_status, int64_t *ret_wait_us, Error *err);
/* A failed answer as an error: `what` is "GET /api/…". */
bool api_error(Error *err, const char *what, int status, const json_t *answer);

/* --- kinds.c --- */

typedef enum Kind {
    KIND_CONNECTOR,
    KIND_LAKE_TABLE,
    KIND_UNIT,
    KIND_DEPLOYMENT,
    KIND_POD,
    KIND_JOB,
    KIND_SECRET,
    KIND_CONFIG_MAP,
    KIND_SERVICE_ACCOUNT,
    KIND_SERVICE,
    KIND_DISRUPTION_BUDGET,
    KIND_NETWORK_POLICY,
    KIND_COUNT
} Kind;
typedef struct KindInfo {
    const char *api_version, *name, *plural;
    const char *path; /* "/apis/apps/v1" */
    bool owned;       /* only those with the operator's label are watched */
    bool metadata_only;
} KindInfo;
extern const KindInfo kinds[KIND_COUNT];
/* KIND_COUNT: none of them. */
Kind kind_of(const json_t *object);
/* The path of an object, or (name NULL) of all of a namespace, or (both NULL) of all. `more` is put
 * behind ("/status", "?force=true", or ""). The caller's. */
char *kind_path(Kind kind, const char *namespace_name, const char *name, const char *more);
#define LABEL_MANAGED_BY "app.kubernetes.io/managed-by"
#define LABEL_MANAGED_BY_VALUE "firn-operator"

/* Server-side apply of a whole object under the operator's field manager, taking fields over from
 * others. *ret NULL is fine. */
MUST_CHECK bool api_apply(Api *api, const json_t *object, json_t **ret, Error *err);
/* Likewise of what is not there yet. CONFLICT: something is, or this server takes it so. */
MUST_CHECK bool api_create(Api *api, const json_t *object, Error *err);
/* Likewise of a status; *ret has the metadata alone. */
MUST_CHECK bool api_apply_status(Api *api, const json_t *object, json_t **ret, Error *err);
/* Also true when it is not there. In the background. */
MUST_CHECK bool api_delete(Api *api, Kind kind, const char *namespace_name, const char *name,
                           Error *err);

/* --- objects.c: NULL, "" or 0 where it is not there --- */

const char *object_name(const json_t *object);
const char *object_namespace(const json_t *object);
const char *object_uid(const json_t *object);
const char *object_version(const json_t *object);
int64_t object_generation(const json_t *object);
bool object_is_deleted(const json_t *object); /* deletionTimestamp stands */
const char *object_label(const json_t *object, const char *name);
const char *object_annotation(const json_t *object, const char *name);
bool object_has_finalizer(const json_t *object, const char *name);
/* "spec.source.database" */
json_t *object_at(const json_t *object, const char *path);
const char *object_text(const json_t *object, const char *path);
/* The name of the LakeTable that an IngestionUnit names in this place: lakeTableRef's, or that of
 * each route, then its dead letters'. NULL: there are no more. */
const char *object_table(const json_t *unit, size_t at);
const json_t *object_controller(const json_t *object); /* the owner reference that is one */
/* Of a resource of ours: no status of it was written yet. */
bool object_is_new(const json_t *object);
/* By when they were made, then by namespace and name. */
bool object_is_elder(const json_t *one, const json_t *other);
/* What a Deployment says in numbers: asked for with each look. */
typedef struct DeploymentCounts {
    bool seen; /* the numbers are of what it is now */
    int wanted, replicas, updated, ready, available;
} DeploymentCounts;
DeploymentCounts deployment_counts(const json_t *deployment);
/* What is there neither before nor now is the same, too; to jansson it is not. */
bool json_same(const json_t *before, const json_t *now);
/* The whole object again, as kubectl apply leaves it there. */
#define ANNOTATION_APPLIED "kubectl.kubernetes.io/last-applied-configuration"
/* Nobody wants another thing of it: the same spec, the same annotations. */
bool object_same_wish(const json_t *before, const json_t *now);
/* --- trees.c --- */

/* Before any thread, and any tree. */
void trees_set_up(void);
/* What this thread's trees are until trees_end is gone after it, given back or not. For what is
 * small. What outlives it is made between trees_pause and trees_resume. */
void trees_begin(void);
void trees_end(void); /* nothing, if there was no beginning */
bool trees_pause(void);
void trees_resume(bool was);
/* The thread makes no more. */
void trees_done(void);
/* The whole object as compact JSON with sorted keys; the caller's. */
char *object_dump(const json_t *object);

/* --- head.c --- */

/* What is too long is "". */
typedef struct ObjectHead {
    char type[16]; /* of an event */
    char name[256], space[256], version[64];
    size_t cut_from, cut_bytes; /* metadata.managedFields, with its comma */
} ObjectHead;
/* Of an object's text, or an event's; false: it has no metadata with a name. */
bool object_head(const char *text, size_t bytes, ObjectHead *ret);
/* The object, or the event, without managedFields; the text is used up. NULL: it is no JSON. A NUL
 * is U+FFFD, so that no text ends early. The caller's. */
json_t *object_read(char *text, size_t bytes, const ObjectHead *head);
/* Puts another value, as JSON, where the path leads, names that end with NULL. *text is the
 * caller's, and another then. False: there is no such place. */
bool object_replace(char **text, const char *const *path, const char *by);

/* --- watch.c --- */

typedef struct WatchTaker {
    void (*list_begins)(void *context, Kind kind);
    /* Whether this very version was told, or put there by who wrote it: then `changed` is not
     * called. */
    bool (*known)(void *context, Kind kind, const ObjectHead *head);
    void (*changed)(void *context, Kind kind, json_t *object); /* of a list, added, modified */
    void (*deleted)(void *context, Kind kind, json_t *object);
    /* What was not named since list_begins is gone. First of all: the kind is known. */
    void (*list_ended)(void *context, Kind kind);
    void *context;
} WatchTaker;
typedef struct WatchFigures {
    atomic_uint_fast64_t lists, watches, failures, events;
} WatchFigures;
/* Runs until api_stop. namespace_name NULL: all. Failures are waited out and logged. */
void api_watch(Api *api, Kind kind, const char *namespace_name, const WatchTaker *taker,
               WatchFigures *figures);

DEFINE_AUTO(Api, api_free);
static inline void json_free_auto(json_t **at)
{
    json_decref(*at);
}
static inline void json_free(json_t *value) /* for AUTO(json_free) */
{
    json_decref(value);
}
