/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is said over the engine's control socket: a UNIX socket of type SOCK_SEQPACKET, a message a packet, in the
 * byte order of the machine. A request is answered by one message of its own number, or by several, of which the
 * last has not WSE_MORE. Addresses are in network order, an IPv4 address in the first four bytes of sixteen, the rest zero;
 * ports and SPIs are numbers of the machine's order. Reserved members are zero, or the request is refused.
 *
 * Only the user that runs the engine, and root, may speak (SO_PEERCRED).
 */
#ifndef WSASEC_ENGINE_CONTROL_PROTOCOL_H
#define WSASEC_ENGINE_CONTROL_PROTOCOL_H

#include <stdint.h>

enum { WSE_VERSION = 1, WSE_MESSAGE_MAX = 32768, WSE_DESCRIPTORS_MAX = 64 };

enum wse_type {
    /* Requests. */
    WSE_HELLO = 1,     /* empty; answered by struct wse_hello */
    WSE_ADD_DEVICE,    /* struct wse_device, with the descriptors of its queues; the launcher's connection only */
    WSE_REMOVE_DEVICE, /* struct wse_device (reqid) */
    /*
     * struct wse_transport, with the descriptors of its sockets, in the place of those that it had of this kind, port and
     * family. Without descriptors: it lets go of them, and answers when they are closed, as a new key daemon that
     * could not bind the port otherwise waits for it; until others are given, what goes that way is dropped.
     */
    WSE_ADD_TRANSPORT,
    WSE_LISTEN,        /* empty, with one descriptor: a listening control socket; the launcher's connection only */
    WSE_START,         /* empty: nothing more is to be opened; the filter of system calls goes up; launcher only */
    WSE_STOP,          /* empty; the launcher's connection only. Its end without that is the engine's end, too */
    WSE_RESERVE_SPI,   /* struct wse_spi; answered by struct wse_spi with one that no association has */
    WSE_ADD_SA,        /* struct wse_sa with its key */
    WSE_DELETE_SA,     /* struct wse_sa_name */
    WSE_GET_SA,        /* struct wse_sa_name; answered by struct wse_sa_state */
    WSE_LIST_SAS,      /* empty; answered by messages with many struct wse_sa_state */
    WSE_FLUSH_SAS,     /* struct wse_device: of that reqid, or of all with 0 */
    WSE_TOTALS,        /* empty; answered by struct wse_totals */
    WSE_METRICS,       /* empty; answered by messages of text, Prometheus' exposition format 0.0.4 */
    WSE_SUBSCRIBE,     /* uint32_t: 1 << (type - WSE_EVENT_ACQUIRE) of what is to be told of */
    WSE_SET_MAPPING,   /* struct wse_mapping: where a peer's packets go from now on */
    WSE_LIST_BETWEEN,  /* struct wse_sa_name (addresses, family; an address of zeros: any); answered as WSE_LIST_SAS */

    /* Answers. */
    WSE_ANSWER = 64, /* what the request says, or nothing */
    WSE_ERROR,       /* struct wse_error */

    /* Events, number 0. */
    WSE_EVENT_ACQUIRE = 128, /* struct wse_acquire */
    WSE_EVENT_EXPIRE,        /* struct wse_expire */
    WSE_EVENT_MAPPING,       /* struct wse_mapping: authenticated packets of a peer come from elsewhere */
    WSE_EVENT_LOST           /* empty: events were lost, as they were not read; ask for what there is */
};

enum { WSE_MORE = 1 };

struct wse_header {
    uint16_t version;
    uint16_t type;
    uint32_t number; /* of the request, as the asker likes; not 0 */
    uint32_t flags;  /* WSE_MORE */
    uint32_t reserved;
};

struct wse_hello {
    uint64_t instance; /* drawn at random at each start: SAs of another are gone */
    uint32_t pid;
    uint32_t threads;  /* of each direction: so many queues of a device, or twice, and sockets of a transport */
    char crypto[32];   /* "ipsec-mb 1.3.0", "OpenSSL 3.0.19" */
    char version[32];
};

struct wse_error {
    int32_t error; /* errno; EEXIST, ENOENT, EINVAL, EPERM, EKEYREJECTED (a key a second time), ENOSPC ... */
    uint32_t reserved;
    char text[120]; /* never a secret */
};

struct wse_device {
    uint32_t reqid;
    uint32_t ifindex;
    uint32_t mtu; /* bytes of an inner packet */
    uint32_t flags;
    char name[16];
};
enum {
    WSE_DEVICE_VNET = 1, /* IFF_VNET_HDR, header of 12 bytes with num_buffers not in use: 10 bytes */
    WSE_DEVICE_BULK = 2  /* the second half of the queues is for flows that send much */
};

enum wse_transport_kind { WSE_UDP = 1, WSE_RAW = 2 };
struct wse_transport {
    uint16_t kind;
    uint16_t port;   /* UDP: the local one */
    uint16_t family; /* AF_INET or AF_INET6 */
    uint16_t reserved;
};

struct wse_spi {
    uint32_t least, most; /* request: the range */
    uint32_t spi;         /* answer */
    uint32_t reserved;
};

enum wse_direction { WSE_OUTBOUND = 1, WSE_INBOUND = 2 };
enum wse_algorithm { WSE_AES_128_GCM = 1, WSE_AES_256_GCM, WSE_CHACHA20_POLY1305 };
enum { WSE_SA_ESN = 1, WSE_SA_UDP = 2 };

/* Inbound: source is the peer, destination this host; outbound the reverse. Name: SPI, direction and both addresses. */
struct wse_sa_name {
    uint8_t source[16];
    uint8_t destination[16];
    uint32_t spi;
    uint16_t family;
    uint8_t direction;
    uint8_t reserved;
};

/* A limit of 0 is none. Times are seconds from when it was added, or for idle from the last packet. */
struct wse_limits {
    uint64_t soft_bytes, hard_bytes;
    uint64_t soft_packets, hard_packets;
    uint64_t soft_seconds, hard_seconds;
    uint64_t idle_seconds; /* inbound and outbound: a hard expire after so long without a packet */
};

struct wse_sa {
    struct wse_sa_name name;
    uint32_t reqid;
    uint32_t flags;  /* WSE_SA_... */
    uint32_t window; /* packets, inbound; at least 64; 0: 1024 */
    uint16_t source_port, destination_port; /* with WSE_SA_UDP */
    uint8_t algorithm;
    uint8_t key_length; /* with the salt of 4 bytes: 20, 36, 36 */
    uint8_t reserved[6];
    struct wse_limits limits;
    uint8_t key[36];
    uint8_t reserved_too[4];
};

struct wse_sa_state {
    struct wse_sa_name name;
    uint32_t reqid;
    uint32_t flags;
    uint32_t window;
    uint16_t source_port, destination_port;
    uint8_t algorithm;
    uint8_t soft_expired;
    uint16_t path_mtu; /* outbound: bytes of an inner packet that the way takes uncut, where that is less than the device's */
    uint8_t reserved[4];
    struct wse_limits limits;
    uint64_t packets, bytes; /* bytes of inner packets */
    uint64_t sequence;       /* the last sent, or the highest that was authenticated */
    uint64_t replayed, forged, refused; /* inbound: outside the window or twice; wrong tag; inner packet not allowed */
    uint64_t age_seconds, idle_seconds;
};

struct wse_acquire {
    uint8_t source[16]; /* zero: not chosen yet */
    uint8_t destination[16];
    uint32_t reqid;
    uint16_t family;
    uint8_t protocol; /* of the packet that waits */
    uint8_t reserved;
    uint16_t source_port, destination_port;
    uint32_t reserved_too;
};

struct wse_expire {
    struct wse_sa_name name;
    uint32_t reqid;
    uint8_t hard; /* 1: it is gone */
    uint8_t reserved[3];
};

struct wse_mapping {
    struct wse_sa_name name;
    uint32_t reqid;
    uint8_t address[16]; /* the peer's, as seen now */
    uint16_t port;
    uint16_t reserved;
};

struct wse_totals {
    uint64_t sent_packets, sent_bytes, received_packets, received_bytes; /* inner */
    uint64_t held, held_lost;   /* packets that waited for an association; those that were dropped of them */
    uint64_t acquires;
    uint64_t unknown_spi, malformed, replayed, forged, refused, no_buffer;
    uint64_t fragments, fragments_lost, reassembled;
    uint64_t too_big; /* answered by ICMP */
    uint32_t sas, devices, transports, subscribers;
};

#define WSE_SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type " is the same for all that include it")
WSE_SIZE(wse_header, 16);
WSE_SIZE(wse_hello, 80);
WSE_SIZE(wse_error, 128);
WSE_SIZE(wse_device, 32);
WSE_SIZE(wse_transport, 8);
WSE_SIZE(wse_spi, 16);
WSE_SIZE(wse_sa_name, 40);
WSE_SIZE(wse_limits, 56);
WSE_SIZE(wse_sa, 160);
WSE_SIZE(wse_sa_state, 184);
WSE_SIZE(wse_acquire, 48);
WSE_SIZE(wse_expire, 48);
WSE_SIZE(wse_mapping, 64);
WSE_SIZE(wse_totals, 152);
#undef WSE_SIZE

#endif
