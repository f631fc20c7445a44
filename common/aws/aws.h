/* What all of Amazon's protocols share: keys, where they come from, and Signature Version 4.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 *
 *   sign.c         the canonical request and its signature (OpenSSL)
 *   credentials.c  static keys, and keys that expire and are fetched anew in time
 *   sources.c      the places such keys come from (STS, container, instance) */
#pragma once

#include "common/http/http_client.h"

typedef struct AwsKeys {
    char *access_key;
    char *secret_key;
    char *session_token; /* NULL: long-lived keys */
    int64_t expires_us;  /* wall clock; 0: never */
} AwsKeys;
void aws_keys_done(AwsKeys *keys); /* wipes */

/* ---------- where keys come from ---------- */
typedef struct AwsCredentials AwsCredentials; /* thread-safe; fetches anew before keys expire */

void aws_credentials_free(AwsCredentials *credentials);
/* Copies. */
AwsCredentials *aws_credentials_static(const AwsKeys *keys) OWNED_BY(aws_credentials_free);
/* The first that the environment offers: AWS_ACCESS_KEY_ID …, web identity as on EKS
 * (AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN), container (AWS_CONTAINER_CREDENTIALS_FULL_URI or
 * _RELATIVE_URI with its token), instance metadata (IMDSv2; not with AWS_EC2_METADATA_DISABLED).
 * The client outlives it. Nothing is asked before the first aws_credentials_get. */
AwsCredentials *aws_credentials_chain(HttpClient *client, const char *region)
    OWNED_BY(aws_credentials_free);
/* Keys that somebody else vends: fetch fills *ret (owned by the credentials), from any thread, one
 * at a time. */
typedef bool AwsFetch(void *context, AwsKeys *ret, Error *err);
AwsCredentials *aws_credentials_vended(AwsFetch *fetch, void *context)
    OWNED_BY(aws_credentials_free);
/* A copy of keys that are good for at least a minute; wipe with aws_keys_done. CONFIG
 * "NoCredentials" names everything that was looked at; RETRY when a source does not answer. */
MUST_CHECK bool aws_credentials_get(AwsCredentials *credentials, AwsKeys *ret, Error *err);
/* The server said they are no good any more (ExpiredToken): the next get fetches anew. */
void aws_credentials_refuse(AwsCredentials *credentials);

/* "2026-01-31T10:00:00Z", with a fraction or without, or HTTP's "Sat, 31 Jan 2026 10:00:00 GMT", in
 * wall clock microseconds. */
MUST_CHECK bool aws_time_parse(const char *text, int64_t *ret_us);

/* ---------- Signature Version 4 ---------- */
typedef struct AwsSigning {
    const AwsKeys *keys;
    const char *region;
    const char *service;      /* "s3", "execute-api", "glue", "dynamodb" */
    const char *payload_hash; /* hex SHA-256 of the body, "UNSIGNED-PAYLOAD", or NULL: computed */
    int64_t now_us;           /* wall clock, corrected by what the server's Date told */
} AwsSigning;

/* Calls put(context, name, value) for each header to add (authorization, x-amz-date,
 * x-amz-security-token, x-amz-content-sha256): all of the request's own headers are signed, with
 * host. The request's URL must be escaped as it goes out; for every service but s3 its path is
 * escaped once more in the canonical form, as the specification wants. */
typedef void AwsHeader(void *context, const char *name, const char *value);
void aws_sign(const AwsSigning *signing, const HttpRequest *request, AwsHeader *put, void *context);

DEFINE_AUTO(AwsCredentials, aws_credentials_free);
