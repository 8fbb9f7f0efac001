/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between the loops that connect, accept and send (src/load) and a system (src/linux/load,
 * src/windows/load). Errors are the system's own: an errno, or what WSAGetLastError() says.
 */
#ifndef WSASEC_LOAD_SYSTEM_H
#define WSASEC_LOAD_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

/* --- errors --- */

/* What an error of sending or receiving asks for. */
enum wsasec_trouble {
    WSASEC_TROUBLE_OTHER, /* the socket is of no use any more */
    WSASEC_TROUBLE_WOULD_BLOCK,
    WSASEC_TROUBLE_NO_MEMORY, /* for now: nobody tells the end of it */
    WSASEC_TROUBLE_SIGNAL     /* try again */
};

enum wsasec_trouble wsasec_trouble_of(int error);

/* Whether it says that a number is of no socket. */
int wsasec_is_no_socket(int error);

/* Errors that are found without the system. */
extern const struct wsasec_own_errors {
    int no_socket;
    int wrong_type;
    int ended; /* by the peer */
    int no_memory;
    int no_association;
    int no_answer;
    int under_way;    /* connect() was called before */
    int added_before; /* to the same poll */
} wsasec_own_errors;

/* --- sockets, without waiting --- */

/* Return how many bytes, or the error made negative. Of a stream, 0 received: the peer has ended. */
ptrdiff_t wsasec_send(int32_t socket, const void *data, size_t size);
ptrdiff_t wsasec_receive(int32_t socket, void *room, size_t size);

/* As wsasec_receive(), where nobody will read what is in the room. */
ptrdiff_t wsasec_throw_away(int32_t socket, void *room, size_t size);

/* Whether the socket takes something to send, within so many milliseconds. */
int wsasec_has_room(int32_t socket, int milliseconds);

/* Returns 0 with the type (enum wsasec_type), or the error. */
int wsasec_type_of_socket(int32_t socket, int *type);

/* The error that the system keeps for a socket, which it then forgets; 0: none. */
int wsasec_pending_error(int32_t socket);

/* Bytes of a stream that the peer has not acknowledged; 0 where the system does not tell. */
uint64_t wsasec_unacknowledged(int32_t socket);

void wsasec_send_at_once(int32_t socket); /* TCP_NODELAY */

/* Has a socket's calls return at once, where the system cannot have it of single calls. Returns 0 or the error. */
int wsasec_unblock(int32_t socket);

void wsasec_close(int32_t socket);

/* --- waiting for sockets --- */

/* What is asked for, and told. */
#define WSASEC_POLL_IN UINT32_C(0x1)
#define WSASEC_POLL_OUT UINT32_C(0x4)
#define WSASEC_POLL_FAILED UINT32_C(0x8)    /* told without being asked for */
#define WSASEC_POLL_GONE UINT32_C(0x10)     /* too: nothing goes in either direction any more */
#define WSASEC_POLL_ENDED UINT32_C(0x2000)  /* the peer sends no more */
/* How: as long as it is so, unless one of these is given. */
#define WSASEC_POLL_ONCE (UINT32_C(1) << 30)
#define WSASEC_POLL_EDGE (UINT32_C(1) << 31)      /* when it begins to be so, see wsasec_poll_again() */
#define WSASEC_POLL_EXCLUSIVE (UINT32_C(1) << 28) /* need not be told to all who ask */

#define WSASEC_POLL_WAKE UINT64_MAX /* the key of the event that wsasec_polls_wake() makes */

struct wsasec_event {
    uint64_t key;
    uint32_t events;
};

struct wsasec_poll;
struct wsasec_polls;

/* Makes so many, one for each thread; wakes: wsasec_polls_wake() is to work. NULL with the error. */
struct wsasec_polls *wsasec_polls_open(unsigned count, int wakes, int *error);
void wsasec_polls_close(struct wsasec_polls *polls); /* NULL is none */
struct wsasec_poll *wsasec_polls_at(struct wsasec_polls *polls, unsigned number);

/* From now on whoever waits is told so at once. */
void wsasec_polls_wake(struct wsasec_polls *polls);

/* Return 0 or the error. wsasec_poll_add() from any thread, all others from the one that waits. */
int wsasec_poll_add(struct wsasec_poll *poll, int32_t socket, uint64_t key, uint32_t events);
int wsasec_poll_change(struct wsasec_poll *poll, int32_t socket, uint64_t key, uint32_t events);
void wsasec_poll_remove(struct wsasec_poll *poll, int32_t socket);

/*
 * A socket with WSASEC_POLL_EDGE was found empty (WSASEC_POLL_IN) or full (_OUT), or may be: the next change is to
 * be told. For systems that need to be reminded.
 */
void wsasec_poll_again(struct wsasec_poll *poll, int32_t socket, uint32_t events);

/* The calling thread will wait for short times, and is to be woken when they are over. */
void wsasec_poll_is_punctual(struct wsasec_poll *poll);

/* Waits, at most so many nanoseconds (UINT64_MAX: for ever). Returns how many events there are; -1: a signal came. */
int wsasec_poll_wait(struct wsasec_poll *poll, struct wsasec_event *events, int room, uint64_t nanoseconds);

/* --- threads --- */

struct wsasec_thread {
    uintptr_t id;
    void *(*work)(void *);
    void *argument;
};

/* Starts a thread that hears no signals: they are for the program's own. Returns 0 or an error. */
int wsasec_thread_run(struct wsasec_thread *thread, void *(*work)(void *), void *argument);
void wsasec_thread_join(struct wsasec_thread *thread);

/* The process: another number in one that was made by fork(). */
uint64_t wsasec_process(void);

/* A lock, and what is waited for under it. */
struct wsasec_gate;
struct wsasec_gate *wsasec_gate_new(void); /* NULL: no memory */
void wsasec_gate_free(struct wsasec_gate *gate); /* NULL is none */
void wsasec_gate_lock(struct wsasec_gate *gate);
void wsasec_gate_unlock(struct wsasec_gate *gate);
/* Under the lock: all that wait look again. */
void wsasec_gate_call(struct wsasec_gate *gate);
/* Under the lock: waits until called, or until a time of wsasec_backend_clock(). Returns whether that has come. */
int wsasec_gate_wait(struct wsasec_gate *gate, uint64_t until);

/* --- memory --- */

void *wsasec_aligned_new(size_t alignment, size_t size);
void wsasec_aligned_free(void *memory);

#endif
