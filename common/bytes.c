#include "common/bytes.h"

void bytes_done(Bytes *bytes)
{
    free(bytes->data);
    *bytes = (Bytes){0};
}

void bytes_grow(Bytes *bytes, size_t more)
{
    ASSERT(more <= SIZE_MAX / 2 - bytes->used);
    size_t need = bytes->used + more;
    size_t held = bytes->held ? bytes->held * 2 : 256;
    if (held < need)
        held = need;
    bytes->data = mem_regrow(bytes->data, held, 1);
    bytes->held = held;
}
