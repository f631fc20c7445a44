/* .proto files as text → what they declare: messages, their fields, enums. Everything lies in an
 * arena. It came from the network.
 * https://protobuf.dev/reference/protobuf/proto3-spec/, …/proto2-spec/ */
#pragma once

#include "agent/record/writer.h"
#include "common/arena.h"
#include "common/error.h"

typedef struct ProtoType ProtoType;
typedef struct ProtoField {
    const char *name, *type; /* as it is written: a scalar's, or a message's or enum's name */
    const char *key;         /* of a map: its key's type; NULL: it is none */
    uint32_t number;
    bool repeated, required, implicit; /* implicit: left out it has its default */
    uint32_t oneof;                    /* of the message's, counted from 1; 0: none */
    const ProtoType *found;            /* the type that is meant, once it was looked for */
} ProtoField;

struct ProtoType {
    const char *name; /* "package.Outer.Inner" */
    bool is_enum;
    ProtoField *fields;
    uint32_t field_count, oneof_count;
    uint32_t *order; /* the fields by their numbers */
    const char **symbols;
    int32_t *numbers; /* of the symbols */
    uint32_t symbol_count;
    ProtoType *first, *last; /* messages declared in it */
    ProtoType *next;         /* declared behind it */
};

typedef struct ProtoFile {
    Arena *arena;      /* the caller's */
    ProtoType main;    /* its messages are those of the schema itself */
    ProtoType **types; /* of all files */
    uint32_t type_count;
} ProtoFile;

/* CONFIG "BadSchema" with the line. */
MUST_CHECK bool proto_parse(const WriterSchema *writer, Arena *arena, ProtoFile *ret, Error *err);
/* What `name` means inside a message; NULL: nothing. */
const ProtoType *proto_find(const ProtoFile *file, const ProtoType *inside, const char *name);
