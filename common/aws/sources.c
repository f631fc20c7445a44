/* Keys from the environment, from STS for a web identity token (EKS), from a container's agent
 * (ECS, EKS Pod Identity) and from the instance's metadata (IMDSv2).
 *
 *   https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
 *
 * Answers hold secrets: their memory is wiped. Of an answer that is refused only the status and
 * AWS's own error code go into messages. */
#include "common/aws/sources.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/xml.h"

#define TOKEN_BYTES_MAX ((size_t)64 << 10)
#define ANSWER_BYTES_MAX ((size_t)256 << 10)
#define NEAR_TIMEOUT_MS 3000 /* what answers from the same host */
#define STS_TIMEOUT_MS 15000

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

bool aws_time_parse(const char *text, int64_t *ret_us)
{
    struct tm at = {0};
    int64_t fraction_us = 0;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &at);
    if (rest) {
        int64_t unit = 100000;
        if (*rest == '.')
            for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
                fraction_us += unit * (*rest - '0');
        if (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0)
            return false;
    } else {
        rest = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &at);
        if (!rest || *rest)
            return false;
    }
    *ret_us = (int64_t)timegm(&at) * 1000000 + fraction_us;
    return true;
}

/* ---------- asking ---------- */

static void answer_wipe(HttpAnswer *answer)
{
    if (answer->body.data)
        OPENSSL_cleanse(answer->body.data, answer->body.held);
    http_answer_done(answer);
}

static void wipe_text(char **text)
{
    if (*text)
        OPENSSL_cleanse(*text, strlen(*text));
    free(*text);
    *text = NULL;
}

/* The file's text without white space around it; wiped and freed by the caller. */
static char *token_read(const char *path, const char *variable, Error *err)
{
    char *text = mem_zalloc(TOKEN_BYTES_MAX + 1);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got = -1;
    while (fd >= 0 && used <= TOKEN_BYTES_MAX &&
           (got = read(fd, text + used, TOKEN_BYTES_MAX + 1 - used)) > 0)
        used += (size_t)got;
    int number = errno;
    if (fd >= 0)
        close(fd);
    while (used && used <= TOKEN_BYTES_MAX && strchr(" \r\n\t", text[used - 1]))
        text[--used] = '\0';
    bool readable = fd >= 0 && got >= 0;
    if (readable && used && used <= TOKEN_BYTES_MAX)
        return text;
    OPENSSL_cleanse(text, TOKEN_BYTES_MAX + 1);
    free(text);
    if (readable)
        error_set(err, ERROR_CONFIG, "NoCredentials", "%s: %s is %s", variable, path,
                  used ? "too large for a token" : "empty");
    else
        error_errno(err, ERROR_CONFIG, "NoCredentials", number, "%s: can't read %s", variable,
                    path);
    return NULL;
}

static bool refused(const char *who, int status, const char *code, Error *err)
{
    bool passes = status >= 500 || status == 429;
    return error_set(err, passes ? ERROR_RETRY : ERROR_CONFIG,
                     passes ? "CredentialsUnavailable" : "NoCredentials", "%s answered %d%s%.100s",
                     who, status, *code ? " " : "", code);
}

static char *wiped_copy(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (!text || !*text)
        return NULL;
    char *copy = mem_strdup(text);
    OPENSSL_cleanse((void *)(uintptr_t)text, strlen(text)); /* jansson's own */
    return copy;
}

/* AccessKeyId, SecretAccessKey, Token, Expiration: containers and instances answer alike. */
static bool keys_from_json(const char *who, const HttpAnswer *answer, AwsKeys *ret, Error *err)
{
    json_t *object = json_loadb((const char *)answer->body.data, answer->body.used,
                                JSON_REJECT_DUPLICATES, NULL);
    const char *expires = json_string_value(json_object_get(object, "Expiration"));
    AwsKeys keys = {.access_key = wiped_copy(object, "AccessKeyId"),
                    .secret_key = wiped_copy(object, "SecretAccessKey"),
                    .session_token = wiped_copy(object, "Token")};
    bool ok = keys.access_key && keys.secret_key &&
              (!expires || aws_time_parse(expires, &keys.expires_us));
    json_decref(object);
    if (ok) {
        *ret = keys;
        return true;
    }
    aws_keys_done(&keys);
    return error_set(err, ERROR_RETRY, "CredentialsUnavailable",
                     "%s answered without AccessKeyId, SecretAccessKey or a usable Expiration",
                     who);
}

/* ---------- the environment ---------- */

bool aws_from_environment(const AwsSource *source, bool *found, AwsKeys *ret, Error *err)
{
    (void)source;
    const char *access = setting("AWS_ACCESS_KEY_ID"), *secret = setting("AWS_SECRET_ACCESS_KEY");
    const char *token = setting("AWS_SESSION_TOKEN");
    *found = access || secret;
    if (*found && !(access && secret))
        return error_set(err, ERROR_CONFIG, "NoCredentials", "%s is set, %s is not",
                         access ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                         access ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    if (*found)
        *ret = (AwsKeys){.access_key = mem_strdup(access),
                         .secret_key = mem_strdup(secret),
                         .session_token = token ? mem_strdup(token) : NULL};
    return *found;
}

/* ---------- a web identity ---------- */

typedef struct StsAnswer {
    AwsKeys keys;
    char code[64];
    bool bad_time;
} StsAnswer;

static bool ends_with(const char *path, const char *end)
{
    size_t bytes = strlen(path), end_bytes = strlen(end);
    return bytes >= end_bytes && strcmp(path + bytes - end_bytes, end) == 0;
}

static bool sts_element(void *context, const char *path, const char *text)
{
    StsAnswer *answer = context;
    ASSERT(answer);
#define OF_KEYS "AssumeRoleWithWebIdentityResult/Credentials/"
    char **to = ends_with(path, OF_KEYS "AccessKeyId")       ? &answer->keys.access_key
                : ends_with(path, OF_KEYS "SecretAccessKey") ? &answer->keys.secret_key
                : ends_with(path, OF_KEYS "SessionToken")    ? &answer->keys.session_token
                                                             : NULL;
    if (to && !*to && *text)
        *to = mem_strdup(text);
    if (ends_with(path, OF_KEYS "Expiration"))
        answer->bad_time = !aws_time_parse(text, &answer->keys.expires_us);
    if (strcmp(path, "ErrorResponse/Error/Code") == 0)
        snprintf(answer->code, sizeof answer->code, "%s", text);
    return true;
}

static char *sts_url(const char *region)
{
    const char *own = setting("AWS_ENDPOINT_URL_STS");
    if (own)
        return mem_strdup(own);
    return mem_format("https://sts.%s.amazonaws.com%s/", region,
                      strncmp(region, "cn-", 3) == 0 ? ".cn" : "");
}

bool aws_from_web_identity(const AwsSource *source, bool *found, AwsKeys *ret, Error *err)
{
    const char *file = setting("AWS_WEB_IDENTITY_TOKEN_FILE"), *role = setting("AWS_ROLE_ARN");
    const char *session = setting("AWS_ROLE_SESSION_NAME");
    *found = file && role;
    if (!*found)
        return false;
    char *token = token_read(file, "AWS_WEB_IDENTITY_TOKEN_FILE", err);
    if (!token)
        return false;
    char *token_escaped = http_escape(token, "");
    wipe_text(&token);
    AUTO(mem_free) char *role_escaped = http_escape(role, "");
    AUTO(mem_free) char *session_escaped = http_escape(session ? session : "firn", "");
    char *body = mem_format("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=%s"
                            "&RoleSessionName=%s&WebIdentityToken=%s",
                            role_escaped, session_escaped, token_escaped);
    wipe_text(&token_escaped);
    AUTO(mem_free) char *url = sts_url(source->region);
    HttpHeader type = {"content-type", "application/x-www-form-urlencoded"};
    HttpRequest request = {.method = "POST",
                           .url = url,
                           .headers = &type,
                           .header_count = 1,
                           .body = body,
                           .body_bytes = strlen(body),
                           .timeout_ms = STS_TIMEOUT_MS,
                           .answer_bytes_max = ANSWER_BYTES_MAX};
    HttpAnswer answer = {0};
    StsAnswer read = {0};
    bool ok = http_send(source->client, &request, &answer, err);
    wipe_text(&body);
    if (ok) {
        bool xml = xml_read(answer.body.data, answer.body.used, sts_element, &read, NULL);
        AUTO(mem_free) char *who = mem_format("STS, asked for %s,", role);
        bool whole = xml && read.keys.access_key && read.keys.secret_key &&
                     read.keys.session_token && read.keys.expires_us && !read.bad_time;
        ok = answer.status == 200 && whole;
        if (answer.status != 200)
            refused(who, answer.status, read.code, err);
        else if (!whole)
            error_set(err, ERROR_RETRY, "CredentialsUnavailable", "%s answered without keys", who);
    }
    answer_wipe(&answer);
    if (ok)
        *ret = read.keys;
    else
        aws_keys_done(&read.keys);
    return ok;
}

/* ---------- a container ---------- */

/* Keys in the clear only from this host or the addresses where ECS and EKS answer. */
static bool is_near(const char *url)
{
    static const char *const hosts[] = {"127.0.0.1",     "localhost",      "[::1]",
                                        "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"};
    if (strncasecmp(url, "https://", 8) == 0)
        return true;
    if (strncasecmp(url, "http://", 7) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        size_t bytes = strlen(hosts[i]);
        if (strncasecmp(url + 7, hosts[i], bytes) == 0 && strchr("/:?", url[7 + bytes]) &&
            !strchr(url + 7, '@'))
            return true;
    }
    return false;
}

bool aws_from_container(const AwsSource *source, bool *found, AwsKeys *ret, Error *err)
{
    const char *relative = setting("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = setting("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    const char *file = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *plain = setting("AWS_CONTAINER_AUTHORIZATION_TOKEN");
    *found = relative || full;
    if (!*found)
        return false;
    AUTO(mem_free)
    char *url = relative ? mem_format("http://169.254.170.2%s", relative) : mem_strdup(full);
    if (!is_near(url) || (relative && *relative != '/'))
        return error_set(err, ERROR_CONFIG, "NoCredentials",
                         "AWS_CONTAINER_CREDENTIALS_%s_URI must be https or name this host",
                         relative ? "RELATIVE" : "FULL");
    char *token = NULL;
    if (file && !(token = token_read(file, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", err)))
        return false;
    if (!file && plain)
        token = mem_strdup(plain);
    HttpHeader header = {"authorization", token};
    HttpRequest request = {.method = "GET",
                           .url = url,
                           .headers = &header,
                           .header_count = token != NULL,
                           .timeout_ms = NEAR_TIMEOUT_MS,
                           .answer_bytes_max = ANSWER_BYTES_MAX};
    HttpAnswer answer = {0};
    bool ok = http_send(source->client, &request, &answer, err);
    if (ok)
        ok = answer.status == 200 ? keys_from_json("the container's agent", &answer, ret, err)
                                  : refused("the container's agent", answer.status, "", err);
    answer_wipe(&answer);
    wipe_text(&token);
    return ok;
}

/* ---------- the instance ---------- */

static bool instance_ask(const AwsSource *source, const char *method, const char *path,
                         const HttpHeader *header, HttpAnswer *answer, Error *err)
{
    const char *own = setting("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *base = own ? own : "http://169.254.169.254";
    size_t bytes = strlen(base);
    AUTO(mem_free)
    char *url = mem_format("%.*s%s", (int)(bytes - (base[bytes - 1] == '/')), base, path);
    HttpRequest request = {.method = method,
                           .url = url,
                           .headers = header,
                           .header_count = 1,
                           .timeout_ms = NEAR_TIMEOUT_MS,
                           .answer_bytes_max = ANSWER_BYTES_MAX};
    bytes_clear(&answer->body);
    if (!http_send(source->client, &request, answer, err))
        return false;
    bytes_put_u8(&answer->body, '\0');
    answer->body.used--;
    return true;
}

#define ROLES "/latest/meta-data/iam/security-credentials/"

/* With a token in hand: the role's name, then its keys. */
static bool instance_keys(const AwsSource *source, const char *token, bool *found, AwsKeys *ret,
                          Error *err)
{
    const HttpHeader header = {"x-aws-ec2-metadata-token", token};
    HttpAnswer answer = {0};
    char *path = NULL;
    bool ok = instance_ask(source, "GET", ROLES, &header, &answer, err);
    *found = !ok || answer.status != 404;
    if (ok && answer.status != 200)
        ok = refused("the instance's metadata, asked for its role,", answer.status, "", err);
    if (ok) {
        answer.body.data[strcspn((char *)answer.body.data, "\r\n")] = '\0';
        AUTO(mem_free) char *escaped = http_escape((const char *)answer.body.data, "+=,@");
        path = mem_format(ROLES "%s", escaped);
        ok = instance_ask(source, "GET", path, &header, &answer, err);
    }
    if (ok)
        ok = answer.status == 200
                 ? keys_from_json("the instance's metadata", &answer, ret, err)
                 : refused("the instance's metadata, asked for keys,", answer.status, "", err);
    answer_wipe(&answer);
    free(path);
    return ok;
}

/* Not there at all, and no role: not found. */
bool aws_from_instance(const AwsSource *source, bool *found, AwsKeys *ret, Error *err)
{
    const char *disabled = setting("AWS_EC2_METADATA_DISABLED");
    const HttpHeader header = {"x-aws-ec2-metadata-token-ttl-seconds", "21600"};
    HttpAnswer answer = {0};
    *found = false;
    if (disabled && strcasecmp(disabled, "true") == 0)
        return false;
    if (!instance_ask(source, "PUT", "/latest/api/token", &header, &answer, err)) {
        answer_wipe(&answer);
        return false; /* no such address outside EC2 */
    }
    *found = true;
    char *token = mem_strndup((const char *)answer.body.data, answer.body.used);
    bool ok = answer.status == 200
                  ? instance_keys(source, token, found, ret, err)
                  : refused("the instance's metadata, asked for a token,", answer.status, "", err);
    answer_wipe(&answer);
    wipe_text(&token);
    return ok;
}
