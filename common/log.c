#include "common/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/clock.h"
#include "common/text.h"

static LogLevel least = LOG_INFO;
static LogFormat shape = LOG_LOGFMT;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_setup(LogLevel level, LogFormat format)
{
    least = level;
    shape = format;
}

bool log_enabled(LogLevel level)
{
    return level >= least;
}

static void put_text(Bytes *line, const char *text)
{
    bytes_put(line, text, strlen(text));
}

/* Both formats escape alike: JSON's rules. What is no UTF-8 becomes U+FFFD, or no reader of JSON
 * would take the line. */
static void put_quoted(Bytes *line, const char *text)
{
    bytes_put_u8(line, '"');
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at == '"' || *at == '\\') {
            bytes_put_u8(line, '\\');
            bytes_put_u8(line, *at);
        } else if (*at == '\n') {
            put_text(line, "\\n");
        } else if (*at < 0x20 || *at == 0x7f) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\u%04x", *at);
            put_text(line, escape);
        } else {
            size_t bytes = text_letter_bytes(at, SIZE_MAX); /* a NUL ends it */
            if (bytes)
                bytes_put(line, at, bytes);
            else
                put_text(line, "\xef\xbf\xbd");
            at += bytes ? bytes - 1 : 0;
        }
    }
    bytes_put_u8(line, '"');
}

static bool is_plain(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++)
        if ((unsigned char)*text <= 0x20 || *text == '"' || *text == '=' || *text == '\\' ||
            (unsigned char)*text >= 0x7f)
            return false;
    return true;
}

static void put_field(Bytes *line, const char *name, const char *text, bool quote)
{
    if (shape == LOG_JSON) {
        bytes_put_u8(line, line->used ? ',' : '{');
        put_quoted(line, name);
        bytes_put_u8(line, ':');
        if (quote)
            put_quoted(line, text);
        else
            put_text(line, text);
        return;
    }
    if (line->used)
        bytes_put_u8(line, ' ');
    put_text(line, name);
    bytes_put_u8(line, '=');
    if (quote && !is_plain(text))
        put_quoted(line, text);
    else
        put_text(line, text);
}

void log_fields(LogLevel level, const char *message, const LogField *fields)
{
    if (level < least)
        return;
    int64_t now_us = clock_wall_us();
    time_t seconds = now_us / 1000000;
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char number[64];
    size_t used = strftime(number, sizeof number, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(number + used, sizeof number - used, ".%03dZ", (int)(now_us % 1000000 / 1000));
    Bytes line = {0};
    put_field(&line, "time", number, true);
    put_field(&line, "level", level_names[level], true);
    put_field(&line, "msg", message, true);
    for (; fields->name; fields++) {
        if (fields->kind == 't') {
            put_field(&line, fields->name, fields->text ? fields->text : "", true);
            continue;
        }
        if (fields->kind == 'i')
            snprintf(number, sizeof number, "%lld", (long long)fields->i);
        else if (fields->kind == 'u')
            snprintf(number, sizeof number, "%llu", (unsigned long long)fields->u);
        else
            snprintf(number, sizeof number, "%.6g", fields->f);
        bool finite = fields->kind != 'f' || isfinite(fields->f); /* JSON has no nan */
        put_field(&line, fields->name, number, !finite);
    }
    put_text(&line, shape == LOG_JSON ? "}\n" : "\n");
    ssize_t written = write(STDERR_FILENO, line.data, line.used);
    (void)written; /* nowhere left to say that the log is gone */
    bytes_done(&line);
}
