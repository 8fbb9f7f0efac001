/* SPDX-License-Identifier: Apache-2.0 */
#include "../../load/listener.h"

int wsasec_listener_wait(struct wsasec_worker *worker, struct wsasec_event *events, int room)
{
    return wsasec_poll_wait(worker->poll, events, room, wsasec_listener_patience(worker));
}
