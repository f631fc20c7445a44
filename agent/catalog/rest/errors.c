/* What a refusal means, and how it is told: the server's own words are quoted, cut, and left out
 * when they repeat a secret of ours. */
#include <stdio.h>
#include <string.h>

#include "agent/catalog/rest/rest.h"
#include "common/text.h"

json_t *rest_error(const HttpAnswer *answer, const char **ret_type, const char **ret_message)
{
    json_t *body = json_loadb((const char *)answer->body.data, answer->body.used, 0, NULL);
    json_t *error = json_object_get(body, "error");
    *ret_type = *ret_message = "";
    if (json_is_object(error)) {
        const char *type = json_string_value(json_object_get(error, "type"));
        const char *message = json_string_value(json_object_get(error, "message"));
        *ret_type = type ? type : "";
        *ret_message = message ? message : "";
    } else if (json_is_string(error)) { /* OAuth2's form */
        const char *message = json_string_value(json_object_get(body, "error_description"));
        *ret_type = json_string_value(error);
        *ret_message = message ? message : "";
    } else {
        json_decref(body);
        return NULL;
    }
    return body;
}

bool rest_unsupported(const HttpAnswer *answer)
{
    const char *type, *message;
    json_t *body = answer->status >= 400 ? rest_error(answer, &type, &message) : NULL;
    bool unsupported =
        body && (strcmp(type, "UnsupportedOperationException") == 0 || answer->status == 406);
    json_decref(body);
    return unsupported;
}

static bool repeats(const char *text, const char *secret)
{
    return secret && *secret && strstr(text, secret);
}

bool rest_refused(const RestCatalog *catalog, const HttpAnswer *answer, const char *what,
                  ErrorKind kind, const char *code, const char *way_out, Error *err)
{
    const char *type, *message;
    json_t *body = rest_error(answer, &type, &message);
    Bytes quoted = {0};
    /* a token is only read here: it may be renewed beside us, but never becomes shorter */
    bool secret = repeats(message, catalog->client_secret) ||
                  (catalog->auth == REST_AUTH_BEARER && repeats(message, catalog->token)) ||
                  strstr(message, "eyJ") || strstr(message, "Bearer ");
    text_quote(&quoted, secret ? "(left out: it repeats a secret)" : message);
    error_set(err, kind, code, "catalog %s can't %s: status %d%s%.80s%s%.*s%s%s", catalog->uri,
              what, answer->status, *type ? ", " : "", secret ? "" : type, *message ? ", " : "",
              *message ? (int)quoted.used : 0, (const char *)quoted.data, way_out ? "; " : "",
              way_out ? way_out : "");
    bytes_done(&quoted);
    json_decref(body);
    return false;
}
