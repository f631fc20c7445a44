#include "agent/event/proto_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define TYPES_MAX 2048
#define FIELDS_MAX 4096
#define ALL_FIELDS_MAX 16384
#define NEST_MAX 32
#define NUMBER_MAX ((1 << 29) - 1)
#define NAME_BYTES_MAX 1024
#define FILE_BYTES_MAX ((size_t)8 << 20)

typedef enum TokenKind { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_TEXT, TOKEN_SIGN } TokenKind;

typedef struct Token {
    TokenKind kind;
    const char *at;
    size_t bytes;
} Token;

typedef struct Parse {
    ProtoFile *file;
    const char *name; /* the file's; NULL: the schema's own */
    const char *at;
    Token now; /* the next one */
    uint32_t line, field_count;
    bool proto3;
    const char *package; /* "" */
    Error *err;
} Parse;

__attribute__((format(printf, 2, 3))) static bool bad(Parse *parse, const char *format, ...)
{
    char why[160];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    return error_set(parse->err, ERROR_CONFIG, "BadSchema",
                     "a Protobuf schema: %.100s%sline %u: %s", parse->name ? parse->name : "",
                     parse->name ? " " : "", parse->line, why);
}

/* ---------- tokens ---------- */
static bool is_name_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
           (byte >= '0' && byte <= '9') || byte == '.';
}

static bool skip_blanks(Parse *parse)
{
    for (;;) {
        const char *at = parse->at;
        if (*at == '\n')
            parse->line++;
        if (*at && strchr(" \t\r\n\f\v", *at)) {
            parse->at++;
        } else if (at[0] == '/' && at[1] == '/') {
            parse->at += strcspn(at, "\n");
        } else if (at[0] == '/' && at[1] == '*') {
            const char *end = strstr(at + 2, "*/");
            if (!end)
                return bad(parse, "a comment without its end");
            for (; parse->at < end + 2; parse->at++)
                parse->line += *parse->at == '\n';
        } else {
            return true;
        }
    }
}

static bool advance(Parse *parse)
{
    if (!skip_blanks(parse))
        return false;
    const char *from = parse->at, *at = from;
    TokenKind kind = TOKEN_SIGN;
    if (!*at) {
        kind = TOKEN_END;
    } else if (is_name_byte(*at)) {
        kind = *at >= '0' && *at <= '9' ? TOKEN_NUMBER : TOKEN_NAME;
        while (is_name_byte(*at))
            at++;
    } else if (*at == '"' || *at == '\'') {
        kind = TOKEN_TEXT;
        for (at++; *at && *at != *from && *at != '\n'; at++)
            if (*at == '\\' && at[1])
                at++;
        if (*at != *from)
            return bad(parse, "a text without its end");
        at++;
    } else {
        at++;
    }
    parse->now = (Token){kind, from, (size_t)(at - from)};
    parse->at = at;
    return true;
}

static bool is(const Parse *parse, const char *text)
{
    return parse->now.kind != TOKEN_TEXT && parse->now.bytes == strlen(text) &&
           memcmp(parse->now.at, text, parse->now.bytes) == 0;
}

static bool unexpected(Parse *parse, const char *wanted)
{
    if (parse->now.kind == TOKEN_END)
        return bad(parse, "it ends where %s was to come", wanted);
    return bad(parse, "'%.*s' where %s was to come",
               (int)(parse->now.bytes < 40 ? parse->now.bytes : 40), parse->now.at, wanted);
}

static bool expect(Parse *parse, const char *text)
{
    char quoted[16];
    snprintf(quoted, sizeof quoted, "'%s'", text);
    return is(parse, text) ? advance(parse) : unexpected(parse, quoted);
}

static bool take_name(Parse *parse, const char **ret)
{
    if (parse->now.kind != TOKEN_NAME || parse->now.bytes > NAME_BYTES_MAX)
        return unexpected(parse, "a name");
    *ret = arena_strndup(parse->file->arena, parse->now.at, parse->now.bytes);
    return advance(parse);
}

static bool take_number(Parse *parse, int64_t least, int64_t most, int64_t *ret)
{
    bool negative = is(parse, "-");
    if (negative && !advance(parse))
        return false;
    char text[24] = "", *end;
    if (parse->now.kind == TOKEN_NUMBER && parse->now.bytes < sizeof text)
        memcpy(text, parse->now.at, parse->now.bytes);
    int64_t value = strtoll(text, &end, 0);
    *ret = negative ? -value : value;
    if (!*text || *end || *ret < least || *ret > most)
        return unexpected(parse, "a number of its range");
    return advance(parse);
}

/* Up to its ';', or to the end of its block. */
static bool skip_statement(Parse *parse)
{
    for (uint32_t depth = 0;;) {
        bool opens = is(parse, "{") || is(parse, "[") || is(parse, "(");
        bool closes = is(parse, "}") || is(parse, "]") || is(parse, ")");
        bool ends = depth == 0 && is(parse, ";"), block = is(parse, "}");
        if (parse->now.kind == TOKEN_END || (closes && !depth))
            return unexpected(parse, "';'");
        depth += opens;
        depth -= closes;
        if (!advance(parse))
            return false;
        if (ends || (block && !depth && !is(parse, ";")))
            return true;
    }
}

/* [deprecated = true, …] */
static bool skip_options(Parse *parse)
{
    if (!is(parse, "["))
        return true;
    for (uint32_t depth = 0;;) {
        bool opens = is(parse, "[") || is(parse, "{"), closes = is(parse, "]") || is(parse, "}");
        if (parse->now.kind == TOKEN_END)
            return unexpected(parse, "']'");
        depth += opens;
        depth -= closes;
        if (!advance(parse))
            return false;
        if (!depth)
            return true;
    }
}

/* ---------- declarations ---------- */
static bool new_type(Parse *parse, const ProtoType *inside, ProtoType **ret)
{
    ProtoFile *file = parse->file;
    const char *name, *scope = inside && inside->name ? inside->name : parse->package;
    if (!take_name(parse, &name))
        return false;
    if (file->type_count == TYPES_MAX)
        return bad(parse, "more than %u messages and enums", TYPES_MAX);
    char whole[2 * NAME_BYTES_MAX];
    int bytes = snprintf(whole, sizeof whole, "%s%s%s", scope, *scope ? "." : "", name);
    if (bytes < 0 || (size_t)bytes > NAME_BYTES_MAX)
        return bad(parse, "a name of more than %u bytes", NAME_BYTES_MAX);
    for (uint32_t i = 0; i < file->type_count; i++)
        if (strcmp(file->types[i]->name, whole) == 0)
            return bad(parse, "two types of the name %.100s", whole);
    ProtoType *type = arena_take(file->arena, sizeof *type);
    *type = (ProtoType){.name = arena_strndup(file->arena, whole, (size_t)bytes)};
    file->types[file->type_count++] = type;
    *ret = type;
    return expect(parse, "{");
}

static bool take_enum(Parse *parse, const ProtoType *inside)
{
    ProtoType *type;
    if (!advance(parse) || !new_type(parse, inside, &type))
        return false;
    type->is_enum = true;
    Arena *arena = parse->file->arena;
    uint32_t held = 0;
    while (!is(parse, "}")) {
        const char *symbol;
        int64_t number;
        if (is(parse, ";")) {
            if (!advance(parse))
                return false;
            continue;
        }
        if (is(parse, "option") || is(parse, "reserved")) {
            if (!skip_statement(parse))
                return false;
            continue;
        }
        if (!take_name(parse, &symbol) || !expect(parse, "=") ||
            !take_number(parse, INT32_MIN, INT32_MAX, &number) || !skip_options(parse) ||
            !expect(parse, ";"))
            return false;
        if (type->symbol_count == FIELDS_MAX || ++parse->field_count > ALL_FIELDS_MAX)
            return bad(parse, "too many fields and symbols");
        if (type->symbol_count == held) {
            uint32_t more = held ? 2 * held : 8;
            type->symbols = arena_regrow(arena, type->symbols, held * sizeof *type->symbols,
                                         more * sizeof *type->symbols);
            type->numbers = arena_regrow(arena, type->numbers, held * sizeof *type->numbers,
                                         more * sizeof *type->numbers);
            held = more;
        }
        type->symbols[type->symbol_count] = symbol;
        type->numbers[type->symbol_count++] = (int32_t)number;
    }
    return advance(parse) && (type->symbol_count || bad(parse, "an enum without symbols"));
}

/* What stands behind its type: name = number [options]; */
static bool take_field(Parse *parse, ProtoType *message, ProtoField field)
{
    int64_t number;
    if (strcmp(field.type, "group") == 0)
        return bad(parse, "groups are not supported");
    if (!take_name(parse, &field.name) || !expect(parse, "=") ||
        !take_number(parse, 1, NUMBER_MAX, &number) || !skip_options(parse) || !expect(parse, ";"))
        return false;
    field.number = (uint32_t)number;
    if (message->field_count == FIELDS_MAX || ++parse->field_count > ALL_FIELDS_MAX)
        return bad(parse, "too many fields and symbols");
    uint32_t count = message->field_count;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(message->fields[i].name, field.name) == 0)
            return bad(parse, "message %.100s has two fields %.40s", message->name, field.name);
    if (!(count & (count - 1))) { /* room for twice as many */
        size_t room = count ? 2 * (size_t)count : 1;
        message->fields =
            arena_regrow(parse->file->arena, message->fields, count * sizeof *message->fields,
                         room * sizeof *message->fields);
    }
    message->fields[message->field_count++] = field;
    return true;
}

static bool take_oneof(Parse *parse, ProtoType *message)
{
    const char *name;
    if (!take_name(parse, &name) || !expect(parse, "{"))
        return false;
    message->oneof_count++;
    while (!is(parse, "}")) {
        ProtoField field = {.oneof = message->oneof_count};
        if (is(parse, "option") || is(parse, ";")) {
            if (!skip_statement(parse))
                return false;
            continue;
        }
        if (!take_name(parse, &field.type) || !take_field(parse, message, field))
            return false;
    }
    return advance(parse);
}

static bool take_map(Parse *parse, ProtoType *message)
{
    ProtoField field = {0};
    return expect(parse, "<") && take_name(parse, &field.key) && expect(parse, ",") &&
           take_name(parse, &field.type) && expect(parse, ">") && take_field(parse, message, field);
}

static bool take_message(Parse *parse, ProtoType *inside, unsigned depth);

/* One that begins with a word that is no type. *ret: it was one. */
static bool take_statement(Parse *parse, ProtoType *message, unsigned depth, bool *ret)
{
    *ret = true;
    if (is(parse, ";"))
        return advance(parse);
    if (is(parse, "message"))
        return take_message(parse, message, depth + 1);
    if (is(parse, "enum"))
        return take_enum(parse, message);
    if (is(parse, "oneof"))
        return advance(parse) && take_oneof(parse, message);
    if (is(parse, "option") || is(parse, "reserved") || is(parse, "extensions") ||
        is(parse, "extend"))
        return skip_statement(parse);
    *ret = false;
    return true;
}

static bool order_fields(Parse *parse, ProtoType *message)
{
    uint32_t count = message->field_count;
    uint32_t *order = message->order =
        arena_take(parse->file->arena, (count + (size_t)1) * sizeof *order);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i, number = message->fields[i].number;
        for (; at && message->fields[order[at - 1]].number > number; at--)
            order[at] = order[at - 1];
        if (at && message->fields[order[at - 1]].number == number)
            return bad(parse, "message %.100s has two fields of the number %u", message->name,
                       number);
        order[at] = i;
    }
    return true;
}

static bool take_message(Parse *parse, ProtoType *inside, unsigned depth)
{
    ProtoType *message;
    if (depth > NEST_MAX)
        return bad(parse, "messages in messages, deeper than %u", NEST_MAX);
    if (!advance(parse) || !new_type(parse, inside, &message))
        return false;
    if (inside) {
        if (inside->last)
            inside->last->next = message;
        else
            inside->first = message;
        inside->last = message;
    }
    while (!is(parse, "}")) {
        bool taken;
        if (!take_statement(parse, message, depth, &taken))
            return false;
        if (taken)
            continue;
        ProtoField field = {.repeated = is(parse, "repeated"), .required = is(parse, "required")};
        bool optional = is(parse, "optional");
        field.implicit = parse->proto3 && !optional && !field.repeated;
        if ((optional || field.repeated || field.required) && !advance(parse))
            return false;
        if (!take_name(parse, &field.type))
            return false;
        bool map = strcmp(field.type, "map") == 0 && is(parse, "<");
        if (map ? !take_map(parse, message) : !take_field(parse, message, field))
            return false;
    }
    return order_fields(parse, message) && advance(parse);
}

/* syntax = "proto3"; */
static bool take_syntax(Parse *parse)
{
    if (!advance(parse) || !expect(parse, "="))
        return false;
    parse->proto3 = parse->now.bytes == 8 && memcmp(parse->now.at + 1, "proto3", 6) == 0;
    bool proto2 = parse->now.bytes == 8 && memcmp(parse->now.at + 1, "proto2", 6) == 0;
    if (parse->now.kind != TOKEN_TEXT || (!parse->proto3 && !proto2))
        return bad(parse, "its syntax is neither proto2 nor proto3");
    return advance(parse) && expect(parse, ";");
}

static bool parse_file(ProtoFile *file, const char *name, const char *text, bool is_main,
                       uint32_t *fields, Error *err)
{
    Parse parse = {.file = file,
                   .name = name,
                   .at = text,
                   .line = 1,
                   .field_count = *fields,
                   .package = "",
                   .err = err};
    if (strlen(text) > FILE_BYTES_MAX)
        return bad(&parse, "it has more than %zu bytes", FILE_BYTES_MAX);
    if (!advance(&parse))
        return false;
    ProtoType *top = is_main ? &file->main : NULL;
    while (parse.now.kind != TOKEN_END) {
        bool ok = is(&parse, "syntax")    ? take_syntax(&parse)
                  : is(&parse, "message") ? take_message(&parse, top, 1)
                  : is(&parse, "enum")    ? take_enum(&parse, NULL)
                  : is(&parse, "package")
                      ? advance(&parse) && take_name(&parse, &parse.package) && expect(&parse, ";")
                  : is(&parse, "edition")
                      ? bad(&parse, "editions are not supported: proto2 and proto3 are")
                      : skip_statement(&parse);
        if (!ok)
            return false;
    }
    *fields = parse.field_count;
    return true;
}

bool proto_parse(const WriterSchema *writer, Arena *arena, ProtoFile *ret, Error *err)
{
    uint32_t fields = 0;
    *ret = (ProtoFile){.arena = arena};
    ret->types = arena_take(arena, TYPES_MAX * sizeof *ret->types);
    for (size_t i = 0; i < writer->import_count; i++)
        if (!parse_file(ret, writer->imports[i].name, writer->imports[i].text, false, &fields, err))
            return false;
    return parse_file(ret, NULL, writer->text, true, &fields, err);
}

static const ProtoType *find_whole(const ProtoFile *file, const char *scope, size_t bytes,
                                   const char *name)
{
    size_t dot = bytes != 0;
    for (uint32_t i = 0; i < file->type_count; i++) {
        const char *whole = file->types[i]->name;
        if (strncmp(whole, scope, bytes) == 0 && (!dot || whole[bytes] == '.') &&
            strcmp(whole + bytes + dot, name) == 0)
            return file->types[i];
    }
    return NULL;
}

/* In the message, in what it stands in, …, in no package. */
const ProtoType *proto_find(const ProtoFile *file, const ProtoType *inside, const char *name)
{
    if (*name == '.')
        return find_whole(file, "", 0, name + 1);
    for (size_t bytes = strlen(inside->name);;) {
        const ProtoType *found = find_whole(file, inside->name, bytes, name);
        if (found || !bytes)
            return found;
        while (bytes && inside->name[bytes - 1] != '.')
            bytes--;
        bytes -= bytes != 0;
    }
}
