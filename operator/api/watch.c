/* One kind, in all namespaces or in one: listed in chunks, then watched from the list's version.
 * Bookmarks move that version on while nothing happens, so that a watch that ended goes on where it
 * was. 410 (etcd has forgotten the version) lists again; what the list no longer names is gone.
 * A thread of its own for each, blocking. */
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "operator/api/api.h"

#define CHUNK 500
#define LINE_BYTES_MAX ((size_t)8 << 20)
#define PAUSE_US_LEAST 200000
#define PAUSE_US_MOST 10000000

typedef struct Watch {
    Api *api;
    Kind kind;
    const char *namespace_name;
    const WatchTaker *taker;
    WatchFigures *figures;
    char version[64]; /* "": a list is needed */
    Bytes line;
    bool expired, odd;
    uint64_t seen;   /* events of this watch, bookmarks too */
    int64_t wait_us; /* the server asked to be left alone; 0: it did not */
} Watch;

static void keep_version(Watch *watch, const char *version)
{
    if (version && strlen(version) < sizeof watch->version)
        snprintf(watch->version, sizeof watch->version, "%s", version);
}

static const char *selector(const Watch *watch)
{
    return kinds[watch->kind].owned ? "&labelSelector="
                                      "app.kubernetes.io%2Fmanaged-by%3D" LABEL_MANAGED_BY_VALUE
                                    : "";
}

static bool list_chunk(Watch *watch, char **token, Error *err)
{
    AUTO(mem_free)
    char *more = mem_format("?limit=%d%s%s%s", CHUNK, *token ? "&continue=" : "",
                            *token ? *token : "", selector(watch));
    AUTO(mem_free) char *path = kind_path(watch->kind, watch->namespace_name, NULL, more);
    ApiRequest request = {.method = "GET",
                          .path = path,
                          .metadata_only = kinds[watch->kind].metadata_only,
                          .wait_us = &watch->wait_us};
    AUTO(json_free) json_t *list = NULL;
    if (!api_call(watch->api, &request, &list, err))
        return false;
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(list, "items"), i, item)
    {
        /* The items of a typed list leave out what the list says. */
        json_object_set_new(item, "apiVersion", json_string(kinds[watch->kind].api_version));
        json_object_set_new(item, "kind", json_string(kinds[watch->kind].name));
        watch->taker->changed(watch->taker->context, watch->kind, item);
    }
    keep_version(watch, object_version(list));
    free(*token);
    const char *next = object_text(list, "metadata.continue");
    *token = next && *next ? mem_strdup(next) : NULL;
    for (char *at = *token; at && *at; at++) /* base64url, but who knows */
        ASSERT(*at != '&' && *at != '#' && *at > ' ');
    return true;
}

static bool list_all(Watch *watch, Error *err)
{
    char *token = NULL;
    bool ok = true;
    watch->version[0] = '\0';
    watch->taker->list_begins(watch->taker->context, watch->kind);
    do
        ok = list_chunk(watch, &token, err);
    while (ok && token);
    free(token);
    if (!ok) {
        watch->version[0] = '\0';
        return false;
    }
    watch->taker->list_ended(watch->taker->context, watch->kind);
    atomic_fetch_add(&watch->figures->lists, 1);
    return true;
}

/* False ends the watch. */
static bool take_event(Watch *watch, char *text, size_t bytes)
{
    ObjectHead head;
    if (object_head(text, bytes, &head) && strcmp(head.type, "MODIFIED") == 0 &&
        watch->taker->known(watch->taker->context, watch->kind, &head)) {
        watch->seen++;
        atomic_fetch_add(&watch->figures->events, 1);
        keep_version(watch, head.version);
        return true;
    }
    AUTO(json_free) json_t *event = object_read(text, bytes, &head);
    const char *type = json_string_value(json_object_get(event, "type"));
    json_t *object = json_object_get(event, "object");
    if (!type || !object) {
        watch->odd = true;
        return false;
    }
    watch->seen++;
    if (strcmp(type, "ERROR") == 0) {
        watch->expired = json_integer_value(json_object_get(object, "code")) == 410;
        watch->odd = !watch->expired;
        return false;
    }
    if (strcmp(type, "BOOKMARK") != 0) {
        json_object_set_new(object, "apiVersion", json_string(kinds[watch->kind].api_version));
        json_object_set_new(object, "kind", json_string(kinds[watch->kind].name));
        atomic_fetch_add(&watch->figures->events, 1);
        if (strcmp(type, "DELETED") == 0)
            watch->taker->deleted(watch->taker->context, watch->kind, object);
        else
            watch->taker->changed(watch->taker->context, watch->kind, object);
    }
    keep_version(watch, object_version(object));
    return true;
}

static bool take_lines(void *context, const char *data, size_t bytes)
{
    Watch *watch = context;
    if (bytes > LINE_BYTES_MAX - watch->line.used) {
        watch->odd = true;
        return false;
    }
    bytes_put(&watch->line, data, bytes);
    size_t from = 0;
    bool go_on = true;
    while (go_on) {
        uint8_t *start = watch->line.data + from;
        const uint8_t *end = memchr(start, '\n', watch->line.used - from);
        if (!end)
            break;
        if (end > start)
            go_on = take_event(watch, (char *)start, (size_t)(end - start));
        from += (size_t)(end - start) + 1;
    }
    memmove(watch->line.data, watch->line.data + from, watch->line.used - from);
    watch->line.used -= from;
    if (watch->line.held > 1 << 20 && !watch->line.used)
        bytes_done(&watch->line);
    return go_on;
}

/* True: the server ended it, as it does after some minutes. */
static bool watch_once(Watch *watch, Error *err)
{
    int status;
    /* Not all of them at the same second. */
    int64_t seconds = 300 + clock_mono_us() % 240;
    AUTO(mem_free)
    char *more = mem_format("?watch=1&allowWatchBookmarks=true&timeoutSeconds=%lld"
                            "&resourceVersion=%s%s",
                            (long long)seconds, watch->version, selector(watch));
    AUTO(mem_free) char *path = kind_path(watch->kind, watch->namespace_name, NULL, more);
    watch->expired = watch->odd = false;
    watch->seen = 0;
    bytes_clear(&watch->line);
    atomic_fetch_add(&watch->figures->watches, 1);
    bool ok = api_stream(watch->api, path, kinds[watch->kind].metadata_only, take_lines, watch,
                         &status, &watch->wait_us, err);
    if (watch->expired || status == 410) {
        watch->version[0] = '\0';
        return true;
    }
    if (watch->odd) {
        watch->version[0] = '\0';
        return error_set(err, ERROR_RETRY, "BadWatch", "the watch of %s said what is no event",
                         kinds[watch->kind].plural);
    }
    return ok;
}

void api_watch(Api *api, Kind kind, const char *namespace_name, const WatchTaker *taker,
               WatchFigures *figures)
{
    Watch watch = {.api = api,
                   .kind = kind,
                   .namespace_name = namespace_name,
                   .taker = taker,
                   .figures = figures};
    int64_t pause_us = PAUSE_US_LEAST;
    while (!api_stopping(api)) {
        Error err = {0};
        bool ok = watch.version[0] ? watch_once(&watch, &err) : list_all(&watch, &err);
        if (api_stopping(api))
            break;
        if (ok) {
            pause_us = PAUSE_US_LEAST;
            continue;
        }
        if (watch.seen)
            pause_us = PAUSE_US_LEAST;
        watch.seen = 0;
        atomic_fetch_add(&figures->failures, 1);
        int64_t sleep_us = watch.wait_us > pause_us ? watch.wait_us : pause_us;
        log_warn("watch interrupted", LOG_T("kind", kinds[kind].name), LOG_T("reason", err.code),
                 LOG_T("error", err.message), LOG_I("again_ms", sleep_us / 1000));
        /* What is refused for good as a version is listed anew. */
        if (err.kind == ERROR_CONFIG)
            watch.version[0] = '\0';
        (void)api_sleep(api, sleep_us + clock_mono_us() % (pause_us / 4));
        pause_us = pause_us * 2 > PAUSE_US_MOST ? PAUSE_US_MOST : pause_us * 2;
    }
    bytes_done(&watch.line);
}
