/* Namespaces and tables as they stand in URLs. */
#include <string.h>

#include "agent/catalog/rest/rest.h"
#include "common/mem.h"

int rest_levels(const char *database)
{
    int levels = 1;
    for (; *database; database++)
        levels += *database == '.';
    return levels;
}

json_t *rest_namespace(const char *database, int levels)
{
    json_t *names = json_array();
    for (int i = 0; i < levels || levels == 0; i++) {
        size_t bytes = strcspn(database, ".");
        json_array_append_new(names, json_stringn(database, bytes));
        if (!database[bytes])
            break;
        database += bytes + 1;
    }
    return names;
}

static void put_text(Bytes *to, const char *text)
{
    bytes_put(to, text, strlen(text));
}

char *rest_url(const RestCatalog *catalog, const char *database, int levels, bool tables,
               const char *table, const char *tail)
{
    Bytes url = {0};
    put_text(&url, catalog->uri);
    put_text(&url, "/v1/");
    put_text(&url, catalog->prefix);
    put_text(&url, "namespaces");
    if (database) {
        json_t *names = rest_namespace(database, levels), *name;
        size_t i;
        json_array_foreach(names, i, name)
        {
            AUTO(mem_free) char *escaped = http_escape(json_string_value(name), "");
            put_text(&url, i ? catalog->separator : "/");
            put_text(&url, escaped);
        }
        json_decref(names);
    }
    if (tables)
        put_text(&url, "/tables");
    if (table) {
        AUTO(mem_free) char *escaped = http_escape(table, "");
        put_text(&url, "/");
        put_text(&url, escaped);
    }
    put_text(&url, tail);
    bytes_put_u8(&url, 0);
    return (char *)url.data;
}
