#include "agent/capture/tls/tls_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEBIAN_CA_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

static void pem_close(PemFile *file)
{
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

static bool pem_open(const char *pem, PemFile *ret, Error *err)
{
    *ret = (PemFile){.fd = -1};
    if (!pem)
        return true;
    size_t bytes = strlen(pem);
    ret->fd = memfd_create("firn-pem", MFD_CLOEXEC);
    if (ret->fd < 0 || fchmod(ret->fd, 0600) != 0 || write(ret->fd, pem, bytes) != (ssize_t)bytes) {
        error_errno(err, ERROR_RETRY, "NoMemoryFile", errno, "a file in memory for TLS");
        pem_close(ret);
        return false;
    }
    snprintf(ret->path, sizeof ret->path, "/proc/self/fd/%d", ret->fd);
    return true;
}

void tls_files_close(TlsFiles *files)
{
    pem_close(&files->ca);
    pem_close(&files->client);
    pem_close(&files->client_key);
}

bool tls_files_open(const ConnectorSpec *spec, TlsFiles *ret, Error *err)
{
    *ret = (TlsFiles){{.fd = -1}, {.fd = -1}, {.fd = -1}};
    bool ok = pem_open(spec->ca_pem, &ret->ca, err) &&
              pem_open(spec->client_pem, &ret->client, err) &&
              pem_open(spec->client_key_pem, &ret->client_key, err);
    if (ok && !spec->ca_pem && spec->tls_mode >= TLS_VERIFY_CA)
        snprintf(ret->ca.path, sizeof ret->ca.path, "%s", DEBIAN_CA_BUNDLE);
    if (!ok)
        tls_files_close(ret);
    return ok;
}
