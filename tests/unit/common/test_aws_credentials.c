/* links: firn_common */
/* Keys from every source, each played by a scripted server. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <time.h>

#include "common/aws/aws.h"
#include "common/clock.h"
#include "common/thread.h"
#include "tests/unit/http_script.h"

static const char *const variables[] = {"AWS_ACCESS_KEY_ID",
                                        "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",
                                        "AWS_WEB_IDENTITY_TOKEN_FILE",
                                        "AWS_ROLE_ARN",
                                        "AWS_ROLE_SESSION_NAME",
                                        "AWS_ENDPOINT_URL_STS",
                                        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                                        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
                                        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                                        "AWS_EC2_METADATA_SERVICE_ENDPOINT"};

typedef struct Source {
    Script *script;
    atomic_int status;
    atomic_int life_s;
    atomic_int asked; /* answers with keys */
    const char *body; /* instead of keys */
    bool no_role;
} Source;

static char *expiry(const Source *source)
{
    char text[40];
    time_t at = time(NULL) + atomic_load(&source->life_s);
    struct tm utc;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&at, &utc));
    return mem_strdup(text);
}

static void reply_keys(Source *source, bool xml, Bytes *reply)
{
    int number = atomic_fetch_add(&source->asked, 1) + 1;
    AUTO(mem_free) char *expires = expiry(source);
    AUTO(mem_free)
    char *body = xml ? mem_format("<AssumeRoleWithWebIdentityResponse "
                                  "xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
                                  "<AssumeRoleWithWebIdentityResult><Credentials>"
                                  "<AccessKeyId>AK%d</AccessKeyId>"
                                  "<SecretAccessKey>s&lt;3</SecretAccessKey>"
                                  "<SessionToken>t0ken</SessionToken><Expiration>%s</Expiration>"
                                  "</Credentials></AssumeRoleWithWebIdentityResult>"
                                  "</AssumeRoleWithWebIdentityResponse>",
                                  number, expires)
                     : mem_format("{\"Code\":\"Success\",\"AccessKeyId\":\"AK%d\","
                                  "\"SecretAccessKey\":\"s<3\",\"Token\":\"t0ken\","
                                  "\"Expiration\":\"%s\"}",
                                  number, expires);
    int status = atomic_load(&source->status);
    if (source->body)
        reply_with(reply, status, "", source->body, strlen(source->body));
    else
        reply_with(reply, status, "", body, strlen(body));
}

#define ROLE "arn:aws:iam::1:role/lake"
static Then play(void *context, const Asked *asked, Bytes *reply)
{
    Source *source = context;
    const char *token = asked_header(asked, "x-aws-ec2-metadata-token");
    const char *authorization = asked_header(asked, "authorization");
    bool known = token && strcmp(token, "imds-token") == 0;
    if (strcmp(asked->target, "/sts/") == 0 && strcmp(asked->method, "POST") == 0) {
        bool right = strstr((char *)asked->body.data,
                            "&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Flake&RoleSessionName=firn"
                            "&WebIdentityToken=ey.jw%2Bt") != NULL;
        if (right)
            reply_keys(source, true, reply);
        else
            reply_with(reply, 400, "", "wrong", 5);
    } else if (strcmp(asked->target, "/container") == 0 && authorization &&
               strcmp(authorization, "pod-token") == 0) {
        reply_keys(source, false, reply);
    } else if (strcmp(asked->target, "/latest/api/token") == 0 &&
               strcmp(asked->method, "PUT") == 0 &&
               asked_header(asked, "x-aws-ec2-metadata-token-ttl-seconds")) {
        reply_with(reply, 200, "", "imds-token", 10);
    } else if (known && !source->no_role &&
               strcmp(asked->target, "/latest/meta-data/iam/security-credentials/") == 0) {
        reply_with(reply, 200, "", "lake-role\n", 10);
    } else if (known &&
               strcmp(asked->target, "/latest/meta-data/iam/security-credentials/lake-role") == 0) {
        reply_keys(source, false, reply);
    } else {
        reply_with(reply, 404, "", "", 0);
    }
    return THEN_KEEP;
}

typedef struct World {
    Source source;
    HttpClient *client;
    AwsCredentials *credentials;
    char file[40];
} World;

static void set_url(const World *world, const char *variable, const char *path)
{
    AUTO(mem_free)
    char *url = mem_format("http://127.0.0.1:%u%s", world->source.script->port, path);
    setenv(variable, url, 1);
}

static int setup(void **state)
{
    Error err = {0};
    World *world = mem_zalloc(sizeof *world);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        unsetenv(variables[i]);
    atomic_store(&world->source.status, 200);
    atomic_store(&world->source.life_s, 3600);
    world->source.script = script_start(play, &world->source, NULL);
    world->client = http_client_new(NULL, &err);
    world->credentials = aws_credentials_chain(world->client, "eu-west-1");
    snprintf(world->file, sizeof world->file, "/tmp/firn-token-XXXXXX");
    int fd = mkstemp(world->file);
    assert_true(write(fd, "ey.jw+t\n", 8) == 8);
    close(fd);
    set_url(world, "AWS_EC2_METADATA_SERVICE_ENDPOINT", "/"); /* nothing leaves this host */
    unsetenv("AWS_EC2_METADATA_DISABLED");
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    World *world = *state;
    aws_credentials_free(world->credentials);
    http_client_free(world->client);
    script_stop(world->source.script);
    unlink(world->file);
    free(world);
    return 0;
}

static void use(const World *world, const char *source)
{
    if (strcmp(source, "sts") == 0) {
        setenv("AWS_WEB_IDENTITY_TOKEN_FILE", world->file, 1);
        setenv("AWS_ROLE_ARN", ROLE, 1);
        set_url(world, "AWS_ENDPOINT_URL_STS", "/sts/");
    } else if (strcmp(source, "container") == 0) {
        set_url(world, "AWS_CONTAINER_CREDENTIALS_FULL_URI", "/container");
        setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "pod-token", 1);
    }
}

static void expect_keys(AwsCredentials *credentials, const char *access)
{
    AwsKeys keys = {0};
    Error err = {0};
    if (!aws_credentials_get(credentials, &keys, &err))
        fail_msg("%s: %s", err.code, err.message);
    assert_string_equal(keys.access_key, access);
    assert_string_equal(keys.secret_key, "s<3");
    aws_keys_done(&keys);
    assert_null(keys.secret_key);
}

static void expect_refusal(AwsCredentials *credentials, ErrorKind kind, const char *part)
{
    AwsKeys keys = {0};
    Error err = {0};
    assert_false(aws_credentials_get(credentials, &keys, &err));
    assert_null(keys.access_key);
    assert_string_equal(err.code,
                        kind == ERROR_CONFIG ? "NoCredentials" : "CredentialsUnavailable");
    assert_int_equal(err.kind, kind);
    if (!strstr(err.message, part))
        fail_msg("%s: %s", part, err.message);
    assert_null(strstr(err.message, "s<3"));
    assert_null(strstr(err.message, "ey.jw"));
    assert_null(strstr(err.message, "pod-token"));
}

static void static_keys_stay(void **state)
{
    (void)state;
    char access[] = "AK", secret[] = "s<3";
    AUTO(aws_credentials_free)
    AwsCredentials *credentials =
        aws_credentials_static(&(AwsKeys){.access_key = access, .secret_key = secret});
    expect_keys(credentials, "AK");
    aws_credentials_refuse(credentials);
    expect_keys(credentials, "AK");
}

static void the_environment_comes_first(void **state)
{
    World *world = *state;
    use(world, "sts");
    setenv("AWS_ACCESS_KEY_ID", "AKENV", 1);
    expect_refusal(world->credentials, ERROR_CONFIG, "AWS_SECRET_ACCESS_KEY is not");
    setenv("AWS_SECRET_ACCESS_KEY", "s<3", 1);
    expect_keys(world->credentials, "AKENV");
    assert_int_equal(world->source.script->requests, 0);
}

/* Fetched once, kept, fetched anew when refused. */
static void each_source(void **state)
{
    World *world = *state;
    static const char *const sources[] = {"instance", "container", "sts"};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        AUTO(aws_credentials_free)
        AwsCredentials *credentials = aws_credentials_chain(world->client, "eu-west-1");
        use(world, sources[i]);
        atomic_store(&world->source.asked, 0);
        expect_keys(credentials, "AK1");
        expect_keys(credentials, "AK1");
        aws_credentials_refuse(credentials);
        expect_keys(credentials, "AK2");
    }
}

static void refusals_are_told_apart(void **state)
{
    World *world = *state;
    static const char *const sources[] = {"instance", "container", "sts"};
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        use(world, sources[i]);
        atomic_store(&world->source.status, 503);
        expect_refusal(world->credentials, ERROR_RETRY, "503");
        atomic_store(&world->source.status, 403);
        expect_refusal(world->credentials, ERROR_CONFIG, "403");
        atomic_store(&world->source.status, 200);
        static const char *const bodies[] = {"", "{", "{\"AccessKeyId\":\"s<3\"}", "<a>",
                                             "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>"};
        for (size_t j = 0; j < ARRAY_LEN(bodies); j++) {
            world->source.body = bodies[j];
            expect_refusal(world->credentials, ERROR_RETRY, "answered without");
        }
        world->source.body = NULL;
        atomic_store(&world->source.life_s, 30);
        expect_refusal(world->credentials, ERROR_RETRY, "within a minute");
        atomic_store(&world->source.life_s, 3600);
    }
    world->source.body = "<ErrorResponse><Error><Code>ExpiredTokenException</Code>"
                         "<Message>s&lt;3</Message></Error></ErrorResponse>";
    atomic_store(&world->source.status, 400);
    expect_refusal(world->credentials, ERROR_CONFIG, "400 ExpiredTokenException");
    setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token", 1);
    expect_refusal(world->credentials, ERROR_CONFIG, "/nowhere/token");
}

static void nothing_found_names_all(void **state)
{
    World *world = *state;
    world->source.no_role = true;
    expect_refusal(world->credentials, ERROR_CONFIG, "AWS_WEB_IDENTITY_TOKEN_FILE");
    setenv("AWS_EC2_METADATA_DISABLED", "true", 1);
    int before = world->source.script->requests;
    expect_refusal(world->credentials, ERROR_CONFIG, "spec.storage.credentialsSecretRef");
    assert_int_equal(world->source.script->requests, before);
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.com/keys", 1);
    expect_refusal(world->credentials, ERROR_CONFIG, "must be https or name this host");
    setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1@example.com/", 1);
    expect_refusal(world->credentials, ERROR_CONFIG, "must be https or name this host");
}

/* ---------- vended keys, and many threads ---------- */

typedef struct Vendor {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held; /* fetches wait */
    int fetches, waiting, inside;
    int64_t life_s;
    bool fails;
} Vendor;

static bool vend(void *context, AwsKeys *ret, Error *err)
{
    Vendor *vendor = context;
    pthread_mutex_lock(&vendor->lock);
    assert_int_equal(vendor->inside++, 0); /* one at a time */
    int number = ++vendor->fetches;
    pthread_cond_broadcast(&vendor->changed);
    while (vendor->held)
        pthread_cond_wait(&vendor->changed, &vendor->lock);
    vendor->inside--;
    bool ok = !vendor->fails;
    if (ok)
        *ret = (AwsKeys){.access_key = mem_format("AK%d", number),
                         .secret_key = mem_strdup("s<3"),
                         .expires_us = clock_wall_us() + vendor->life_s * 1000000};
    else
        error_set(err, ERROR_RETRY, "CredentialsUnavailable", "vendor is out");
    pthread_mutex_unlock(&vendor->lock);
    return ok;
}

static void get_one(void *at)
{
    AwsKeys keys = {0};
    Error err = {0};
    assert_true(aws_credentials_get(at, &keys, &err));
    aws_keys_done(&keys);
}

static void old_keys_serve_while_new_ones_are_fetched(void **state)
{
    (void)state;
    Vendor vendor = {.lock = PTHREAD_MUTEX_INITIALIZER,
                     .changed = PTHREAD_COND_INITIALIZER,
                     .life_s = 120}; /* good for a minute, but to be refreshed */
    AUTO(aws_credentials_free) AwsCredentials *credentials = aws_credentials_vended(vend, &vendor);
    expect_keys(credentials, "AK1");
    vendor.held = true;
    Thread *fetching = thread_start("fetching", get_one, credentials);
    pthread_mutex_lock(&vendor.lock);
    while (vendor.fetches < 2)
        pthread_cond_wait(&vendor.changed, &vendor.lock);
    pthread_mutex_unlock(&vendor.lock);
    expect_keys(credentials, "AK1"); /* does not wait */
    pthread_mutex_lock(&vendor.lock);
    vendor.held = false;
    vendor.life_s = 3600;
    pthread_cond_broadcast(&vendor.changed);
    pthread_mutex_unlock(&vendor.lock);
    thread_join(fetching);
    expect_keys(credentials, "AK2");
    /* A source that fails early does no harm; refused keys are not used again. */
    vendor.fails = true;
    expect_keys(credentials, "AK2");
    aws_credentials_refuse(credentials);
    expect_refusal(credentials, ERROR_RETRY, "vendor is out");
    vendor.fails = false;
    Thread *crowd[6];
    int before = vendor.fetches;
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        crowd[i] = thread_start("crowd", get_one, credentials);
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        thread_join(crowd[i]);
    assert_int_equal(vendor.fetches, before + 1);
}

static void a_failed_refresh_keeps_good_keys(void **state)
{
    (void)state;
    Vendor vendor = {
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .life_s = 120};
    AUTO(aws_credentials_free) AwsCredentials *credentials = aws_credentials_vended(vend, &vendor);
    expect_keys(credentials, "AK1");
    vendor.fails = true;
    for (int i = 0; i < 5; i++)
        expect_keys(credentials, "AK1");
    assert_int_equal(vendor.fetches, 2); /* and does not ask at every turn */
}

static void times_as_aws_writes_them(void **state)
{
    (void)state;
    int64_t us;
    assert_true(aws_time_parse("2015-08-30T12:36:00Z", &us));
    assert_true(us == INT64_C(1440938160000000));
    assert_true(aws_time_parse("2015-08-30T12:36:00.250Z", &us));
    assert_true(us == INT64_C(1440938160250000));
    assert_true(aws_time_parse("Sun, 30 Aug 2015 12:36:00 GMT", &us));
    assert_true(us == INT64_C(1440938160000000));
    static const char *const bad[] = {"", "2015-08-30", "2015-08-30T12:36:00+02:00", "yesterday"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(aws_time_parse(bad[i], &us));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_keys_stay),
        TEST(the_environment_comes_first),
        TEST(each_source),
        TEST(refusals_are_told_apart),
        TEST(nothing_found_names_all),
        cmocka_unit_test(old_keys_serve_while_new_ones_are_fetched),
        cmocka_unit_test(a_failed_refresh_keeps_good_keys),
        cmocka_unit_test(times_as_aws_writes_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
