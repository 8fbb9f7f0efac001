/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum {
    RECEIVE = 32768,    /* what the kernel fills at most in one datagram of a dump */
    NOTIFICATIONS = 512 /* datagrams read in one poll: past that it counts as a loss */
};

static const size_t header_size = sizeof(struct nlattr);

static size_t aligned(size_t length)
{
    return (length + 3) & ~(size_t)3; /* NLMSG_ALIGN and NLA_ALIGN, which are signed */
}

static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t length = sizeof cookie;

    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) ? 0 : cookie;
}

int wsasec_netlink_open(struct wsasec_netlink *link, int protocol, uint32_t groups)
{
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
    socklen_t length = sizeof address;
    const struct timeval deadline = {.tv_sec = 1};
    int error;

    link->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (link->fd < 0)
        return -errno;
    if (setsockopt(link->fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline) ||
        bind(link->fd, (struct sockaddr *)&address, sizeof address) ||
        getsockname(link->fd, (struct sockaddr *)&address, &length)) {
        error = -errno;
        close(link->fd);
        link->fd = -1;
        return error;
    }
    link->port = address.nl_pid;
    link->seq = 0;
    link->cookie = cookie_of(link->fd);
    return 0;
}

int wsasec_netlink_alive(const struct wsasec_netlink *link)
{
    return link->fd >= 0 && cookie_of(link->fd) == link->cookie;
}

void wsasec_netlink_close(struct wsasec_netlink *link)
{
    if (wsasec_netlink_alive(link))
        close(link->fd);
    link->fd = -1;
}

void wsasec_message_start(struct wsasec_message *message, uint16_t type, uint16_t flags, const void *body,
                          size_t length)
{
    memset(message, 0, sizeof *message);
    message->header.nlmsg_type = type;
    message->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    message->header.nlmsg_len = (uint32_t)NLMSG_LENGTH(length);
    assert(message->header.nlmsg_len <= sizeof message->bytes);
    memcpy(NLMSG_DATA(&message->header), body, length);
}

void wsasec_message_attribute(struct wsasec_message *message, uint16_t type, const void *value, size_t length)
{
    size_t start = aligned(message->header.nlmsg_len);
    struct nlattr attribute = {.nla_type = type, .nla_len = (uint16_t)(header_size + length)};

    assert(start + header_size + length <= sizeof message->bytes);
    memcpy(message->bytes + start, &attribute, sizeof attribute);
    memcpy(message->bytes + start + header_size, value, length);
    message->header.nlmsg_len = (uint32_t)(start + header_size + length);
}

const void *wsasec_attribute(const struct nlmsghdr *message, size_t offset, uint16_t type, size_t least,
                             size_t *length)
{
    const unsigned char *at = (const unsigned char *)message + NLMSG_HDRLEN + aligned(offset);
    const unsigned char *end = (const unsigned char *)message + message->nlmsg_len;
    struct nlattr attribute;

    while (at < end && (size_t)(end - at) >= sizeof attribute) {
        memcpy(&attribute, at, sizeof attribute);
        if (attribute.nla_len < header_size || attribute.nla_len > (size_t)(end - at))
            return NULL;
        if ((attribute.nla_type & NLA_TYPE_MASK) == type) {
            if ((size_t)attribute.nla_len - header_size < least)
                return NULL;
            if (length)
                *length = (size_t)attribute.nla_len - header_size;
            return at + header_size;
        }
        at += aligned(attribute.nla_len) < (size_t)(end - at) ? aligned(attribute.nla_len) : (size_t)(end - at);
    }
    return NULL;
}

/* Whether a message belongs to a request of ours; notifications of what we did ourselves carry our port, too. */
static int is_answer(const struct wsasec_netlink *link, const struct nlmsghdr *message)
{
    return message->nlmsg_pid == link->port && message->nlmsg_seq == link->seq;
}

/* Returns 1 when the answer is complete, 0 when more is to come, or -errno. */
static int take(struct wsasec_netlink *link, const struct nlmsghdr *message,
                void (*answer)(void *, const struct nlmsghdr *), void *context)
{
    int error;

    if (!is_answer(link, message)) {
        if (message->nlmsg_pid != link->port && link->notify)
            link->notify(link->context, message);
        return 0;
    }
    if (message->nlmsg_type == NLMSG_DONE)
        return 1;
    if (message->nlmsg_type == NLMSG_ERROR) {
        if (message->nlmsg_len < NLMSG_LENGTH(sizeof error))
            return -EBADMSG;
        memcpy(&error, NLMSG_DATA(message), sizeof error);
        return error ? error : 1;
    }
    if (answer)
        answer(context, message);
    return 0;
}

static int take_datagram(struct wsasec_netlink *link, const void *data, size_t size,
                         void (*answer)(void *, const struct nlmsghdr *), void *context)
{
    const unsigned char *at = data;
    int end = 0;

    while (size >= NLMSG_HDRLEN && !end) {
        const struct nlmsghdr *message = (const struct nlmsghdr *)(const void *)at;
        size_t length = message->nlmsg_len;

        if (length < NLMSG_HDRLEN || length > size)
            return -EBADMSG;
        end = take(link, message, answer, context);
        length = aligned(length) < size ? aligned(length) : size;
        at += length;
        size -= length;
    }
    return end;
}

/* One datagram from the kernel (others are thrown away); its size, or -errno. */
static ssize_t receive(struct wsasec_netlink *link, void *buffer, int flags)
{
    struct sockaddr_nl from = {0};
    struct iovec part = {.iov_base = buffer, .iov_len = RECEIVE};
    struct msghdr header = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1};
    ssize_t size;

    do
        size = recvmsg(link->fd, &header, flags);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -errno;
    if (header.msg_flags & MSG_TRUNC)
        return -EMSGSIZE;
    return from.nl_pid ? 0 : size;
}

int wsasec_netlink_call(struct wsasec_netlink *link, struct wsasec_message *message,
                        void (*answer)(void *, const struct nlmsghdr *), void *context)
{
    _Alignas(8) unsigned char buffer[RECEIVE];
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    ssize_t size;
    int end = 0;

    message->header.nlmsg_seq = ++link->seq;
    message->header.nlmsg_pid = link->port;
    if (sendto(link->fd, message, message->header.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return -errno;
    while (!end) {
        size = receive(link, buffer, 0);
        if (size == -ENOBUFS) { /* notifications were lost, not the answer: the kernel makes room for that */
            if (link->notify)
                link->notify(link->context, NULL);
            continue;
        }
        if (size < 0)
            return size == -EAGAIN ? -ETIMEDOUT : (int)size;
        end = take_datagram(link, buffer, (size_t)size, answer, context);
    }
    return end < 0 ? end : 0;
}

int wsasec_netlink_poll(struct wsasec_netlink *link)
{
    _Alignas(8) unsigned char buffer[RECEIVE];
    ssize_t size;

    /* Only a look: should the program have closed the descriptor and reused its number, nobody's data is eaten. */
    if (recv(link->fd, buffer, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno != ENOBUFS)
        return errno == EAGAIN ? 0 : -errno;
    if (!wsasec_netlink_alive(link))
        return -EBADF;
    for (int i = 0; i < NOTIFICATIONS; i++) {
        size = receive(link, buffer, MSG_DONTWAIT);
        if (size == -EAGAIN)
            return 0;
        if (size < 0)
            break;
        if (take_datagram(link, buffer, (size_t)size, NULL, NULL) < 0)
            break;
    }
    if (link->notify)
        link->notify(link->context, NULL);
    return 0;
}
