/* SPDX-License-Identifier: Apache-2.0 */
/* What moves packets in one direction, by one thread at a time, and how it tells the control thread what happened. */
#ifndef WSASEC_ENGINE_WORKER_H
#define WSASEC_ENGINE_WORKER_H

#include <pthread.h>
#include <semaphore.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "control_protocol.h"
#include "engine.h"
#include "totals.h"
#include "turns.h"
#include "wait.h"

/* What a worker tells the control thread. */
struct wse_note {
    uint16_t type; /* WSE_EVENT_... */
    uint8_t hard;
    /* Expire, mapping: it is not freed before the note is taken, as it is freed only after all rings were emptied. */
    struct wse_association *association;
    union {
        struct wse_acquire acquire;
        struct wse_mapping mapping;
    };
};

enum { WSE_NOTES = 1024 };

/* One writer, the worker; one reader, the control thread. */
struct wse_notes {
    alignas(64) _Atomic(uint32_t) written;
    _Atomic(uint32_t) lost;
    alignas(64) _Atomic(uint32_t) read;
    struct wse_note notes[WSE_NOTES];
};

struct wse_worker;

/* One of a worker's threads. */
struct wse_hand {
    struct wse_worker *worker;
    enum wse_turn which;
    int started;
    pthread_t thread;
    sem_t turn; /* posted when it has its turn */
};

struct wse_worker {
    struct wse_engine *engine;
    struct wse_reader *reader;
    enum wse_direction direction;
    unsigned index; /* among those of its direction */
    int epoll;
    int wake; /* eventfd: a change of what is published that it should look at now, or the end */
    struct wse_wait wait;
    struct wse_turns turns;
    enum wse_turn turn; /* whose it is, and with it all that is not atomic here */
    struct wse_hand hands[WSE_TURNS];
    sem_t running; /* posted by each thread when it is */
    _Atomic(int) stop;
    uint64_t now; /* milliseconds of the monotonic clock, at the start of the batch */
    unsigned put_off; /* so many times bulk was not served */
    struct wse_counters counters;
    struct wse_notes notes;
    union {
        struct wse_outbound *outbound;
        struct wse_inbound *inbound;
    };
};

/* What a descriptor in a worker's epoll is: kind and its number in the engine's tables. */
enum wse_source { WSE_SOURCE_WAKE = 1, WSE_SOURCE_LINK, WSE_SOURCE_BULK, WSE_SOURCE_PORT };
static inline uint64_t wse_source_make(enum wse_source source, uint32_t number)
{
    return (uint64_t)source << 32 | number;
}

/* A thread's that has its turn: waits for packets, takes them, and says whose turn it is. */
void wse_worker_serve(struct wse_worker *worker);

/* 0 or -errno. On error nothing is left running. A caller of real time leaves it; some of the threads stay. */
int wse_workers_start(struct wse_engine *engine);

/* Ends all threads, and waits for them. */
void wse_workers_stop(struct wse_engine *engine);

/* Has the workers of a direction look at what changed. */
void wse_workers_wake(struct wse_engine *engine, enum wse_direction direction);

/* A worker's: tells the control thread. Without room it is counted as lost. */
void wse_worker_note(struct wse_worker *worker, const struct wse_note *note);

/* The control thread's: the oldest note. 0: there is none. */
int wse_worker_take(struct wse_worker *worker, struct wse_note *note);

/* A worker's: tells of an end, or the coming end, of an association. what: of wse_association_count. */
void wse_worker_expire(struct wse_worker *worker, struct wse_association *association, uint32_t what);

#endif
