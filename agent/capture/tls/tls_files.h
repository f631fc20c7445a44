/* What a Connector shows and checks of TLS, as files: libpq and libmariadb want paths, and of a key
 * that nobody else may read it. They are in memory and have no name that outlives them. */
#pragma once

#include "common/error.h"
#include "common/manifest/manifest.h"

typedef struct PemFile {
    int fd;
    char path[40]; /* "": there is none */
} PemFile;

typedef struct TlsFiles {
    PemFile ca, client, client_key;
} TlsFiles;

void tls_files_close(TlsFiles *files);
/* The paths last until tls_files_close. Where the server's chain is to be verified and the
 * Connector names no authority, ca is the system's. RETRY "NoMemoryFile"; then nothing is open. */
MUST_CHECK bool tls_files_open(const ConnectorSpec *spec, TlsFiles *ret, Error *err);
