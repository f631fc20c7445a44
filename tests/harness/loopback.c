/* Preloaded into a server that would listen on every address and has no setting for it: it listens
 * on 127.0.0.1 then. Built and used by tests/harness/rest.py. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

int bind(int fd, const struct sockaddr *address, socklen_t bytes)
{
    int (*next)(int, const struct sockaddr *, socklen_t);
    void *symbol = dlsym(RTLD_NEXT, "bind");
    memcpy(&next, &symbol, sizeof next);
    struct sockaddr_storage here = {0};
    if (!address || bytes > sizeof here)
        return next(fd, address, bytes);
    memcpy(&here, address, bytes);
    struct sockaddr_in *v4 = (struct sockaddr_in *)&here;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&here;
    if (here.ss_family == AF_INET && bytes >= sizeof *v4 &&
        v4->sin_addr.s_addr == htonl(INADDR_ANY))
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (here.ss_family == AF_INET6 && bytes >= sizeof *v6 &&
             memcmp(&v6->sin6_addr, &in6addr_any, sizeof in6addr_any) == 0)
        (void)inet_pton(AF_INET6, "::ffff:127.0.0.1", &v6->sin6_addr);
    return next(fd, (struct sockaddr *)&here, bytes);
}
