/* Keys that are there when they are asked for. Keys that expire are fetched anew five minutes
 * before they do: one thread fetches, the others go on with the old ones as long as these are good
 * for another minute, and wait otherwise. */
#include "common/aws/aws.h"

#include <openssl/crypto.h>
#include <pthread.h>

#include "common/aws/sources.h"
#include "common/clock.h"
#include "common/mem.h"

#define GOOD_FOR_US INT64_C(60000000)
#define REFRESH_US (5 * INT64_C(60000000))
#define FAILED_PAUSE_US INT64_C(10000000) /* between attempts while the old keys are still good */

struct AwsCredentials {
    pthread_mutex_t lock;
    pthread_cond_t fetched;
    AwsFetch *fetch; /* NULL: static */
    void *context;
    AwsSource source; /* of the chain */
    char *region;
    AwsKeys keys;
    bool have;
    bool fetching;
    uint64_t rounds;       /* of fetching that ended */
    int64_t not_before_us; /* monotonic: no attempt ahead of need before */
    Error failed;          /* of the last round, when it did */
    bool last_failed;
};

static void wipe(char *text)
{
    if (text)
        OPENSSL_cleanse(text, strlen(text));
    free(text);
}

void aws_keys_done(AwsKeys *keys)
{
    wipe(keys->access_key);
    wipe(keys->secret_key);
    wipe(keys->session_token);
    *keys = (AwsKeys){0};
}

static AwsKeys copy_of(const AwsKeys *keys)
{
    return (AwsKeys){.access_key = mem_strdup(keys->access_key),
                     .secret_key = mem_strdup(keys->secret_key),
                     .session_token = keys->session_token ? mem_strdup(keys->session_token) : NULL,
                     .expires_us = keys->expires_us};
}

static AwsCredentials *credentials_new(AwsFetch *fetch, void *context)
{
    AwsCredentials *credentials = mem_zalloc(sizeof *credentials);
    pthread_mutex_init(&credentials->lock, NULL);
    pthread_cond_init(&credentials->fetched, NULL);
    credentials->fetch = fetch;
    credentials->context = context;
    return credentials;
}

void aws_credentials_free(AwsCredentials *credentials)
{
    if (!credentials)
        return;
    ASSERT(!credentials->fetching);
    aws_keys_done(&credentials->keys);
    pthread_cond_destroy(&credentials->fetched);
    pthread_mutex_destroy(&credentials->lock);
    free(credentials->region);
    free(credentials);
}

AwsCredentials *aws_credentials_static(const AwsKeys *keys)
{
    AwsCredentials *credentials = credentials_new(NULL, NULL);
    credentials->keys = copy_of(keys);
    credentials->have = true;
    return credentials;
}

AwsCredentials *aws_credentials_vended(AwsFetch *fetch, void *context)
{
    return credentials_new(fetch, context);
}

static bool fetch_from_chain(void *context, AwsKeys *ret, Error *err)
{
    static AwsLook *const places[] = {aws_from_environment, aws_from_web_identity,
                                      aws_from_container, aws_from_instance};
    const AwsCredentials *credentials = context;
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        bool found = false;
        bool ok = places[i](&credentials->source, &found, ret, err);
        if (found)
            return ok || error_wrap(err, "AWS credentials");
    }
    return error_set(
        err, ERROR_CONFIG, "NoCredentials",
        "no AWS credentials: neither AWS_ACCESS_KEY_ID, nor AWS_WEB_IDENTITY_TOKEN_FILE "
        "with AWS_ROLE_ARN, nor AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI are "
        "set, and no instance metadata with a role answers; name a Secret in "
        "spec.storage.credentialsSecretRef or set one of these");
}

AwsCredentials *aws_credentials_chain(HttpClient *client, const char *region)
{
    AwsCredentials *credentials = credentials_new(fetch_from_chain, NULL);
    credentials->context = credentials;
    credentials->region = mem_strdup(region);
    credentials->source = (AwsSource){client, credentials->region};
    return credentials;
}

static bool good_for(const AwsCredentials *credentials, int64_t us)
{
    return credentials->have &&
           (!credentials->keys.expires_us || credentials->keys.expires_us - clock_wall_us() >= us);
}

/* With the lock held, which it gives away while the source is asked. */
static void fetch_round(AwsCredentials *credentials)
{
    AwsKeys keys = {0};
    Error failed = {0};
    credentials->fetching = true;
    pthread_mutex_unlock(&credentials->lock);
    bool ok = credentials->fetch(credentials->context, &keys, &failed);
    if (ok && keys.expires_us && keys.expires_us - clock_wall_us() < GOOD_FOR_US) {
        aws_keys_done(&keys);
        ok = error_set(&failed, ERROR_RETRY, "CredentialsUnavailable",
                       "the AWS credentials just fetched expire within a minute: is the clock "
                       "right?");
    }
    pthread_mutex_lock(&credentials->lock);
    credentials->fetching = false;
    credentials->rounds++;
    credentials->last_failed = !ok;
    if (ok) {
        aws_keys_done(&credentials->keys);
        credentials->keys = keys;
        credentials->have = true;
    } else {
        credentials->failed = failed;
        credentials->not_before_us = clock_mono_us() + FAILED_PAUSE_US;
    }
    pthread_cond_broadcast(&credentials->fetched);
}

bool aws_credentials_get(AwsCredentials *credentials, AwsKeys *ret, Error *err)
{
    pthread_mutex_lock(&credentials->lock);
    bool fresh = !credentials->fetch || good_for(credentials, REFRESH_US);
    bool good = !credentials->fetch || good_for(credentials, GOOD_FOR_US);
    if (good && !fresh && !credentials->fetching && clock_mono_us() >= credentials->not_before_us) {
        fetch_round(credentials);
    } else if (!good) {
        uint64_t before = credentials->rounds;
        if (!credentials->fetching)
            fetch_round(credentials);
        while (credentials->rounds == before)
            pthread_cond_wait(&credentials->fetched, &credentials->lock);
    }
    bool ok = !credentials->fetch || good_for(credentials, GOOD_FOR_US);
    if (ok)
        *ret = copy_of(&credentials->keys);
    else if (err && credentials->last_failed)
        *err = credentials->failed;
    else
        error_set(err, ERROR_RETRY, "CredentialsUnavailable",
                  "the AWS credentials were refused while they were fetched");
    pthread_mutex_unlock(&credentials->lock);
    return ok;
}

void aws_credentials_refuse(AwsCredentials *credentials)
{
    pthread_mutex_lock(&credentials->lock);
    if (credentials->fetch && !credentials->fetching) /* what is being fetched is newer */
        credentials->have = false;
    pthread_mutex_unlock(&credentials->lock);
}
