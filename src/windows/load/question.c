/* SPDX-License-Identifier: Apache-2.0 */
/* Windows negotiates by itself while it connects. */
#include "../../core/errors.h"
#include "../../load/question.h"

struct wsasec_question *wsasec_question_begin(int32_t socket, const void *address, size_t size, uint64_t nanoseconds,
                                              wsasec_status *status)
{
    (void)socket;
    (void)address;
    (void)size;
    (void)nanoseconds;
    wsasec_fail(status, WSASEC_STEP_NEGOTIATE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
    return NULL;
}

/* The next three are never called, as there is nothing to call them with. */

int32_t wsasec_question_descriptor(const struct wsasec_question *question)
{
    (void)question;
    return -1;
}

int wsasec_question_answer(struct wsasec_question *question, wsasec_status *status, char detail[WSASEC_DETAIL_MAX])
{
    (void)question;
    detail[0] = 0;
    wsasec_fail(status, WSASEC_STEP_NEGOTIATE, WSASEC_REASON_NOT_IMPLEMENTED, 0);
    return 1;
}

void wsasec_question_end(struct wsasec_question *question)
{
    (void)question;
}

int wsasec_question_is_open(const wsasec_status *status)
{
    (void)status;
    return 0;
}

int wsasec_question_has_daemon(void)
{
    return 0;
}

int wsasec_question_is_for(int32_t socket, int error)
{
    (void)socket;
    (void)error;
    return 0;
}

int wsasec_question_is_optional(int32_t socket)
{
    (void)socket;
    return 0;
}

int wsasec_question_is_held(int32_t socket)
{
    (void)socket;
    return 0;
}

int wsasec_question_hold(int32_t socket, const void *address, size_t size)
{
    (void)socket;
    (void)address;
    (void)size;
    return 0;
}
