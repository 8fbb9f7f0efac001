/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with: ecn.c */
#include "ecn.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
} address;

static int socket_of(int family)
{
    const int fd = socket(family, SOCK_DGRAM, 0);
    socklen_t length = family == AF_INET ? sizeof address.four : sizeof address.six;

    memset(&address, 0, sizeof address);
    address.any.sa_family = (sa_family_t)family;
    if (family == AF_INET)
        address.four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        address.six.sin6_addr = in6addr_loopback;
    if (fd < 0 || bind(fd, &address.any, length)) {
        fprintf(stderr, "no loopback of family %d: %s\n", family, strerror(errno));
        exit(77);
    }
    CHECK(getsockname(fd, &address.any, &length) == 0);
    return fd;
}

/* Each TOS with its ECN, and each TTL, as it is sent so it arrives, over a socket of the real kind. */
static void test_over_loopback(int family)
{
    const int in = socket_of(family);
    const int out = socket(family, SOCK_DGRAM, 0);

    CHECK(out >= 0 && wse_outer_enable(in, family) == 0);
    for (int i = 0; i < 256; i++) {
        const struct wse_outer sent = {(uint8_t)i, (uint8_t)(i == 0 ? 0 : 256 - i)};
        _Alignas(struct cmsghdr) uint8_t control[WSE_OUTER_CONTROL + 1];
        uint8_t byte = 1;
        struct iovec vector = {&byte, 1};
        struct msghdr message = {.msg_name = &address, .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control};
        struct wse_outer seen;

        message.msg_namelen = family == AF_INET ? sizeof address.four : sizeof address.six;
        control[WSE_OUTER_CONTROL] = 0x5a;
        message.msg_controllen = wse_outer_write(control, family, sent);
        CHECK(message.msg_controllen <= WSE_OUTER_CONTROL && control[WSE_OUTER_CONTROL] == 0x5a);
        CHECK(sendmsg(out, &message, 0) == 1);
        message.msg_name = NULL;
        message.msg_namelen = 0;
        message.msg_controllen = WSE_OUTER_CONTROL;
        CHECK(recvmsg(in, &message, 0) == 1 && !(message.msg_flags & MSG_CTRUNC));
        seen = wse_outer_read(&message);
        CHECK(seen.tos == sent.tos && (seen.ttl == sent.ttl || !sent.ttl));
    }
    close(in);
    close(out);
}

static void test_missing(void)
{
    struct msghdr message = {0};
    struct wse_outer seen = wse_outer_read(&message);
    const struct wse_packet packet = {.tos = 0x2b, .ttl = 9};

    CHECK(seen.tos == 0 && seen.ttl == 64);
    CHECK(wse_outer_of(&packet).tos == 0x2b && wse_outer_of(&packet).ttl == 9);
    CHECK(wse_outer_enable(-1, AF_INET) == -EBADF && wse_outer_enable(-1, AF_INET6) == -EBADF);
}

int main(void)
{
    test_missing();
    test_over_loopback(AF_INET);
    test_over_loopback(AF_INET6);
    return 0;
}
