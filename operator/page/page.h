/* The live page: pipelines as a flow from source to table, for a browser, read-only.
 *
 *   server.c   HTTP and WebSocket, viewers and their limits
 *   access.c   who somebody is, and what he may see
 *   view.c     what there is to be seen: resources and what agents say, one text for each pipeline
 *   assets.c   the page itself: page.html, page.css, page.js, icon.svg
 *
 * Whoever opens the WebSocket says a Kubernetes token first, which the API server reviews; a token
 * is kept by the tab alone, there is no cookie, and so nothing that another site could use. Or a
 * proxy that has logged somebody in says the name in a header: off unless a header and the proxy's
 * address are declared, and believed from that address alone. What a viewer may not list he does
 * not see, namespace by namespace (SubjectAccessReview), looked at again each minute.
 *
 * Plain HTTP: it speaks to this machine (in a Pod: to kubectl port-forward) and to the declared
 * proxy, and to nobody else. The words, each a JSON object:
 *
 *   browser → page   {"token": "…"}, or {} behind a proxy
 *   page → browser   {"welcome": {"user": "…", "version": "…"}}
 *                    {"now": ms, "works": true, "whole": true, "pipelines": [{…}, …], "gone": […]}
 *
 * pipelines: those that are other than before; whole: all others are void. works: this is the
 * replica that agents report to. Who is refused is told by the close frame's reason. */
#pragma once

#include "operator/cache/cache.h"
#include "operator/reports/reports.h"

typedef struct PageOptions {
    const char *address; /* IPv4, to listen on */
    uint16_t port;       /* 0: a free one */
    const char *proxy;   /* its address; NULL: there is none */
    const char *user_header;
} PageOptions;

typedef struct PageSource {
    Cache *cache;
    Reports *reports;
    bool (*works)(void *context);
    void *context;
} PageSource;

typedef struct Page Page;
void page_stop(Page *page); /* NULL is fine; joins */
/* Api, options and source outlive it. CONFIG "AddressInUse", "BadAddress". */
Page *page_start(Api *api, const PageOptions *options, const PageSource *source, Error *err)
    OWNED_BY(page_stop);
uint16_t page_port(const Page *page);

/* --- inside --- */

/* access.c: both wait for the API server. CONFIG "TokenRefused"; RETRY. The user is Kubernetes' own
 * userInfo; the caller's. */
json_t *access_user_of(Api *api, const char *token, Error *err);
/* The names among `namespaces` of which he may list all that is shown; NULL: of all. The caller's.
 */
MUST_CHECK bool access_namespaces(Api *api, const json_t *user, const json_t *namespaces,
                                  json_t **ret, Error *err);

/* view.c */
typedef struct ViewItem {
    char *id;         /* "retail/shop" */
    char *text;       /* a JSON object; NULL: it went */
    uint64_t version; /* of the view, when it changed last */
    bool seen;        /* by the latest look */
} ViewItem;
typedef struct View {
    ViewItem *items;
    size_t count;
    uint64_t version;
} View;
void view_done(View *view);
void view_look(View *view, const PageSource *source);
/* Appends the message; since: the version that the viewer has (0: none). False: nothing is new. */
bool view_put(const View *view, uint64_t since, const json_t *namespaces, bool works, Bytes *to);
/* An object of the names of all namespaces with pipelines. */
json_t *view_namespaces(const PageSource *source);

/* assets.c */
typedef struct Asset {
    const char *path, *type;
    const char *begin, *end;
} Asset;
const Asset *asset_of(const char *path); /* NULL: none */
