/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled with threads: path.c sending.c ecn.c esp.c replay.c log.c crypto*.c */
#include "path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <unistd.h>

#include "keys.h"
#include "sa.h"

enum { SPI = 0x01020304, DEVICE = 65535, KNOWN = 1234, ROOM = 1 << 17, UDP = 8, ESP_AROUND = 16 + 16 };

/* An association of this host with itself, by UDP, and the socket at its other end. */
struct way {
    struct wse_association association;
    struct wse_target target;
    const struct wse_crypto *crypto;
    struct wse_key *opens;
    struct wse_replay *replay;
    int family, fd, far;
    uint32_t header, most; /* of an IP header; of a packet that goes this way */
    uint8_t *room;
};

/* At once, a second later, and then each half minute; by one of those who ask. */
static void test_when(void)
{
    struct wse_path path = {0};

    CHECK(wse_path_due(&path, 5000));
    CHECK(!wse_path_due(&path, 5000) && !wse_path_due(&path, 5999));
    CHECK(wse_path_due(&path, 6000));
    CHECK(!wse_path_due(&path, 6000) && !wse_path_due(&path, 35999));
    CHECK(wse_path_due(&path, 36000));
    CHECK(!wse_path_due(&path, 65999));
    CHECK(wse_path_due(&path, 1000000));
    CHECK(wse_path_tells(&path, 5000));
    CHECK(!wse_path_tells(&path, 5000) && !wse_path_tells(&path, 5099));
    CHECK(wse_path_tells(&path, 5100));
}

static int bound(int family, const struct sockaddr *name, socklen_t length)
{
    const int fd = socket(family, SOCK_DGRAM, 0);

    if (fd >= 0 && bind(fd, name, length)) {
        CHECK(errno == EADDRNOTAVAIL);
        close(fd);
        return -1;
    }
    return fd;
}

/* How large a packet may be on this way, as the kernel says of a connected socket. */
static uint32_t most_of(int family, const struct wse_target *target)
{
    const int fd = socket(family, SOCK_DGRAM, 0);
    int mtu = 0;
    socklen_t length = sizeof mtu;

    CHECK(!connect(fd, &target->any, target->length));
    CHECK(!getsockopt(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_MTU : IPV6_MTU, &mtu,
                      &length));
    close(fd);
    return (uint32_t)mtu < 65535 || family != AF_INET ? (uint32_t)mtu : 65535;
}

/* 0: there is no such family. */
static int open_way(struct way *way, const struct wse_crypto *crypto, int family)
{
    struct wse_association *association = &way->association;
    uint8_t material[36] = {1};

    memset(way, 0, sizeof *way);
    way->crypto = crypto;
    way->family = family;
    way->header = family == AF_INET ? 20 : 40;
    way->target.any.sa_family = (sa_family_t)family;
    association->name.family = (uint16_t)family;
    association->name.spi = SPI;
    if (family == AF_INET) {
        way->target.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        memcpy(association->name.source, &way->target.v4.sin_addr, 4);
        way->target.length = sizeof way->target.v4;
    } else {
        way->target.v6.sin6_addr = in6addr_loopback;
        memcpy(association->name.source, &way->target.v6.sin6_addr, 16);
        way->target.length = sizeof way->target.v6;
    }
    way->far = bound(family, &way->target.any, way->target.length);
    if (way->far < 0)
        return 0;
    CHECK(!getsockname(way->far, &way->target.any, &way->target.length));
    way->fd = socket(family, SOCK_DGRAM, 0);
    way->most = most_of(family, &way->target);
    atomic_store(&association->target, &way->target);
    association->key = key_of(crypto, 1, WSE_AES_128_GCM, WSE_OUTBOUND, material);
    way->opens = key_of(crypto, 1, WSE_AES_128_GCM, WSE_INBOUND, material);
    way->replay = aligned_alloc(64, wse_replay_size(64));
    way->room = malloc(ROOM);
    CHECK(way->fd >= 0 && way->replay && way->room && !wse_replay_init(way->replay, 64));
    return 1;
}

static void close_way(struct way *way)
{
    close(way->fd);
    close(way->far);
    drop_key(way->crypto, 1, way->association.key);
    drop_key(way->crypto, 1, way->opens);
    free(way->replay);
    free(way->room);
}

/* Takes what arrived: dummy packets, each with a number of its own. Returns how many, and the largest one's size. */
static unsigned arrived(struct way *way, size_t *largest)
{
    unsigned count = 0;
    ssize_t length;

    *largest = 0;
    while ((length = recv(way->far, way->room, ROOM, MSG_DONTWAIT)) > 0) {
        struct wse_esp_opened opened;

        CHECK(wse_esp_open(way->opens, 0, way->replay, false, way->room, (size_t)length, &opened) == WSE_ESP_EMPTY);
        count++;
        if ((size_t)length > *largest)
            *largest = (size_t)length;
    }
    return count;
}

static int discovery(const struct way *way)
{
    int value = -1;
    socklen_t length = sizeof value;

    CHECK(!getsockopt(way->fd, way->family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6,
                      way->family == AF_INET ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, &value, &length));
    return value;
}

/* Where the device's packets fit, one dummy packet of that size is all. */
static void test_wide(struct way *way)
{
    size_t size;

    atomic_store(&way->association.path.mtu, KNOWN);
    CHECK(wse_path_look(&way->association, 0, way->fd, 1400, way->room) == 1);
    CHECK(!atomic_load(&way->association.path.mtu));
    CHECK(arrived(way, &size) == 1 && size == wse_esp_size(1400 - way->header));
    CHECK(discovery(way) == (way->family == AF_INET ? IP_PMTUDISC_DONT : IPV6_PMTUDISC_DONT));
}

/* Where they do not, the largest that does is found, to the byte. */
static void test_narrow(struct way *way)
{
    const uint32_t words = (way->most - way->header - UDP - ESP_AROUND) / WSE_ESP_ALIGNMENT;
    const uint32_t mtu = way->header + words * WSE_ESP_ALIGNMENT - WSE_ESP_TRAILER;
    unsigned sent, came;
    size_t size;

    sent = wse_path_look(&way->association, 0, way->fd, DEVICE, way->room);
    CHECK(atomic_load(&way->association.path.mtu) == mtu);
    came = arrived(way, &size);
    CHECK(sent > 1 && came >= 1 && came <= sent && size <= way->most - way->header - UDP);
    CHECK(way->header + UDP + wse_esp_size(mtu - way->header) <= way->most);
    CHECK(way->header + UDP + wse_esp_size(mtu + 1 - way->header) > way->most);
    CHECK(discovery(way) == (way->family == AF_INET ? IP_PMTUDISC_DONT : IPV6_PMTUDISC_DONT));
}

/* What could not be seen to its end changes nothing: without numbers, or a way out. */
static void test_unknown(struct way *way)
{
    const struct wse_target target = way->target;
    size_t size;

    atomic_store(&way->association.path.mtu, KNOWN);
    atomic_store(&way->association.sequence.last, UINT32_MAX - 3);
    CHECK(wse_path_look(&way->association, 0, way->fd, DEVICE, way->room) <= 3);
    CHECK(wse_path_look(&way->association, 0, way->fd, DEVICE, way->room) == 0);
    CHECK(atomic_load(&way->association.path.mtu) == KNOWN);
    CHECK(atomic_load(&way->association.sequence.last) == UINT32_MAX);
    CHECK(arrived(way, &size) <= 3);
    atomic_store(&way->association.sequence.last, 1000);
    way->target.any.sa_family = AF_UNIX;
    CHECK(wse_path_look(&way->association, 0, way->fd, 1400, way->room) == 0);
    CHECK(atomic_load(&way->association.path.mtu) == KNOWN);
    CHECK(atomic_load(&way->association.sequence.last) == 1001);
    way->target = target;
    CHECK(discovery(way) == (way->family == AF_INET ? IP_PMTUDISC_DONT : IPV6_PMTUDISC_DONT));
}

/* A device whose packets are no larger than any way must take is not looked for. */
static void test_least(struct way *way)
{
    const uint64_t last = atomic_load(&way->association.sequence.last);

    CHECK(wse_path_look(&way->association, 0, way->fd, way->family == AF_INET ? 576 : 1280, way->room) == 0);
    CHECK(wse_path_look(&way->association, 0, way->fd, 0, way->room) == 0);
    CHECK(atomic_load(&way->association.sequence.last) == last);
}

int main(void)
{
    static const int families[] = {AF_INET, AF_INET6};

    test_when();
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        struct way way;

        if (!open_way(&way, wse_crypto_at(0), families[i]))
            continue;
        test_wide(&way);
        test_narrow(&way);
        test_unknown(&way);
        test_least(&way);
        close_way(&way);
    }
    return 0;
}
