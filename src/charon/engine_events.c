/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine_events.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <daemon.h>
#include <processing/jobs/delete_child_sa_job.h>
#include <processing/jobs/rekey_child_sa_job.h>
#include <threading/thread.h>

enum { AGAIN_S = 2 };
enum { ANSWER_MS = 10000, AGAIN_MS = 20, CONNECT_MS = 60000, LEFT_MS = 1000 };

struct engine_events_t {
    engine_link_t *link;
    known_sas_t *known;
    ending_sas_t *ending;
    thread_t *thread;
    int wake; /* eventfd: readable when there is something to do, or the thread is to end */
    atomic_bool ended;
    struct control_socket control;
};

/*
 * charon looks for the SA among those that it has, and forgets what it does not find. A young one may not be there yet, so the
 * same is told once more. Of one that it renews or deletes already, that is no news to it.
 */
static void tell_again(const struct wse_sa_name *name, host_t *destination, bool hard)
{
    uint32_t spi = htonl(name->spi);
    job_t *job = hard ? (job_t *)delete_child_sa_job_create(PROTO_ESP, spi, destination, TRUE)
                      : (job_t *)rekey_child_sa_job_create(PROTO_ESP, spi, destination);

    lib->scheduler->schedule_job(lib->scheduler, job, AGAIN_S);
}

/* Tells charon that an SA is due, or gone. */
static void expire(engine_events_t *this, const struct wse_sa_name *name, bool hard)
{
    chunk_t address = chunk_create((u_char *)name->destination, name->family == AF_INET ? 4 : 16);
    host_t *destination = host_create_from_chunk(name->family, address, 0);
    bool young = known_sas_is_young(this->known, name);

    /* What charon has deleted itself meanwhile is no news to it. */
    if (destination != NULL && (!hard || known_sas_remove(this->known, name)))
    {
        charon->kernel->expire(charon->kernel, IPPROTO_ESP, htonl(name->spi), destination, hard);
        if (young)
        {
            tell_again(name, destination, hard);
        }
    }
    DESTROY_IF(destination);
}

static void moved(const struct wse_mapping *mapping)
{
    size_t length = mapping->name.family == AF_INET ? 4 : 16;
    host_t *here, *there;

    here = host_create_from_chunk(mapping->name.family, chunk_create((u_char *)mapping->name.destination, length), 0);
    there = host_create_from_chunk(mapping->name.family, chunk_create((u_char *)mapping->address, length),
                                   mapping->port);
    if (here != NULL && there != NULL)
    {
        charon->kernel->mapping(charon->kernel, IPPROTO_ESP, htonl(mapping->name.spi), here, there);
    }
    DESTROY_IF(here);
    DESTROY_IF(there);
}

typedef struct {
    struct wse_sa_name *names;
    size_t count;
    bool *there, *due;
} found_t;

static bool find(void *context, const void *entry)
{
    found_t *found = context;
    struct wse_sa_state state;
    struct wse_sa_name *name;

    memcpy(&state, entry, sizeof(state));
    name = bsearch(&state.name, found->names, found->count, sizeof(state.name), known_sas_compare);
    if (name != NULL)
    {
        found->there[name - found->names] = TRUE;
        found->due[name - found->names] = state.soft_expired != 0;
    }
    return TRUE;
}

/*
 * Looks which SAs the engine has of those that charon told it of, and says so of the others. An engine that was started
 * again has none: one expire renews a pair, so only inbound ones are told first, by which charon finds both.
 */
static int look(engine_events_t *this)
{
    found_t found = {};
    size_t i;
    int code;

    found.names = known_sas_all(this->known, FALSE, &found.count);
    found.there = calloc(found.count + 1, sizeof(bool));
    found.due = calloc(found.count + 1, sizeof(bool));
    code = control_list(&this->control, WSE_LIST_SAS, sizeof(struct wse_sa_state), find, &found,
                        control_now() + ANSWER_MS);
    for (i = 0; code == 0 && i < found.count; i++)
    {
        if (!found.there[i] && found.names[i].direction == WSE_INBOUND)
        {
            expire(this, &found.names[i], TRUE);
        }
        else if (found.there[i] && found.due[i])
        {
            expire(this, &found.names[i], FALSE);
        }
    }
    for (i = 0; code == 0 && i < found.count; i++)
    {
        if (!found.there[i] && found.names[i].direction == WSE_OUTBOUND)
        {
            expire(this, &found.names[i], TRUE);
        }
    }
    free(found.names);
    free(found.there);
    free(found.due);
    return code;
}

static int subscribe(engine_events_t *this)
{
    uint32_t wanted = 1 << (WSE_EVENT_EXPIRE - WSE_EVENT_ACQUIRE) | 1 << (WSE_EVENT_MAPPING - WSE_EVENT_ACQUIRE);

    return control_ask(&this->control, WSE_SUBSCRIBE, &wanted, sizeof(wanted), NULL, 0, NULL, 0,
                       control_now() + ANSWER_MS);
}

/* 0 or a negative errno. */
static int hear(engine_events_t *this, uint16_t type, const void *body, size_t size)
{
    struct wse_expire expired;
    struct wse_mapping mapping;

    if (type == WSE_EVENT_EXPIRE && size == sizeof(expired))
    {
        memcpy(&expired, body, sizeof(expired));
        expire(this, &expired.name, expired.hard != 0);
    }
    else if (type == WSE_EVENT_MAPPING && size == sizeof(mapping))
    {
        memcpy(&mapping, body, sizeof(mapping));
        moved(&mapping);
    }
    else if (type == WSE_EVENT_LOST)
    {
        return look(this);
    }
    return 0;
}

/* Whether the thread is to end. What it was woken for before is done by who asks. */
static bool ended_within(engine_events_t *this, int milliseconds)
{
    struct pollfd wake = {.fd = this->wake, .events = POLLIN};
    eventfd_t times;

    if (poll(&wake, 1, milliseconds) > 0)
    {
        eventfd_read(this->wake, &times);
    }
    return atomic_load(&this->ended);
}

/* Does what requests of charon's could not: an engine may not have answered in time. Whether nothing is left of it. */
static bool catch_up(engine_events_t *this)
{
    /* Ports first: what charon renews then gets through. */
    bool shared = engine_link_hand_over(this->link);

    return ending_sas_finish_all(this->ending) && shared;
}

/* Hears the engine until it ends, or the thread is to. */
static void listen_to(engine_events_t *this)
{
    bool left = !catch_up(this);
    uint64_t due = control_now() + LEFT_MS;
    int code = look(this);

    while (code == 0)
    {
        uint16_t type;
        const void *body;
        size_t size;
        int heard = control_wait(&this->control, this->wake, left ? due : 0, &type, &body, &size);

        if (heard < 0 || (heard == 0 && ended_within(this, 0)))
        {
            break;
        }
        if (heard > 0)
        {
            code = hear(this, type, body, size);
        }
        if (heard == 0 || (left && control_now() >= due))
        {
            left = !catch_up(this);
            due = control_now() + LEFT_MS;
        }
    }
}

static void *run(engine_events_t *this)
{
    uint64_t instance = 0;
    bool lost = FALSE;
    int code;

    while (!ended_within(this, 0))
    {
        code = control_open(&this->control, engine_link_path(this->link), control_now() + CONNECT_MS, this->wake);
        if (code == 0 && subscribe(this) == 0)
        {
            if (instance != this->control.hello.instance)
            {
                DBG1(DBG_KNL, "the engine, process %u, is there: %s", this->control.hello.pid,
                     this->control.hello.crypto);
            }
            instance = this->control.hello.instance;
            lost = FALSE;
            listen_to(this);
        }
        if (ended_within(this, 0))
        {
            break;
        }
        if (!lost && code != -ECANCELED)
        {
            DBG1(DBG_KNL, "the engine cannot be heard: %s", this->control.text);
            lost = TRUE;
        }
        control_close(&this->control);
        ended_within(this, AGAIN_MS);
    }
    return NULL;
}

engine_events_t *engine_events_create(engine_link_t *link, known_sas_t *known, ending_sas_t *ending)
{
    engine_events_t *this;

    INIT(this,
        .link = link,
        .known = known,
        .ending = ending,
        .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    );
    control_init(&this->control);
    if (this->wake >= 0)
    {
        this->thread = thread_create((thread_main_t)run, this);
    }
    if (this->thread == NULL)
    {
        engine_events_destroy(this);
        return NULL;
    }
    return this;
}

void engine_events_wake(engine_events_t *this)
{
    eventfd_write(this->wake, 1);
}

void engine_events_destroy(engine_events_t *this)
{
    if (this->thread != NULL)
    {
        atomic_store(&this->ended, TRUE);
        engine_events_wake(this);
        this->thread->join(this->thread);
    }
    control_close(&this->control);
    if (this->wake >= 0)
    {
        close(this->wake);
    }
    free(this);
}
