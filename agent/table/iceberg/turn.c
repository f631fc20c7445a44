#include "agent/table/iceberg/turn.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/json/text.h"
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
    const char *failed = json_string_value(json_object_get(json, "failed"));
    snprintf(ret->failed, sizeof ret->failed, "%s", failed ? failed : "");
    json_decref(json);
    bytes_done(&text);
    return true;
}

bool turn_write(Store *store, const char *uri, Turn *turn, Error *err)
{
    json_t *json = json_pack("{s:I,s:I,s:I,s:I,s:s}", "begun-ms", (json_int_t)turn->begun_ms,
                             "done-ms", (json_int_t)turn->done_ms, "files", (json_int_t)turn->files,
                             "bytes", (json_int_t)turn->bytes, "failed", turn->failed);
    ASSERT(json);
    AUTO(mem_free) char *text = json_text(json, JSON_COMPACT);
    json_decref(json);
    return store_put_tagged(store, uri, text, strlen(text), &turn->tag, err);
}
