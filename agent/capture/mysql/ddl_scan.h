/* The words of a statement, for ddl.c and ddl_columns.c. Comments and blanks are passed over; what
 * stands in a comment for some versions alone counts as text. */
#pragma once

#include <stdlib.h>

#include "common/attrs.h"

typedef enum TokenKind { TOKEN_END, TOKEN_WORD, TOKEN_QUOTED, TOKEN_TEXT, TOKEN_MARK } TokenKind;

typedef struct Token {
    TokenKind kind;
    const char *at; /* with its quotes */
    size_t bytes;
} Token;

typedef struct Scan {
    const char *at, *end;
    Token token;
    int depth; /* of brackets */
} Scan;

/* To the next token: the first one, after Scan = {.at, .end}. */
void scan_next(Scan *scan);
/* Is the token that word or mark, in whatever case? Never one in quotes. */
bool scan_is(const Scan *scan, const char *word);
/* The same, and if so, to the next one. choices: up to NULL. */
bool scan_take(Scan *scan, const char *word);
bool scan_take_any(Scan *scan, const char *const *choices);
/* A name, without its quotes, and to the next one; the caller frees. NULL: no name stands here. */
char *scan_name(Scan *scan);
/* IF [NOT] EXISTS, where it stands. */
void scan_skip_if(Scan *scan);
