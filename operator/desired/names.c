#include <ctype.h>
#include <stdio.h>

#include "operator/desired/desired.h"

uint64_t hash_of_text(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
    return hash ^ hash >> 32;
}

void hash_as_text(const char *text, char ret[HASH_BYTES])
{
    snprintf(ret, HASH_BYTES, "%016llx", (unsigned long long)hash_of_text(text));
}

static void cut(const char *name, const char *changed, size_t bytes, const char *suffix,
                char ret[NAME_BYTES_MAX])
{
    while (bytes && !isalnum((unsigned char)changed[bytes - 1]))
        bytes--;
    snprintf(ret, NAME_BYTES_MAX, "%.*s-%08x%s", (int)bytes, changed, (uint32_t)hash_of_text(name),
             suffix);
}

void name_of_child(const char *name, const char *suffix, char ret[NAME_BYTES_MAX])
{
    /* A Service's name begins with a letter. */
    bool digit = isdigit((unsigned char)*name);
    AUTO(mem_free) char *changed = mem_format("%s%s", digit ? "f-" : "", name);
    bool dots = strchr(name, '.');
    for (char *at = changed; *at; at++)
        if (*at == '.')
            *at = '-';
    size_t most = NAME_BYTES_MAX - 1 - strlen(suffix);
    if (!dots && !digit && strlen(changed) <= most)
        snprintf(ret, NAME_BYTES_MAX, "%s%s", changed, suffix);
    else
        cut(name, changed, strnlen(changed, most - 9), suffix, ret);
}

void name_of_label(const char *name, char ret[NAME_BYTES_MAX])
{
    if (strlen(name) < NAME_BYTES_MAX)
        snprintf(ret, NAME_BYTES_MAX, "%s", name);
    else
        cut(name, name, NAME_BYTES_MAX - 10, "", ret);
}
