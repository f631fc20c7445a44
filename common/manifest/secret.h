/* Secrets: from documents of kind Secret, and from a folder as Kubernetes mounts them,
 * <folder>/<secret>/<key>. Documents come first. Values are wiped when the store is freed, and no
 * message ever holds one. */
#pragma once

#include "common/error.h"
#include "common/manifest/shape.h"

typedef struct SecretStore SecretStore;

void secret_store_free(SecretStore *store); /* NULL is fine */
SecretStore *secret_store_new(const char *folder /* NULL: none */) OWNED_BY(secret_store_free);

/* Takes in a document: stringData as it is, data as base64. */
void secret_store_read(SecretStore *store, const YamlNode *document, Report *report);

/* A NUL-terminated copy, the caller's to wipe and free; one line feed at the end of a file is left
 * out. CONFIG "SecretMissing" says where it was looked for, "SecretInvalid" that it can't be text.
 */
MUST_CHECK bool secret_get(const SecretStore *store, const char *namespace_name, const char *name,
                           const char *key, char **ret_value, Error *err);
void secret_wipe(char *value); /* and frees; NULL is fine */
