/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs and the key daemon say to each other: datagrams of a SOCK_SEQPACKET socket, each a header and a body, in
 * the machine's own byte order, with descriptors beside them (SCM_RIGHTS). src/wsasec/daemon/protocol.py has the
 * same; a test compares the two.
 */
#ifndef WSASEC_LINUX_DAEMON_PROTOCOL_H
#define WSASEC_LINUX_DAEMON_PROTOCOL_H

#include "wsasec.h"

/* The daemon of a network namespace listens below this folder, at net-INODE/control (INODE: of /proc/self/ns/net). */
#define WSASEC_DAEMON_FOLDER "/run/wsasec"
/* An environment variable that names another folder; not heard by set-user-ID programs. */
#define WSASEC_DAEMON_VARIABLE "WSASEC_RUN"

#define WSASEC_DAEMON_MAGIC UINT32_C(0x31617377) /* also the version */
#define WSASEC_DAEMON_LARGEST 65536              /* bytes of a datagram */
#define WSASEC_DAEMON_DESCRIPTORS 250            /* beside one datagram; the kernel takes 253 */

enum wsasec_daemon_kind {
    WSASEC_DAEMON_SECURE = 1,  /* descriptors; body: the settings. Answer: wsasec_daemon_secured, a code for each */
    WSASEC_DAEMON_NEGOTIATE,   /* 1 descriptor; wsasec_daemon_question. Has an association made to the peer, and the
                                  names of the socket held against it; then the socket may send */
    WSASEC_DAEMON_SET_NAME,    /* 1 descriptor; wsasec_daemon_question, then the name in UTF-8. The socket cannot send
                                  until its names were held against its peers */
    WSASEC_DAEMON_DELETE_NAME, /* 1 descriptor; wsasec_daemon_question */
    WSASEC_DAEMON_HOLD,        /* 1 descriptor; wsasec_daemon_question. If the socket has names, it cannot send until
                                  they were held against its peer again: connect() failed after NEGOTIATE */
    WSASEC_DAEMON_QUERY,       /* 1 descriptor; wsasec_daemon_question. Answer: wsasec_daemon_association, strings */
    WSASEC_DAEMON_ACCOUNT,     /* 1 descriptor; wsasec_daemon_question. Answer: wsasec_daemon_account, groups */
    WSASEC_DAEMON_CONTROL,     /* body: JSON, for the administrator. Answer: JSON, in as many datagrams as it takes */
    WSASEC_DAEMON_ANSWER = 0x8000 /* added to the kind of what is answered. Alone: a wsasec_daemon_verdict that says why
                                     the question was not taken; with the id 0, why none is of this connection */
};

#define WSASEC_DAEMON_MORE UINT16_C(1) /* flag of answers: another datagram of the same answer follows */

struct wsasec_daemon_header {
    uint32_t magic;
    uint16_t kind;
    uint16_t flags;
    uint32_t id;     /* of the question, repeated in its answer */
    uint32_t length; /* of the body, in bytes */
};

struct wsasec_daemon_question {
    uint32_t milliseconds; /* how long the answer may take */
    uint32_t flags;        /* WSASEC_DAEMON_NAME_..., of QUERY WSASEC_DAEMON_ABORT_... */
    wsasec_sockaddr_storage peer; /* family 0: that which the socket is connected to */
};

#define WSASEC_DAEMON_NAME_RAW UINT32_C(1)      /* the name is the identity itself, of no form */
#define WSASEC_DAEMON_NAME_OPTIONAL UINT32_C(2) /* another identity is no failure */
/* From a good answer on, the connection is aborted when one of these ids is not what it was, or the daemon loses charon. */
#define WSASEC_DAEMON_ABORT_MM_SA_ID UINT32_C(4)
#define WSASEC_DAEMON_ABORT_QM_SA_ID UINT32_C(8)

/* The answer to SECURE; a code (int32_t, as wsasec_secure_many() has them) for each descriptor follows. */
struct wsasec_daemon_secured {
    wsasec_status first; /* the first failure */
    uint32_t count;
    uint32_t reserved;
};

/* What each answer but those to SECURE and CONTROL begins with, and all of one that a question was not taken. */
struct wsasec_daemon_verdict {
    int32_t code;    /* 0, or the reason's Winsock code made negative */
    uint16_t reason; /* enum wsasec_reason */
    uint16_t step;   /* enum wsasec_step */
    char detail[248]; /* what there is to say of this case, in UTF-8 with a zero at the end; or empty */
};

/* Ends of strings are counted from the end of the structure; the strings have no zero at the end. */
struct wsasec_daemon_association {
    struct wsasec_daemon_verdict verdict;
    uint32_t flags;          /* WSASEC_SOCKET_INFO_CONNECTION_... */
    uint32_t protocol;       /* 50: ESP, 51: AH */
    uint64_t mm_sa_id;       /* charon's unique id of the IKE SA; 0: keys that were not negotiated */
    uint64_t qm_sa_id;       /* of the CHILD SA */
    uint64_t bytes_in, bytes_out, packets_in, packets_out;
    uint64_t age;            /* seconds since it was installed */
    uint64_t rekey_in;       /* seconds; 0: not known */
    uint32_t spi_in, spi_out; /* in the host's byte order */
    uint32_t encryption_bits; /* 0: no encryption */
    uint32_t integrity_bits;  /* of the tag; for an AEAD of its own tag */
    uint32_t esn;
    uint32_t reqid;
    uint32_t end_of_encryption;  /* names of algorithms, as the kernel has them */
    uint32_t end_of_integrity;
    uint32_t end_of_identity;    /* of the peer */
    uint32_t end_of_own;         /* this host's */
    uint32_t end_of_profile;     /* its name */
    uint32_t end_of_certificate; /* of the peer, DER */
};

/* The account that the peer's identity stands for; group_count numbers (uint32_t), then the name and the identity follow. */
struct wsasec_daemon_account {
    struct wsasec_daemon_verdict verdict;
    uint32_t uid;
    uint32_t gid;
    uint32_t group_count;
    uint32_t name_length;
    uint32_t identity_length;
    uint32_t reserved;
};

_Static_assert(sizeof(struct wsasec_daemon_header) == 16, "header");
_Static_assert(sizeof(struct wsasec_daemon_question) == 136, "question");
_Static_assert(sizeof(struct wsasec_daemon_secured) == 24, "secured");
_Static_assert(sizeof(struct wsasec_daemon_verdict) == 256, "verdict");
_Static_assert(sizeof(struct wsasec_daemon_association) == 376, "association");
_Static_assert(sizeof(struct wsasec_daemon_account) == 280, "account");

#endif
