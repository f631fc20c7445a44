/* Places: see place.h. */
#include "agent/capture/mysql/place.h"

#include <inttypes.h>
#include <stdio.h>

bool place_parse_file(const char *name, size_t name_bytes, uint64_t *ret, size_t *ret_base_bytes,
                      Error *err)
{
    size_t at = name_bytes;
    while (at && name[at - 1] >= '0' && name[at - 1] <= '9')
        at--;
    uint64_t file = 0;
    bool ok = at < name_bytes && at && name[at - 1] == '.' && name_bytes < PLACE_NAME_BYTES;
    for (size_t i = at; ok && i < name_bytes; i++) {
        file = file * 10 + (uint64_t)(name[i] - '0');
        ok = file <= PLACE_FILE_MAX;
    }
    if (!ok)
        return error_set(err, ERROR_DATA, "BadPlace", "'%.*s' is no binlog file's name",
                         (int)(name_bytes < 200 ? name_bytes : 200), name);
    *ret = file;
    *ret_base_bytes = at;
    return true;
}

bool place_format_file(const char *base, uint64_t file, char ret[PLACE_NAME_BYTES])
{
    int bytes = snprintf(ret, PLACE_NAME_BYTES, "%s%06" PRIu64, base, file);
    return bytes > 0 && bytes < PLACE_NAME_BYTES;
}
