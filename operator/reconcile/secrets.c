/* The Secrets that specs name: whether they are there, and which version. No value of one is known
 * here. */
#include "operator/reconcile/reconcile.h"

bool secrets_are_there(Look *look, const json_t *names, State *ret)
{
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        AUTO(mem_free)
        char *version = cache_version(look->op->cache, KIND_SECRET, look->namespace_name,
                                      json_string_value(name));
        if (version)
            continue;
        *ret = state_of(HEALTH_STALLED, "Stalled", "SecretMissing",
                        "Secret %s, which it names, is not in namespace %s: make it",
                        json_string_value(name), look->namespace_name);
        return false;
    }
    return true;
}

void hash_secrets(Look *look, const json_t *names, char ret[HASH_BYTES])
{
    Bytes text = {0};
    size_t i;
    json_t *name;
    json_array_foreach(names, i, name)
    {
        AUTO(mem_free)
        char *version = cache_version(look->op->cache, KIND_SECRET, look->namespace_name,
                                      json_string_value(name));
        AUTO(mem_free)
        char *line = mem_format("%s=%s\n", json_string_value(name), version ? version : "");
        bytes_put(&text, line, strlen(line));
    }
    bytes_put_u8(&text, '\0');
    hash_as_text((char *)text.data, ret);
    bytes_done(&text);
}
