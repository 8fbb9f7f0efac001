/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A double of fwpuclnt.dll: it writes down what it is called with, and does what it is told. Both lie in memory that it
 * shares with the tests (../double.py has the same structures), under the name in the environment's WSASEC_DOUBLE, or
 * else "wsasec-double-" and the process' number. Nothing of the product is used here.
 */
#ifndef WSASEC_TESTS_DOUBLE_H
#define WSASEC_TESTS_DOUBLE_H

#include <winsock2.h>
#include <windows.h>

#include <stdint.h>

#define DOUBLE_VERSION 2
#define DOUBLE_CALLS 20000
#define DOUBLE_BYTES 256
#define DOUBLE_PORTS 64

#define EXPORT __declspec(dllexport)

enum function {
    SET_SECURITY,
    QUERY_SECURITY,
    SET_PEER_NAME,
    DELETE_PEER_NAME,
    IMPERSONATE,
    REVERT,
    ENGINE_OPEN,
    ENGINE_CLOSE,
    CONTEXT_ADD,
    CONTEXT_DELETE,
    CONTEXT_GET,
    CONTEXT_ENUM_CREATE,
    CONTEXT_ENUM,
    CONTEXT_ENUM_DESTROY,
    FREE_MEMORY,
    SA_ENUM_CREATE,
    SA_ENUM,
    SA_ENUM_DESTROY,
    IKE_SA_GET,
    FUNCTIONS
};

/* What becomes of an overlapped call. */
enum mode {
    AT_ONCE,    /* it returns 0, completed as if it had been pending */
    DELAYED,    /* WSA_IO_PENDING, and completed after the delay */
    RANDOM,     /* ... at any time within the delay */
    ON_RELEASE, /* ... when its record's `release` is set */
    NEVER,      /* ... by CancelIoEx or the end of the socket, by a real request of the system's */
};

enum pointers { HAS_INPUT = 1, HAS_OUTPUT = 2, HAS_LENGTH = 4, HAS_OVERLAPPED = 8, HAS_ROUTINE = 16 };

enum handles { NO_HANDLES, EVENTS, TOKENS };

/* What to do in the calls of one function; all zero: succeed. */
struct told {
    uint32_t error;  /* in the calls that fail: what they fail with */
    uint32_t status; /* ... or what they are completed with later, an NTSTATUS */
    uint32_t skip;   /* so many calls succeed first, */
    uint32_t times;  /* then so many fail; 0: all that come */
    uint32_t mode;
    uint32_t delay; /* in microseconds */
    volatile LONG seen;
    uint32_t unused;
};

struct record {
    uint64_t socket; /* for the filtering platform: the engine */
    uint64_t overlapped;
    uint64_t routine;
    uint64_t value; /* a number that was given beside the bytes */
    uint32_t function;
    uint32_t thread;
    uint32_t pointers; /* those that were not NULL */
    uint32_t length;   /* of the input, as the caller says; the bytes are no more than there is room for */
    uint32_t output_length;
    uint32_t exclusive; /* SO_EXCLUSIVEADDRUSE before the call; 2: not asked, or no answer */
    uint32_t result;
    uint32_t error;
    volatile LONG written;   /* last, by the double */
    volatile LONG release;   /* by the test */
    volatile LONG completed; /* 1 for the first that was completed, and so on */
    uint32_t status;         /* that it was completed with */
    uint8_t bytes[DOUBLE_BYTES];
};

struct port {
    uint64_t socket; /* 0: of all sockets */
    uint64_t port;
    uint64_t key;
};

struct shared {
    uint32_t version;
    uint32_t size;
    volatile LONG count; /* of calls, also of those that had no room */
    volatile LONG completed;
    volatile LONG pending;
    uint32_t look;        /* ask for SO_EXCLUSIVEADDRUSE at the call */
    uint32_t exclusive;   /* set it in WSASetSocketSecurity, as Windows does */
    uint32_t seed;        /* of RANDOM; not 0 */
    uint32_t handles;     /* what is handed out as tokens */
    uint32_t size_error;  /* of a query that only asks for the size */
    uint32_t info_length; /* 0: what the template is for */
    uint32_t port_count;
    uint32_t bare; /* WSASetSocketSecurity only counts, and copies its settings to `last`; for one thread */
    uint32_t unused;
    uint8_t last[DOUBLE_BYTES];
    uint8_t info[64]; /* the answer of a query, but for its tokens */
    struct port ports[DOUBLE_PORTS];
    struct told told[FUNCTIONS];
    struct record records[DOUBLE_CALLS];
};

extern struct shared *shared;

/* A call on its way. */
struct call {
    enum function function;
    struct record *record; /* NULL: there was no room */
    uint32_t error;        /* to fail with */
    uint32_t status;       /* to be completed with */
};

/* What a query answers, once it is completed. */
struct answer {
    void *info;
    ULONG *info_len;
    uint32_t length;
    uint8_t bytes[sizeof ((struct shared *)0)->info];
};

/* Begins a call: with its record and what it is to do. */
void call_begin(struct call *call, enum function function, uint64_t socket, const void *input, uint32_t length);
/* Ends it; returns the result. */
INT call_end(struct call *call, uint32_t error);

/* Copies the answer to whom it is for. */
void answer_give(const struct answer *answer);

/* Ends an overlapped call as it is told. The answer may be NULL. */
INT overlapped_end(struct call *call, SOCKET socket, OVERLAPPED *overlapped,
                   LPWSAOVERLAPPED_COMPLETION_ROUTINE routine, const struct answer *answer);
void overlapped_start(void);
/* Completes all as cancelled. */
void overlapped_reset(void);

void wfp_start(void);
void wfp_reset(void);

#endif
