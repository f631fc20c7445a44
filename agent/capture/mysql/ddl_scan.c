/* See ddl_scan.h. */
#include "agent/capture/mysql/ddl_scan.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/mem.h"

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}

static bool starts(const Scan *scan, const char *text)
{
    size_t bytes = strlen(text);
    return (size_t)(scan->end - scan->at) >= bytes && memcmp(scan->at, text, bytes) == 0;
}

static void skip_to(Scan *scan, const char *until)
{
    while (scan->at < scan->end && !starts(scan, until))
        scan->at++;
    if (scan->at < scan->end)
        scan->at += strlen(until);
}

static void skip_blank(Scan *scan)
{
    for (;;) {
        if (scan->at == scan->end)
            return;
        if (isspace((unsigned char)*scan->at) || starts(scan, "*/")) {
            scan->at += starts(scan, "*/") ? 2 : 1;
        } else if (starts(scan, "/*!") || starts(scan, "/*M!")) {
            scan->at += starts(scan, "/*!") ? 3 : 4;
            while (scan->at < scan->end && isdigit((unsigned char)*scan->at))
                scan->at++;
        } else if (starts(scan, "/*")) {
            skip_to(scan, "*/");
        } else if (starts(scan, "-- ") || starts(scan, "--\t") || starts(scan, "--\n") ||
                   starts(scan, "#")) {
            skip_to(scan, "\n");
        } else {
            return;
        }
    }
}

/* Behind the closing quote; a doubled one, and in texts a backslash, stands for a letter. */
static void skip_quoted(Scan *scan, char mark)
{
    for (scan->at++; scan->at < scan->end; scan->at++) {
        if (*scan->at == '\\' && mark != '`' && scan->at + 1 < scan->end)
            scan->at++;
        else if (*scan->at == mark && scan->at + 1 < scan->end && scan->at[1] == mark)
            scan->at++;
        else if (*scan->at == mark)
            break;
    }
    if (scan->at < scan->end)
        scan->at++;
}

void scan_next(Scan *scan)
{
    skip_blank(scan);
    Token *token = &scan->token;
    *token = (Token){.at = scan->at};
    if (scan->at == scan->end)
        return;
    char first = *scan->at;
    if (first == '`' || first == '"' || first == '\'') {
        token->kind = first == '\'' ? TOKEN_TEXT : TOKEN_QUOTED;
        skip_quoted(scan, first);
    } else if (is_word(first)) {
        token->kind = TOKEN_WORD;
        while (scan->at < scan->end && is_word(*scan->at))
            scan->at++;
    } else {
        token->kind = TOKEN_MARK;
        scan->at++;
        scan->depth += first == '(' ? 1 : first == ')' ? -1 : 0;
    }
    token->bytes = (size_t)(scan->at - token->at);
}

bool scan_is(const Scan *scan, const char *word)
{
    const Token *token = &scan->token;
    return (token->kind == TOKEN_WORD || token->kind == TOKEN_MARK) &&
           token->bytes == strlen(word) && strncasecmp(token->at, word, token->bytes) == 0;
}

bool scan_take(Scan *scan, const char *word)
{
    bool there = scan_is(scan, word);
    if (there)
        scan_next(scan);
    return there;
}

bool scan_take_any(Scan *scan, const char *const *choices)
{
    for (; *choices; choices++)
        if (scan_take(scan, *choices))
            return true;
    return false;
}

/* NULL: no name stands here. */
char *scan_name(Scan *scan)
{
    const Token token = scan->token;
    if (token.kind == TOKEN_WORD) {
        scan_next(scan);
        return mem_strndup(token.at, token.bytes);
    }
    if (token.kind != TOKEN_QUOTED || token.bytes < 2)
        return NULL;
    char *text = mem_alloc(token.bytes), *to = text;
    for (size_t i = 1; i + 1 < token.bytes; i++) {
        *to++ = token.at[i];
        i += token.at[i] == token.at[0];
    }
    *to = '\0';
    scan_next(scan);
    return text;
}

void scan_skip_if(Scan *scan)
{
    if (scan_take(scan, "IF")) {
        (void)scan_take(scan, "NOT");
        (void)scan_take(scan, "EXISTS");
    }
}
