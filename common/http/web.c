#include "common/http/web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define VHOST "firn"

struct lws_context *web_context(struct lws_context_creation_info *info)
{
    info->gid = (gid_t)-1;
    info->uid = (uid_t)-1;
    info->count_threads = 1;
    info->server_string = "firn";
    info->vhost_name = VHOST;
    lws_set_log_level(0, NULL);
    return lws_create_context(info);
}

/* libwebsockets does not say why it could not listen, and tries again later; so ask first. */
static bool can_listen(const char *address, int port, const char *flag, Error *err)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
        return error_set(err, ERROR_CONFIG, "BadAddress",
                         "\"%s\" is no IPv4 address to listen on, for %s: write 127.0.0.1 or "
                         "0.0.0.0",
                         address, flag);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0)
        return error_errno(err, ERROR_RETRY, "NoSocket", errno, "can't make a socket");
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int failed = bind(fd, (const struct sockaddr *)&to, sizeof to) != 0 ? errno : 0;
    if (!failed)
        failed = listen(fd, 1) != 0 ? errno : 0;
    close(fd);
    if (failed == EADDRINUSE)
        return error_set(err, ERROR_CONFIG, "AddressInUse",
                         "port %d of %s is in use: choose another with %s ADDRESS:PORT (port 0 "
                         "takes a free one)",
                         port, address, flag);
    return !failed || error_errno(err, ERROR_CONFIG, "BadAddress", failed,
                                  "can't listen on %s:%d, for %s", address, port, flag);
}

struct lws_context *web_listen(struct lws_context_creation_info *info, const char *flag,
                               uint16_t *ret_port, Error *err)
{
    if (!can_listen(info->iface, info->port, flag, err))
        return NULL;
    info->options |= LWS_SERVER_OPTION_FAIL_UPON_UNABLE_TO_BIND | LWS_SERVER_OPTION_DISABLE_IPV6;
    struct lws_context *context = web_context(info);
    struct lws_vhost *vhost = context ? lws_get_vhost_by_name(context, VHOST) : NULL;
    int port = vhost ? lws_get_vhost_listen_port(vhost) : 0;
    if (port > 0) {
        *ret_port = (uint16_t)port;
        return context;
    }
    if (context)
        lws_context_destroy(context);
    (void)error_set(err, ERROR_CONFIG, "AddressInUse",
                    "can't listen on %s:%d, for %s: choose another port", info->iface, info->port,
                    flag);
    return NULL;
}

WebMessage web_gather(struct lws *wsi, Bytes *message, const void *data, size_t bytes, size_t most)
{
    if (bytes > most - message->used)
        return WEB_TOO_LARGE;
    bytes_put(message, data, bytes);
    return lws_is_final_fragment(wsi) && !lws_remaining_packet_payload(wsi) ? WEB_WHOLE : WEB_MORE;
}
