/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "known_sas.h"

#include <collections/hashtable.h>
#include <library.h>
#include <threading/mutex.h>

struct known_sas_t {
    mutex_t *mutex;
    hashtable_t *names; /* struct wse_sa_name *, by itself */
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
    known_sas_clear(this);
    this->names->destroy(this->names);
    this->mutex->destroy(this->mutex);
    free(this);
}

void known_sas_add(known_sas_t *this, const struct wse_sa_name *name)
{
    struct wse_sa_name *added = malloc_thing(struct wse_sa_name), *before;

    *added = *name;
    this->mutex->lock(this->mutex);
    before = this->names->put(this->names, added, added);
    this->mutex->unlock(this->mutex);
    free(before);
}

bool known_sas_has(known_sas_t *this, const struct wse_sa_name *name)
{
    bool there;

    this->mutex->lock(this->mutex);
    there = this->names->get(this->names, name) != NULL;
    this->mutex->unlock(this->mutex);
    return there;
}

bool known_sas_remove(known_sas_t *this, const struct wse_sa_name *name)
{
    struct wse_sa_name *removed;

    this->mutex->lock(this->mutex);
    removed = this->names->remove(this->names, name);
    this->mutex->unlock(this->mutex);
    free(removed);
    return removed != NULL;
}

void known_sas_clear(known_sas_t *this)
{
    enumerator_t *enumerator;
    void *key, *name;

    this->mutex->lock(this->mutex);
    enumerator = this->names->create_enumerator(this->names);
    while (enumerator->enumerate(enumerator, &key, &name))
    {
        this->names->remove_at(this->names, enumerator);
        free(name);
    }
    enumerator->destroy(enumerator);
    this->mutex->unlock(this->mutex);
}

int known_sas_compare(const void *one, const void *other)
{
    return memcmp(one, other, sizeof(struct wse_sa_name));
}

struct wse_sa_name *known_sas_all(known_sas_t *this, size_t *count)
{
    struct wse_sa_name *all;
    enumerator_t *enumerator;
    void *key, *name;

    *count = 0;
    this->mutex->lock(this->mutex);
    all = malloc(sizeof(*all) * (this->names->get_count(this->names) + 1));
    enumerator = this->names->create_enumerator(this->names);
    while (enumerator->enumerate(enumerator, &key, &name))
    {
        all[(*count)++] = *(struct wse_sa_name *)name;
    }
    enumerator->destroy(enumerator);
    this->mutex->unlock(this->mutex);
    qsort(all, *count, sizeof(*all), known_sas_compare);
    return all;
}
