#include "agent/maintain/turn.h"

#include <jansson.h>
#include <string.h>

#include "common/mem.h"

#define TURN_BYTES_MAX 4096

static int64_t number(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? value : 0;
}

bool turn_read(Store *store, const char *uri, Turn *ret, Error *err)
{
    Bytes text = {0};
    Error why = {0};
    *ret = (Turn){0};
    if (!store_get_tagged(store, uri, TURN_BYTES_MAX, &text, &ret->tag, &why)) {
        bytes_done(&text);
        if (strcmp(why.code, "ObjectTooLarge") == 0)
            return true;
        *err = why;
        return false;
    }
    json_t *json = json_loadb((const char *)text.data, text.used, 0, NULL);
    ret->begun_ms = number(json, "begun-ms");
    ret->done_ms = number(json, "done-ms");
    ret->files = (uint64_t)number(json, "files");
    ret->bytes = (uint64_t)number(json, "bytes");
    json_decref(json);
    bytes_done(&text);
    return true;
}

bool turn_write(Store *store, const char *uri, Turn *turn, Error *err)
{
    AUTO(mem_free)
    char *text = mem_format("{\"begun-ms\":%lld,\"done-ms\":%lld,\"files\":%llu,\"bytes\":%llu}\n",
                            (long long)turn->begun_ms, (long long)turn->done_ms,
                            (unsigned long long)turn->files, (unsigned long long)turn->bytes);
    return store_put_tagged(store, uri, text, strlen(text), &turn->tag, err);
}
