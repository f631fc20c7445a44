#include "common/manifest/checks.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/condition.h"
#include "common/mem.h"
#include "common/text.h"

#define PG_NAME_BYTES_MAX 63u

static bool has_control(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

bool check_object_name(const char *text, const char **ret_wanted)
{
    *ret_wanted = "a name: lower case letters, digits, - and . (RFC 1123), at most 253";
    return text_is_object_name(text);
}

bool check_secret_key(const char *text, const char **ret_wanted)
{
    *ret_wanted = "a key of a Secret: letters, digits, -, _ and .";
    for (const char *at = text; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("-_.", *at))
            return false;
    return strlen(text) <= 253 && strcmp(text, ".") != 0 && strncmp(text, "..", 2) != 0;
}

bool check_host(const char *text, const char **ret_wanted)
{
    const char *colon = strchr(text, ':');
    if (strstr(text, "://") || strchr(text, '@')) {
        *ret_wanted = "a host alone: port, database and credentials have fields of their own";
        return false;
    }
    if (*text != '/' && colon && !strchr(colon + 1, ':')) {
        *ret_wanted = "a host alone: write the port as port";
        return false;
    }
    *ret_wanted = "a host name, an address or the folder of a Unix socket (several: a list)";
    return !has_control(text) && !strpbrk(text, " ,;'\\\"");
}

/* Schema and table, both there. */
static bool has_two_parts(const char *text)
{
    const char *dot = strchr(text, '.');
    return dot && dot > text && dot[1] && !has_control(text);
}

bool check_pattern(const char *text, const char **ret_wanted)
{
    *ret_wanted = "schema.table, in which * and ? may stand for letters, such as public.*";
    return has_two_parts(text);
}

bool check_table(const char *text, const char **ret_wanted)
{
    if (strpbrk(text, "*?")) {
        *ret_wanted = "one table: patterns go into tables, as a list";
        return false;
    }
    *ret_wanted = "schema.table, such as public.orders";
    return has_two_parts(text);
}

bool check_slot(const char *text, const char **ret_wanted)
{
    *ret_wanted = "a slot's name: lower case letters, digits and _, at most 63";
    size_t bytes = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    return !text[bytes] && bytes <= PG_NAME_BYTES_MAX;
}

bool check_identifier(const char *text, const char **ret_wanted)
{
    *ret_wanted = "an identifier of PostgreSQL: at most 63 bytes";
    return strlen(text) <= PG_NAME_BYTES_MAX && !has_control(text);
}

static bool has_dots_part(const char *path)
{
    while (*path) {
        size_t bytes = strcspn(path, "/");
        if ((bytes == 1 || bytes == 2) && strncmp(path, "..", bytes) == 0)
            return true;
        path += bytes;
        path += *path == '/';
    }
    return false;
}

/* bucket[/prefix] */
static bool is_bucket_path(const char *text)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    size_t bytes = strspn(text, letters);
    return bytes >= 3 && bytes <= 63 && (text[bytes] == '/' || !text[bytes]) &&
           !has_control(text) && !has_dots_part(text) && !strpbrk(text, "?#");
}

bool check_location(const char *text, const char **ret_wanted)
{
    static const char *const later[] = {"gs://", "abfs://", "abfss://", "hdfs://"};
    if (strncmp(text, "s3a://", 6) == 0 || strncmp(text, "s3n://", 6) == 0) {
        *ret_wanted = "how a bucket is written here: write s3://";
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(later); i++) {
        if (strncmp(text, later[i], strlen(later[i])) == 0) {
            *ret_wanted = "supported yet by this version: write a folder, such as file:///lake, or "
                          "s3://bucket/prefix";
            return false;
        }
    }
    if (strncmp(text, "s3://", 5) == 0) {
        *ret_wanted = "a place in a bucket, such as s3://bucket/prefix";
        return is_bucket_path(text + 5);
    }
    *ret_wanted = "an absolute folder, such as /lake or file:///lake, or s3://bucket/prefix";
    if (strncmp(text, "file://", 7) == 0)
        text += 7;
    return *text == '/' && !has_control(text) && !has_dots_part(text);
}

/* The part behind http:// or https://, or NULL. */
static const char *behind_scheme(const char *text)
{
    if (strncmp(text, "http://", 7) == 0)
        return text + 7;
    return strncmp(text, "https://", 8) == 0 ? text + 8 : NULL;
}

/* host, host:port or [address]:port, up to a / or the end. *ret_bytes of it. */
static bool is_authority(const char *text, size_t *ret_bytes)
{
    *ret_bytes = strcspn(text, "/");
    size_t host = strcspn(text, ":/");
    if (*text == '[')
        host = strspn(text + 1, "0123456789abcdefABCDEF:.") + 1;
    if (*text == '[' && text[host++] != ']')
        return false;
    for (size_t i = 0; i < host && *text != '['; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr(".-_", text[i]))
            return false;
    if (!host || host > *ret_bytes)
        return false;
    if (host == *ret_bytes)
        return true;
    size_t digits = strspn(text + host + 1, "0123456789");
    long port = text[host] == ':' && digits && digits <= 5 ? strtol(text + host + 1, NULL, 10) : 0;
    return port >= 1 && port <= 65535 && host + 1 + digits == *ret_bytes;
}

bool check_url(const char *text, const char **ret_wanted)
{
    const char *rest = behind_scheme(text);
    if (strchr(text, '@')) {
        *ret_wanted = "an address alone: user and password stand in a Secret";
        return false;
    }
    *ret_wanted = "an address such as https://host:port/path";
    size_t bytes;
    return rest && is_authority(rest, &bytes) && !has_control(rest) && !strpbrk(rest, " ?#{}\"\\");
}

bool check_endpoint(const char *text, const char **ret_wanted)
{
    if (!check_url(text, ret_wanted))
        return false;
    *ret_wanted = "an address without a path, such as https://host:port";
    const char *slash = strchr(behind_scheme(text), '/');
    return !slash || !slash[1];
}

bool check_region(const char *text, const char **ret_wanted)
{
    *ret_wanted = "a region's name, such as eu-west-1";
    for (const char *at = text; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '-')
            return false;
    return strlen(text) <= 64;
}

bool check_line(const char *text, const char **ret_wanted)
{
    *ret_wanted = "one line without control characters";
    return !has_control(text);
}

bool check_lake_name(const char *text, const char **ret_wanted)
{
    *ret_wanted = "a name that can be a folder's: no /, not . or .., at most 255 bytes";
    return strlen(text) <= 255 && !strchr(text, '/') && !has_control(text) && !has_dots_part(text);
}

/* agent/record/type.h reads it for good; here a slip is told with its line. */
bool check_column_type(const char *text, const char **ret_wanted)
{
    static const char *const names[] = {"boolean",   "int",         "long",   "float",
                                        "double",    "date",        "time",   "string",
                                        "timestamp", "timestamptz", "binary", "uuid"};
    *ret_wanted = "a type of a column: boolean, int, long, float, double, decimal(P,S), date, "
                  "time, timestamp, timestamptz, string, binary or uuid";
    unsigned precision, scale;
    int end = 0;
    if (sscanf(text, "decimal(%2u ,%2u )%n", &precision, &scale, &end) == 2 && end && !text[end])
        return precision >= 1 && precision <= 38 && scale <= precision;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], text) == 0)
            return true;
    return false;
}

/* "day(created_at)", "bucket(16, id)", "truncate(4, name)", "identity(country)" or the column
 * alone. https://iceberg.apache.org/spec/#partition-transforms */
bool check_partition(const char *text, const char **ret_wanted)
{
    static const char *const plain[] = {"identity", "year", "month", "day", "hour", "void"};
    static const char *const sized[] = {"bucket", "truncate"};
    *ret_wanted = "a partition: a column, or identity, year, month, day or hour(column), "
                  "bucket(N, column), truncate(W, column)";
    const char *open = strchr(text, '(');
    size_t bytes = strlen(text);
    if (has_control(text))
        return false;
    if (!open)
        return !strpbrk(text, ",) ");
    if (text[bytes - 1] != ')' || open[1] == ')' || strchr(open + 1, '('))
        return false;
    size_t name_bytes = (size_t)(open - text);
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        if (strlen(plain[i]) == name_bytes && strncmp(plain[i], text, name_bytes) == 0)
            return !strchr(open, ',');
    for (size_t i = 0; i < ARRAY_LEN(sized); i++) {
        if (strlen(sized[i]) != name_bytes || strncmp(sized[i], text, name_bytes) != 0)
            continue;
        const char *at = open + 1 + strspn(open + 1, " ");
        size_t digits = strspn(at, "0123456789");
        bool positive = digits && digits <= 9 && strspn(at, "0") < digits;
        at += digits;
        at += strspn(at, " ");
        if (!positive || *at != ',')
            return false;
        at += 1 + strspn(at + 1, " ");
        return *at != ')' && !strchr(at, ',');
    }
    return false;
}

bool check_brokers(const char *text, const char **ret_wanted)
{
    *ret_wanted = "brokers as host:port, with commas between several (no http://, no user)";
    for (const char *at = text;; at++) {
        size_t bytes = strcspn(at, ",");
        AUTO(mem_free) char *one = mem_strndup(at, bytes);
        const char *colon = strrchr(one, ':');
        if (!colon || strstr(one, "://") || strlen(one) > 300)
            return false;
        size_t authority;
        if (!is_authority(one, &authority) || one[authority])
            return false;
        at += bytes;
        if (!*at)
            return true;
    }
}

bool check_name_in_dns(const char *text, const char **ret_wanted)
{
    *ret_wanted = "a name in DNS, such as kafka.example.internal, with :port behind it or without";
    size_t authority;
    return strlen(text) <= 300 && is_authority(text, &authority) && !text[authority];
}

static bool is_topic_letter(char c)
{
    return isalnum((unsigned char)c) || strchr("._-", c);
}

bool check_topic(const char *text, const char **ret_wanted)
{
    *ret_wanted = "a topic's name: letters, digits, . _ and -, at most 249, not . or ..";
    for (const char *at = text; *at; at++)
        if (!is_topic_letter(*at))
            return false;
    return strlen(text) <= 249 && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

bool check_topic_template(const char *text, const char **ret_wanted)
{
    static const char *const names[] = {"{connector}", "{database}", "{schema}", "{table}"};
    *ret_wanted =
        "a topic's name with {connector}, {database}, {schema} and {table} in it; {table} "
        "has to be there";
    for (const char *at = text; *at;) {
        size_t known = 0;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
            if (strncmp(at, names[i], strlen(names[i])) == 0)
                known = strlen(names[i]);
        if (!known && !is_topic_letter(*at))
            return false;
        at += known ? known : 1;
    }
    return strstr(text, "{table}");
}

bool check_topic_setting(const char *text, const char **ret_wanted)
{
    static const struct {
        const char *setting, *wanted;
    } own[] = {{"retention.ms", "a setting for here: write retention"},
               {"cleanup.policy", "a setting for here: write cleanupPolicy"},
               {"min.insync.replicas", "a setting for here: write minInsyncReplicas"}};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        *ret_wanted = own[i].wanted;
        if (strcmp(text, own[i].setting) == 0)
            return false;
    }
    *ret_wanted = "a topic's setting as Kafka names it, such as max.message.bytes";
    for (const char *at = text; *at; at++)
        if (!islower((unsigned char)*at) && *at != '.')
            return false;
    return strchr(text, '.') && strlen(text) <= 64;
}

bool check_retention(const char *text, const char **ret_wanted)
{
    int64_t ms;
    *ret_wanted = "a duration such as 7d, or Forever";
    return strcmp(text, "Forever") == 0 || (text_duration_parse(text, &ms) && ms > 0);
}

bool check_condition(const char *text, const char **ret_wanted)
{
    Condition condition;
    *ret_wanted = "a condition such as eventName == 'page_view', or eventName in ['a', 'b']";
    bool is_one = condition_parse(text, &condition);
    condition_done(&condition);
    return is_one;
}

bool check_replay_start(const char *text, const char **ret_wanted)
{
    int64_t ms;
    *ret_wanted = "Earliest, or a time such as 2026-11-22T00:00:00Z";
    return strcmp(text, "Earliest") == 0 || text_time_parse(text, &ms);
}

bool check_start(const char *text, const char **ret_wanted)
{
    bool known = strcmp(text, "Latest") == 0 || check_replay_start(text, ret_wanted);
    *ret_wanted = "Earliest, Latest, or a time such as 2026-11-22T00:00:00Z";
    return known;
}

bool check_sasl_extensions(const char *text, const char **ret_wanted)
{
    *ret_wanted = "name=value,name=value, with letters alone in the names (auth is taken)";
    for (const char *at = text;; at++) {
        size_t name = 0;
        while (isalpha((unsigned char)at[name]))
            name++;
        if (!name || at[name] != '=' || (name == 4 && strncmp(at, "auth", 4) == 0))
            return false;
        at += name + 1;
        size_t value = strcspn(at, ",");
        for (size_t i = 0; i < value; i++)
            if (at[i] < 0x20 || at[i] > 0x7e)
                return false;
        if (!value)
            return false;
        at += value;
        if (!*at)
            return true;
    }
}
