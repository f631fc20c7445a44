#include "common/json/text.h"

#include "common/bytes.h"

static int put(const char *text, size_t bytes, void *context)
{
    bytes_put(context, text, bytes);
    return 0;
}

char *json_text(const json_t *value, size_t flags)
{
    Bytes text = {0};
    ASSERT(json_dump_callback(value, put, &text, flags) == 0);
    bytes_put(&text, "", 1);
    return (char *)text.data;
}
