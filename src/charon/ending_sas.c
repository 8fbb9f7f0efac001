/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ending_sas.h"

#include <errno.h>

#include <threading/mutex.h>

struct ending_sas_t {
    engine_link_t *link;
    known_sas_t *known;
    mutex_t *mutex; /* from the look whether one is ending to its end: in between it could be added anew */
};

ending_sas_t *ending_sas_create(engine_link_t *link, known_sas_t *known)
{
    ending_sas_t *this;

    INIT(this,
        .link = link,
        .known = known,
        .mutex = mutex_create(MUTEX_TYPE_DEFAULT),
    );
    return this;
}

void ending_sas_destroy(ending_sas_t *this)
{
    this->mutex->destroy(this->mutex);
    free(this);
}

int ending_sas_finish(ending_sas_t *this, const struct wse_sa_name *name)
{
    int code = -ENOENT;

    this->mutex->lock(this->mutex);
    if (known_sas_is_ending(this->known, name))
    {
        code = engine_link_ask(this->link, NULL, WSE_DELETE_SA, name, sizeof(*name), NULL, 0, NULL);
        if (code == 0 || code == -ENOENT)
        {
            known_sas_remove(this->known, name);
        }
    }
    this->mutex->unlock(this->mutex);
    return code;
}

bool ending_sas_finish_all(ending_sas_t *this)
{
    struct wse_sa_name *names;
    size_t count, i;
    int code = 0;

    names = known_sas_all(this->known, TRUE, &count);
    for (i = 0; i < count && (code == 0 || code == -ENOENT); i++)
    {
        code = ending_sas_finish(this, &names[i]);
    }
    free(names);
    return code == 0 || code == -ENOENT;
}
