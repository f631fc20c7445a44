/* A scanner of JSON text (RFC 8259) that makes nothing: it hands out what stands there, piece by
 * piece, and the caller says what it expects. Texts are checked: UTF-8, escapes, no control bytes.
 * Every function that returns false has set `why`; after it the scanner is of no more use. */
#pragma once

#include "common/attrs.h"
#include "common/bytes.h"

#define SCAN_DEPTH_MAX 64

typedef struct Scan {
    const char *at, *end;
    const char *why; /* what is wrong */
    Bytes scratch;   /* texts with escapes; the caller's to end */
} Scan;

static inline bool scan_bad(Scan *json, const char *why)
{
    json->why = why;
    return false;
}
static inline void scan_space(Scan *json)
{
    while (json->at < json->end &&
           (*json->at == ' ' || *json->at == '\n' || *json->at == '\t' || *json->at == '\r'))
        json->at++;
}
/* The byte that comes next behind white space; 0: the end. */
static inline char scan_peek(Scan *json)
{
    if (UNLIKELY(json->at < json->end && (uint8_t)*json->at <= ' '))
        scan_space(json);
    return json->at < json->end ? *json->at : '\0';
}
/* It is there: it is taken. */
static inline bool scan_is(Scan *json, char wanted)
{
    if (scan_peek(json) != wanted)
        return false;
    json->at++;
    return true;
}
MUST_CHECK bool scan_expect(Scan *json, char wanted);
/* *ret points into the text, or, with escapes, into scratch: until the next text. */
MUST_CHECK bool scan_text(Scan *json, const char **ret, size_t *ret_bytes);
/* A copy; "" where it is no text, has a NUL, or is longer than to_bytes hold: passed over. */
MUST_CHECK bool scan_text_to(Scan *json, char *to, size_t to_bytes);
/* A whole number; "1.0" and "1e3" are such, too. */
MUST_CHECK bool scan_integer(Scan *json, int64_t *ret);
MUST_CHECK bool scan_real(Scan *json, double *ret);
MUST_CHECK bool scan_boolean(Scan *json, bool *ret);
/* null, if that is what comes. */
static inline bool scan_null(Scan *json)
{
    if (scan_peek(json) != 'n' || json->end - json->at < 4 || memcmp(json->at, "null", 4) != 0)
        return false;
    json->at += 4;
    return true;
}
/* Any value, checked as far as its structure goes; texts in it are not. */
MUST_CHECK bool scan_skip(Scan *json);
/* Behind '{': the next member's name, with its colon; *ret_end: there is none, and '}' is taken.
 * first: no comma stands before it. */
MUST_CHECK bool scan_member(Scan *json, bool first, const char **ret, size_t *ret_bytes,
                            bool *ret_end);
/* Behind '[': is there another element? ']' is taken with the last. */
MUST_CHECK bool scan_element(Scan *json, bool first, bool *ret_end);
