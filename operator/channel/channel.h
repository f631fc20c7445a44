/* Where agents report: a WebSocket server with TLS that only who works (holds the lease) runs. Its
 * words are common/channel/channel.h's.
 *
 *   authority.c   the certificates: made, renewed, and the keys changed, without asking anybody
 *   secret.c      where they are kept: a Secret, ours or somebody else's
 *   review.c      whose token it is, as the API server says, kept for a short time
 *   orders.c      what is asked of agents, by whom they work for
 *   server.c      connections, their limits, and what is refused
 *
 * Who may say what: the token has to be meant for this (its audience) and bound to a Pod, and
 * whoever runs the server says whether that Pod is an agent's, and whose. While it is connected the
 * Pod is looked at again and again: one that is gone is not listened to. */
#pragma once

#include "common/channel/channel.h"
#include "operator/api/api.h"

/* --- authority.c --- */

/* As the Secret's keys. Certificates and keys are PEM. */
typedef struct Authority {
    char *ca;       /* ca.crt: all that agents are to trust, the one in use first */
    char *ca_key;   /* ca.key */
    char *next;     /* next.crt: trusted already, in use after a while */
    char *next_key; /* next.key */
    char *cert;     /* tls.crt */
    char *key;      /* tls.key */
} Authority;
void authority_done(Authority *authority); /* wipes the keys */
/* Makes what is missing, broken or used up for two thirds of its time; `host` is the name that
 * agents verify. Another CA is trusted for a day before its certificates are shown, and the one
 * before it for as long as it lives. True: something is new, and is to be kept. */
bool authority_renew(Authority *authority, const char *host, int64_t now_s);

/* --- secret.c --- */

typedef struct ChannelOptions {
    const char *address; /* to listen on */
    uint16_t port;       /* 0: a free one */
    const char *host;    /* a DNS name, that agents look for and verify */
    const char *secret_namespace, *secret_name;
    bool secret_is_foreign; /* tls.crt, tls.key and ca.crt are somebody else's: read, not written */
    unsigned connections_max; /* 0: 20000 */
    int64_t silence_us;       /* after which a connection is cut; 0: 30 s */
    int64_t keys_us;          /* between two looks at the Secret; 0: 10 min */
} ChannelOptions;
/* What stands in the Secret, or is put there. */
MUST_CHECK bool channel_secret(Api *api, const ChannelOptions *options, int64_t now_s,
                               Authority *ret, Error *err);

/* --- review.c --- */

typedef struct ChannelPod {
    char *namespace_name, *name, *uid, *account;
} ChannelPod;
void channel_pod_done(ChannelPod *pod);

typedef struct Reviews Reviews;
void reviews_free(Reviews *reviews);
Reviews *reviews_new(Api *api) OWNED_BY(reviews_free);
/* From any thread; waits for the API server. CONFIG "TokenRefused" (not one of this cluster's, not
 * valid, or meant for another), "NoPod" (of no Pod); RETRY when it could not be found out. */
MUST_CHECK bool reviews_pod(Reviews *reviews, const char *token, ChannelPod *ret, Error *err);

/* --- orders.c --- */

typedef struct OrderBook OrderBook;
void order_book_free(OrderBook *orders);
OrderBook *order_book_new(void) OWNED_BY(order_book_free);
/* Thread-safe. NULL: nothing is asked any more. False: that was known. */
bool order_book_set(OrderBook *orders, const char *owner, const ChannelOrders *asked);
/* A number that is another one whenever what is asked of the owner is; 0: nothing ever was. */
uint64_t order_book_version(OrderBook *orders, const char *owner);
/* Appends the message. */
void order_book_put(OrderBook *orders, const char *owner, Bytes *to);

/* --- server.c --- */

/* All are called from threads of the channel's, and must not call it. */
typedef struct ChannelTaker {
    /* Whose Pod it is: a text of the taker's, which the other calls get. False: not to be
     * listened to (CONFIG "ForeignPod"; RETRY: perhaps a little later). */
    bool (*admit)(void *context, const ChannelPod *pod, char **ret_owner, Error *err);
    /* Whether one that was admitted still is. *version (NULL at first; the caller's): what the Pod
     * was when this was asked last. */
    bool (*stands)(void *context, const ChannelPod *pod, const char *owner, char **version);
    void (*joined)(void *context, const char *owner, const char *pod);
    void (*said)(void *context, const char *owner, const char *pod, ChannelReport *report);
    void (*left)(void *context, const char *owner, const char *pod);
    void *context;
} ChannelTaker;

typedef struct Channel Channel;
void channel_stop(Channel *channel); /* NULL is fine; closes all and joins */
/* The Api and the options outlive it. RETRY, or CONFIG "AddressInUse", "BadAddress", "BadKeys". */
Channel *channel_start(Api *api, const ChannelOptions *options, const ChannelTaker *taker,
                       Error *err) OWNED_BY(channel_stop);
/* What is asked of an owner's processes, those that are connected and those to come; NULL: nothing
 * any more. From any thread. */
void channel_order(Channel *channel, const char *owner, const ChannelOrders *orders);
uint16_t channel_port(const Channel *channel);
/* What agents are to trust, as PEM; changes seldom. The caller's. */
char *channel_trust(Channel *channel);

DEFINE_AUTO(Channel, channel_stop);
