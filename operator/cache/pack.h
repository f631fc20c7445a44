/* Texts of objects, packed by zstd (RFC 8878) with the words that most have in common: of two
 * kilobytes some hundred bytes are left. Not for several threads at once. */
#pragma once

#include "common/bytes.h"

typedef struct Packed {
    uint32_t bytes, text_bytes;
    uint8_t data[];
} Packed;

typedef struct Packer Packer;
void packer_free(Packer *packer);
Packer *packer_new(void) OWNED_BY(packer_free);

/* With free. */
Packed *pack(Packer *packer, const char *text);
/* With its NUL; the caller's. */
char *unpack(Packer *packer, const Packed *packed);
DEFINE_AUTO(Packer, packer_free);
