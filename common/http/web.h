/* What everything that stands on libwebsockets has in common: how it begins, and how the pieces of
 * a message become one. Messages and connections are their owners' to bound. */
#pragma once

#include <libwebsockets.h>

#include "common/bytes.h"
#include "common/error.h"

/* `info` as the caller wants it; what is the same everywhere is filled in. The caller's to be
 * destroyed; NULL: it could not be made. */
struct lws_context *web_context(struct lws_context_creation_info *info);
/* Likewise, listening on info->iface, an IPv4 address, and info->port (0: a free one), which is
 * *ret_port. `flag` is the command line's option that said so. NULL: CONFIG "BadAddress",
 * "AddressInUse"; RETRY "NoSocket". */
struct lws_context *web_listen(struct lws_context_creation_info *info, const char *flag,
                               uint16_t *ret_port, Error *err);

typedef enum WebMessage { WEB_MORE, WEB_WHOLE, WEB_TOO_LARGE } WebMessage;
/* What a RECEIVE callback got joins *message, of at most `most` bytes. */
WebMessage web_gather(struct lws *wsi, Bytes *message, const void *data, size_t bytes, size_t most);
