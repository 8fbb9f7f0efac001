/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "known_sas.h"

#include <collections/hashtable.h>
#include <library.h>
#include <threading/mutex.h>

enum { YOUNG_S = 10 }; /* of an exchange that charon has to repeat, too */

typedef struct {
    struct wse_sa_name name; /* first: it is found by it */
    bool ending;
    time_t since; /* seconds of the monotonic clock */
    unsigned refused; /* further SAs of this name that the engine did not take, and charon is about to delete */
} known_t;

struct known_sas_t {
    mutex_t *mutex;
    hashtable_t *names; /* known_t *, by its name */
};

static u_int hash_name(const void *key)
{
    return chunk_hash(chunk_create((u_char *)key, sizeof(struct wse_sa_name)));
}

static bool same_name(const void *one, const void *other)
{
    return memeq(one, other, sizeof(struct wse_sa_name));
}

known_sas_t *known_sas_create(void)
{
    known_sas_t *this;

    INIT(this,
        .mutex = mutex_create(MUTEX_TYPE_DEFAULT),
        .names = hashtable_create(hash_name, same_name, 64),
    );
    return this;
}

void known_sas_destroy(known_sas_t *this)
{
    enumerator_t *enumerator;
    void *key, *known;

    enumerator = this->names->create_enumerator(this->names);
    while (enumerator->enumerate(enumerator, &key, &known))
    {
        free(known);
    }
    enumerator->destroy(enumerator);
    this->names->destroy(this->names);
    this->mutex->destroy(this->mutex);
    free(this);
}

static void put(known_sas_t *this, const struct wse_sa_name *name, bool ending)
{
    known_t *known, *before;

    INIT(known,
        .name = *name,
        .ending = ending,
        .since = time_monotonic(NULL),
    );
    this->mutex->lock(this->mutex);
    before = this->names->put(this->names, known, known);
    this->mutex->unlock(this->mutex);
    free(before);
}

void known_sas_add(known_sas_t *this, const struct wse_sa_name *name)
{
    put(this, name, FALSE);
}

void known_sas_end(known_sas_t *this, const struct wse_sa_name *name)
{
    put(this, name, TRUE);
}

void known_sas_end_all(known_sas_t *this)
{
    enumerator_t *enumerator;
    void *key, *known;

    this->mutex->lock(this->mutex);
    enumerator = this->names->create_enumerator(this->names);
    while (enumerator->enumerate(enumerator, &key, &known))
    {
        ((known_t *)known)->ending = TRUE;
    }
    enumerator->destroy(enumerator);
    this->mutex->unlock(this->mutex);
}

void known_sas_forget_ending(known_sas_t *this)
{
    enumerator_t *enumerator;
    void *key, *known;

    this->mutex->lock(this->mutex);
    enumerator = this->names->create_enumerator(this->names);
    while (enumerator->enumerate(enumerator, &key, &known))
    {
        if (((known_t *)known)->ending)
        {
            this->names->remove_at(this->names, enumerator);
            free(known);
        }
    }
    enumerator->destroy(enumerator);
    this->mutex->unlock(this->mutex);
}

bool known_sas_has(known_sas_t *this, const struct wse_sa_name *name)
{
    bool there;

    this->mutex->lock(this->mutex);
    there = this->names->get(this->names, name) != NULL;
    this->mutex->unlock(this->mutex);
    return there;
}

bool known_sas_is_ending(known_sas_t *this, const struct wse_sa_name *name)
{
    known_t *known;
    bool ending;

    this->mutex->lock(this->mutex);
    known = this->names->get(this->names, name);
    ending = known != NULL && known->ending;
    this->mutex->unlock(this->mutex);
    return ending;
}

bool known_sas_is_young(known_sas_t *this, const struct wse_sa_name *name)
{
    known_t *known;
    bool young;

    this->mutex->lock(this->mutex);
    known = this->names->get(this->names, name);
    young = known == NULL || time_monotonic(NULL) - known->since < YOUNG_S;
    this->mutex->unlock(this->mutex);
    return young;
}

void known_sas_refuse(known_sas_t *this, const struct wse_sa_name *name)
{
    known_t *known;

    this->mutex->lock(this->mutex);
    known = this->names->get(this->names, name);
    if (known != NULL)
    {
        known->refused++;
    }
    this->mutex->unlock(this->mutex);
}

bool known_sas_was_refused(known_sas_t *this, const struct wse_sa_name *name)
{
    known_t *known;
    bool refused;

    this->mutex->lock(this->mutex);
    known = this->names->get(this->names, name);
    refused = known != NULL && known->refused > 0;
    if (refused)
    {
        known->refused--;
    }
    this->mutex->unlock(this->mutex);
    return refused;
}

bool known_sas_remove(known_sas_t *this, const struct wse_sa_name *name)
{
    known_t *removed;
    bool wanted;

    this->mutex->lock(this->mutex);
    removed = this->names->remove(this->names, name);
    this->mutex->unlock(this->mutex);
    wanted = removed != NULL && !removed->ending;
    free(removed);
    return wanted;
}

int known_sas_compare(const void *one, const void *other)
{
    return memcmp(one, other, sizeof(struct wse_sa_name));
}

struct wse_sa_name *known_sas_all(known_sas_t *this, bool ending, size_t *count)
{
    struct wse_sa_name *all;
    enumerator_t *enumerator;
    void *key, *known;

    *count = 0;
    this->mutex->lock(this->mutex);
    all = malloc(sizeof(*all) * (this->names->get_count(this->names) + 1));
    enumerator = this->names->create_enumerator(this->names);
    while (enumerator->enumerate(enumerator, &key, &known))
    {
        if (((known_t *)known)->ending == ending)
        {
            all[(*count)++] = ((known_t *)known)->name;
        }
    }
    enumerator->destroy(enumerator);
    this->mutex->unlock(this->mutex);
    qsort(all, *count, sizeof(*all), known_sas_compare);
    return all;
}
