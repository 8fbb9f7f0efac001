/* SPDX-License-Identifier: Apache-2.0 */
#include "destinations.h"

#include <stdlib.h>

int wsasec_destinations_make(struct wsasec_destinations *destinations, uint32_t count, uint32_t stride)
{
    static const struct wsasec_queue empty = {WSASEC_NOBODY, WSASEC_NOBODY, 0};
    const uint32_t used = stride < count ? stride : count;

    destinations->count = used;
    destinations->stride = stride;
    destinations->ready = destinations->waiting = empty;
    destinations->all = calloc(used ? used : 1, sizeof *destinations->all);
    destinations->after = malloc((count ? count : 1) * sizeof *destinations->after);
    if (!destinations->all || !destinations->after) {
        wsasec_destinations_free(destinations);
        return -1;
    }
    for (uint32_t i = 0; i < used; i++) {
        struct wsasec_destination *one = &destinations->all[i];

        one->fresh = i;
        one->pending = (count - i - 1) / stride + 1;
        one->first = one->last = WSASEC_NOBODY;
        wsasec_queue_push(destinations, WSASEC_READY, one);
    }
    return 0;
}

void wsasec_destinations_free(struct wsasec_destinations *destinations)
{
    for (uint32_t i = 0; destinations->all && i < destinations->count; i++)
        free(destinations->all[i].verdict);
    free(destinations->all);
    free(destinations->after);
    destinations->all = NULL;
    destinations->after = NULL;
}

static struct wsasec_queue *queue_of(struct wsasec_destinations *destinations, unsigned standing)
{
    return standing == WSASEC_READY ? &destinations->ready : &destinations->waiting;
}

void wsasec_queue_push(struct wsasec_destinations *destinations, unsigned standing, struct wsasec_destination *one)
{
    struct wsasec_queue *queue = queue_of(destinations, standing);
    const uint32_t number = (uint32_t)(one - destinations->all);

    one->standing = standing;
    one->next = WSASEC_NOBODY;
    if (queue->length++)
        destinations->all[queue->last].next = number;
    else
        queue->first = number;
    queue->last = number;
}

struct wsasec_destination *wsasec_queue_pop(struct wsasec_destinations *destinations, unsigned standing)
{
    struct wsasec_queue *queue = queue_of(destinations, standing);
    struct wsasec_destination *one = &destinations->all[queue->first];

    queue->first = one->next;
    queue->length--;
    one->standing = WSASEC_IDLE;
    return one;
}

static uint32_t take_fresh(const struct wsasec_destinations *destinations, struct wsasec_destination *one)
{
    const uint32_t index = one->fresh;

    one->fresh += destinations->stride;
    return index;
}

static uint32_t take_refused(const struct wsasec_destinations *destinations, struct wsasec_destination *one)
{
    const uint32_t index = one->first;

    one->first = destinations->after[index];
    if (one->first == WSASEC_NOBODY)
        one->last = WSASEC_NOBODY;
    one->refused--;
    return index;
}

uint32_t wsasec_pending_take(struct wsasec_destinations *destinations, struct wsasec_destination *one)
{
    const uint32_t refused = one->refused;

    return one->pending-- > refused ? take_fresh(destinations, one) : take_refused(destinations, one);
}

void wsasec_pending_return(struct wsasec_destinations *destinations, struct wsasec_destination *one, uint32_t index)
{
    destinations->after[index] = WSASEC_NOBODY;
    if (one->last == WSASEC_NOBODY)
        one->first = index;
    else
        destinations->after[one->last] = index;
    one->last = index;
    one->refused++;
    one->pending++;
}
