/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread that hears what the engine tells: SAs that expire, peers that come from elsewhere. It also finds out when an engine was
 * started again, and has charon renew what is gone with the one before. What requests of charon's could not get done, as an
 * engine did not answer, it does later.
 */
#ifndef WSASEC_CHARON_ENGINE_EVENTS_H
#define WSASEC_CHARON_ENGINE_EVENTS_H

#include "ending_sas.h"
#include "engine_link.h"
#include "known_sas.h"

typedef struct engine_events_t engine_events_t;

/* All three stay the caller's, and outlast it. NULL: it cannot be made. */
engine_events_t *engine_events_create(engine_link_t *link, known_sas_t *known, ending_sas_t *ending);
/* There is an SA that is ending, or a shared port, which the engine may not know of. For any thread. */
void engine_events_wake(engine_events_t *this);
void engine_events_destroy(engine_events_t *this);

#endif
