/* SPDX-License-Identifier: Apache-2.0 */
#include "path.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "esp.h"
#include "icmp.h"
#include "sa.h"
#include "sending.h"

enum {
    FIRST_MILLISECONDS = 1000, /* between the first look, whose packet may teach the kernel, and the second */
    EACH_MILLISECONDS = 30000,
    TELL_MILLISECONDS = 100,
    TTL = 64
};

int wse_path_due(struct wse_path *path, uint64_t now)
{
    uint64_t next = atomic_load_explicit(&path->next, memory_order_relaxed);

    return now >= next && atomic_compare_exchange_strong_explicit(
                              &path->next, &next, now + (next ? EACH_MILLISECONDS : FIRST_MILLISECONDS),
                              memory_order_relaxed, memory_order_relaxed);
}

int wse_path_tells(struct wse_path *path, uint64_t now)
{
    uint64_t told = atomic_load_explicit(&path->told, memory_order_relaxed);

    return now - told >= TELL_MILLISECONDS &&
           atomic_compare_exchange_strong_explicit(&path->told, &told, now, memory_order_relaxed, memory_order_relaxed);
}

int wse_path_set_cut(int fd, int family, int may)
{
    const int four = family == AF_INET;
    const int value = four ? may ? IP_PMTUDISC_DONT : IP_PMTUDISC_DO : may ? IPV6_PMTUDISC_DONT : IPV6_PMTUDISC_DO;

    return setsockopt(fd, four ? IPPROTO_IP : IPPROTO_IPV6, four ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &value,
                      sizeof value)
               ? -errno
               : 0;
}

/* Sends a dummy packet with so many words of ESP's alignment. 1, or 0: it is too large; -1: it is not known. */
static int passes(struct wse_association *association, unsigned thread, int fd, uint32_t words, uint8_t *room)
{
    const bool esn = association->flags & WSE_SA_ESN;
    const size_t payload = (size_t)words * WSE_ESP_ALIGNMENT - WSE_ESP_TRAILER;
    const uint64_t sequence = wse_sequence_take(&association->sequence, 1, esn);
    const struct wse_target *target = atomic_load_explicit(&association->target, memory_order_acquire);
    alignas(struct cmsghdr) uint8_t control[WSE_SENDING_CONTROL];
    struct iovec vector = {.iov_base = room};
    struct msghdr header;

    if (!sequence)
        return -1;
    memset(room + WSE_ESP_HEAD, 0, payload);
    vector.iov_len = wse_esp_seal(association->key, thread, association->name.spi, sequence, esn, room, payload,
                                  WSE_ESP_DUMMY);
    if (!vector.iov_len)
        return -1;
    wse_sending_start(&header, control, &association->name, target, (struct wse_outer){.ttl = TTL});
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    if (sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        return 1;
    return errno == EMSGSIZE ? 0 : -1;
}

unsigned wse_path_look(struct wse_association *association, unsigned thread, int fd, uint32_t most, uint8_t *room)
{
    const int family = association->name.family;
    const uint32_t header = family == AF_INET ? 20 : 40;
    const uint32_t least = family == AF_INET ? WSE_MTU_LEAST_4 : WSE_MTU_LEAST_6;
    const uint32_t too_low = (least - header + WSE_ESP_TRAILER - 1) / WSE_ESP_ALIGNMENT;
    uint32_t low = too_low;
    uint32_t high = (most - header + WSE_ESP_TRAILER + WSE_ESP_ALIGNMENT - 1) / WSE_ESP_ALIGNMENT;
    uint32_t mtu = 0;
    unsigned sent = 0;
    int result;

    if (most <= least || wse_path_set_cut(fd, family, 0))
        return 0;
    result = passes(association, thread, fd, high, room);
    sent += result > 0;
    if (!result) {
        while (result >= 0 && high - low > 1) {
            const uint32_t middle = low + (high - low) / 2;

            result = passes(association, thread, fd, middle, room);
            if (result)
                low = middle;
            else
                high = middle;
            sent += result > 0;
        }
        /* Where not even what a family's programs may count on goes uncut, smaller packets are of no use. */
        if (low != too_low)
            mtu = header + low * WSE_ESP_ALIGNMENT - WSE_ESP_TRAILER;
    }
    wse_path_set_cut(fd, family, 1);
    if (result >= 0)
        atomic_store_explicit(&association->path.mtu, mtu, memory_order_relaxed);
    return sent;
}
