/* The HTTP client every driver speaks through (libcurl): one complete request and answer at a time,
 * connections kept and reused, every limit stated. It knows no retries: whoever asks knows what may
 * be asked twice. (libcurl sends a GET or HEAD again when a kept connection turns out to be closed;
 * nothing else goes out twice.)
 *
 * A client may be used by several threads at once; each borrows a connection. TLS is verified
 * against the system's certificates or the given CA, never not at all. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

typedef struct HttpClient HttpClient;

typedef struct HttpClientOptions {
    const char *ca_pem;         /* PEM text of the CAs to trust instead of the system's; NULL */
    int64_t connect_timeout_ms; /* 0: 10 s */
    uint32_t connections_max;   /* kept open; 0: 16. Callers above it wait for one */
} HttpClientOptions;

void http_client_free(HttpClient *client); /* no request may be under way */
/* CONFIG "BadCertificate" when ca_pem holds none. */
HttpClient *http_client_new(const HttpClientOptions *options, Error *err)
    OWNED_BY(http_client_free);

typedef struct HttpHeader {
    const char *name;
    const char *value;
} HttpHeader;

typedef struct HttpRequest {
    const char *method; /* "GET", "PUT", … */
    const char *url;    /* whole and escaped; http:// or https:// */
    const HttpHeader *headers;
    size_t header_count;
    const void *body; /* NULL: none */
    size_t body_bytes;
    int64_t timeout_ms;      /* for all of it; 0: 60 s. Less than 1 KiB/s for 30 s ends it too */
    bool patient;            /* however slowly: the server may think for all of timeout_ms */
    size_t answer_bytes_max; /* of the answer's body; 0: 64 MiB; above: DATA "AnswerTooLarge" */
} HttpRequest;

typedef struct HttpAnswer {
    int status;    /* 100 … 599 */
    Bytes body;    /* appended to what is there */
    Bytes headers; /* as received, for http_answer_header */
} HttpAnswer;
void http_answer_done(HttpAnswer *answer);
/* Of the final answer; name in any case. Caller frees; NULL: not there. */
char *http_answer_header(const HttpAnswer *answer, const char *name) OWNED_BY(free);

/* True: an answer came whole, whatever its status (redirects are not followed). False: RETRY
 * "Unreachable" (surely not sent: no address, refused, TLS), RETRY "AnswerLost" (sent, perhaps
 * carried out: reset, timeout, cut short), CONFIG "BadCertificate". Messages name method, host and
 * path, never a query or a header. */
MUST_CHECK bool http_send(HttpClient *client, const HttpRequest *request, HttpAnswer *ret,
                          Error *err);

/* Percent-encodes everything but unreserved characters (RFC 3986) and those of `keep`. */
char *http_escape(const char *text, const char *keep) OWNED_BY(free);

DEFINE_AUTO(HttpClient, http_client_free);
