/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine_link.h"

#include <errno.h>
#include <unistd.h>

#include <collections/linked_list.h>
#include <threading/mutex.h>

#include "shared_port.h"

/* More would serve more processors than charon's hosts have. */
enum { SOCKETS_MAX = 32, LEAST_MS = 1000 };

typedef struct {
    int charon; /* its own */
    int family;
    uint16_t port;
    int sockets[SOCKETS_MAX];
    size_t count;      /* of those that are open */
    uint64_t instance; /* of the engine that has them */
    bool given;
    int said; /* what failed the last time, and is in the log */
} shared_t;

struct engine_link_t {
    char *path;
    u_int timeout;
    mutex_t *mutex;
    struct control_socket control;
    struct inherited_sockets inherited;
    linked_list_t *shared;
};

engine_link_t *engine_link_create(const char *path, u_int timeout)
{
    engine_link_t *this;

    INIT(this,
        .path = strdup(path),
        .timeout = timeout,
        .mutex = mutex_create(MUTEX_TYPE_DEFAULT),
        .shared = linked_list_create(),
    );
    control_init(&this->control);
    inherited_sockets_find(&this->inherited);
    return this;
}

static void close_sockets(shared_t *shared)
{
    while (shared->count > 0)
    {
        close(shared->sockets[--shared->count]);
    }
}

void engine_link_destroy(engine_link_t *this)
{
    shared_t *shared;

    while (this->shared->remove_first(this->shared, (void **)&shared) == SUCCESS)
    {
        close_sockets(shared);
        free(shared);
    }
    this->shared->destroy(this->shared);
    inherited_sockets_close(&this->inherited);
    control_close(&this->control);
    this->mutex->destroy(this->mutex);
    free(this->path);
    free(this);
}

const char *engine_link_path(engine_link_t *this)
{
    return this->path;
}

int engine_link_ask(engine_link_t *this, const char *what, uint16_t type, const void *body, size_t size, void *answer,
                    size_t answer_size, bool *unknown)
{
    uint64_t deadline = control_now() + this->timeout;
    int code, tries = 2;

    this->mutex->lock(this->mutex);
    control_look(&this->control);
    do
    {
        code = control_open(&this->control, this->path, deadline, -1);
        this->control.sent = FALSE; /* that was its hello */
        if (code == 0)
        {
            uint64_t least = control_now() + LEAST_MS;

            /* What waited for its turn gets its time, too: once it is sent it is carried out. */
            code = control_ask(&this->control, type, body, size, NULL, 0, answer, answer_size,
                               least > deadline ? least : deadline);
        }
    }
    /* An engine that ended between the look and the request. */
    while (code < 0 && !this->control.sent && this->control.fd < 0 && control_now() < deadline && --tries > 0);
    if (code < 0 && what != NULL)
    {
        DBG1(DBG_KNL, "%s failed: %s", what, this->control.text);
    }
    if (unknown != NULL)
    {
        /* With what the engine says itself the connection stays. */
        *unknown = code < 0 && this->control.sent && this->control.fd < 0;
    }
    this->mutex->unlock(this->mutex);
    return code;
}

/* Tells of sockets of a port. With the lock held; 0 or a negative errno. */
static int tell_transport(engine_link_t *this, int family, uint16_t port, const int *sockets, size_t count)
{
    struct wse_transport transport = {.kind = WSE_UDP, .family = family, .port = port};

    return control_ask(&this->control, WSE_ADD_TRANSPORT, &transport, sizeof(transport), sockets, count, NULL, 0,
                       control_now() + this->timeout);
}

/* Whether there is an engine now, without a wait for one; with the lock held. */
static bool is_there(engine_link_t *this)
{
    control_look(&this->control);
    return this->control.fd >= 0 || control_open(&this->control, this->path, control_now(), -1) == 0;
}

void engine_link_release(engine_link_t *this, int family, uint16_t port)
{
    enumerator_t *enumerator;
    shared_t *shared;
    bool ours = FALSE;

    this->mutex->lock(this->mutex);
    enumerator = this->shared->create_enumerator(this->shared);
    while (enumerator->enumerate(enumerator, &shared))
    {
        ours = ours || (shared->family == family && shared->port == port);
    }
    enumerator->destroy(enumerator);
    if (!ours && is_there(this))
    {
        int code = tell_transport(this, family, port, NULL, 0);

        if (code < 0 && code != -ENOENT)
        {
            DBG1(DBG_KNL, "the engine does not let go of UDP port %u: %s", port, this->control.text);
        }
    }
    this->mutex->unlock(this->mutex);
}

/* Each try again would say the same. */
static bool is_news(shared_t *shared, int code)
{
    bool news = shared->said != code;

    shared->said = code;
    return news;
}

/* With the lock held, and an engine that is there. Whether it has it. */
static bool give(engine_link_t *this, shared_t *shared)
{
    int code;

    if (shared->given && shared->instance == this->control.hello.instance)
    {
        return TRUE;
    }
    /* The engine before may have had another number of threads: it takes no more sockets than it serves. */
    code = shared_port_open(shared->charon, &this->inherited, shared->sockets, &shared->count,
                            max(1, min((size_t)this->control.hello.threads, SOCKETS_MAX)));
    if (code < 0)
    {
        if (is_news(shared, code))
        {
            DBG1(DBG_KNL, "UDP port %u cannot be shared with the engine: %s", shared->port, strerror(-code));
        }
        return FALSE;
    }
    code = tell_transport(this, shared->family, shared->port, shared->sockets, shared->count);
    if (code < 0)
    {
        if (is_news(shared, code))
        {
            DBG1(DBG_KNL, "the engine does not take UDP port %u: %s", shared->port, this->control.text);
        }
        return FALSE;
    }
    shared->given = TRUE;
    shared->said = 0;
    shared->instance = this->control.hello.instance;
    DBG1(DBG_KNL, "the engine has %s port %u for ESP, %zu sockets", shared->family == AF_INET ? "IPv4" : "IPv6",
         shared->port, shared->count);
    return TRUE;
}

void engine_link_share(engine_link_t *this, int fd, int family, uint16_t port)
{
    shared_t *shared;

    INIT(shared,
        .charon = fd,
        .family = family,
        .port = port,
    );
    this->mutex->lock(this->mutex);
    this->shared->insert_last(this->shared, shared);
    if (is_there(this))
    {
        give(this, shared);
    }
    this->mutex->unlock(this->mutex);
}

bool engine_link_hand_over(engine_link_t *this)
{
    enumerator_t *enumerator;
    shared_t *shared;
    bool all = TRUE;

    this->mutex->lock(this->mutex);
    enumerator = this->shared->create_enumerator(this->shared);
    while (enumerator->enumerate(enumerator, &shared))
    {
        all = is_there(this) && give(this, shared) && all;
    }
    enumerator->destroy(enumerator);
    this->mutex->unlock(this->mutex);
    return all;
}
