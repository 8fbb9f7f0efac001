/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs against the double: the same result by every method, and the method that is found to be fastest. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "double.h"

#include "../../src/core/sockets.h"

enum { MANY = 3000 };

static int failures;
static int32_t sockets[MANY];
static int32_t codes[MANY];
static const wsasec_batch_spec spec = {.address_family = 2, .type = 1};
static const unsigned methods[] = {WSASEC_METHOD_PLAIN, WSASEC_METHOD_IO_URING, WSASEC_METHOD_THREADS,
                                   WSASEC_METHOD_AUTO};

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

#define EACH_METHOD(method) for (unsigned m = 0, method; m < 4 && (method = methods[m], 1); m++)

/* Sockets that nobody has seen yet. */
static void fresh(void)
{
    static uint64_t identity = 1000000;

    memset(&the_double, 0, sizeof the_double);
    the_double.facts.identity = identity += 1000000;
    the_double.facts.realm = 1;
    the_double.facts.family = WSASEC_FAMILY_INET;
    the_double.facts.type = WSASEC_TYPE_STREAM;
    the_double.different = 1;
    the_double.processors = 4;
    the_double.next_socket = 100;
    for (int i = 0; i < MANY; i++)
        sockets[i] = 100 + i;
    memset(codes, 0x55, sizeof codes);
}

static size_t counted(char call)
{
    size_t count = 0;

    for (size_t i = 0; i < sizeof the_double.calls; i++)
        count += the_double.calls[i] == call;
    return count;
}

/* Runs a job in slices of a few looks at the clock. */
static size_t finish(wsasec_job *job, wsasec_status *first)
{
    size_t done = 0;

    CHECK(job);
    while (job && !wsasec_job_run(job, 5000)) {
        CHECK(wsasec_job_done(job) > done);
        done = wsasec_job_done(job);
    }
    return wsasec_job_end(job, first);
}

static size_t secure(unsigned method, wsasec_status *first)
{
    return finish(wsasec_job_secure(sockets, MANY, NULL, 0, codes, method, 0, first), first);
}

static size_t create(unsigned method, int stop, wsasec_status *first)
{
    return finish(wsasec_job_create(sockets, MANY, &spec, codes, stop, method, 0, first), first);
}

static void test_all_are_secured(void)
{
    EACH_METHOD(method) {
        wsasec_status first;

        fresh();
        CHECK(secure(method, &first) == 0 && first.code == 0);
        for (int i = 0; i < MANY; i++)
            CHECK(codes[i] == 0 && wsasec_socket_profile(sockets[i], the_double.facts.identity + 100 + (uint64_t)i) == 0);
        CHECK(secure(method, &first) == MANY); /* secured already */
        CHECK(first.reason == WSASEC_REASON_ALREADY_SECURED);
        CHECK(counted('O') == counted('o'));
    }
}

/* Made ready is asked for once in many sockets; each is applied to with what it said. */
static void test_all_are_on_the_device(void)
{
    EACH_METHOD(method) {
        wsasec_status first;

        fresh();
        the_double.device = 7;
        CHECK(secure(method, &first) == 0);
        CHECK(counted('R') < MANY && counted('A') == MANY);
        fresh();
        the_double.device = 7;
        CHECK(create(method, 0, &first) == 0);
        CHECK(counted('R') < MANY && counted('A') == MANY);
        CHECK(the_double.astray == 0);
    }
}

static void test_failures_have_their_index(void)
{
    EACH_METHOD(method) {
        wsasec_status first;

        fresh();
        the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
        the_double.alone = 100 + 1234;
        CHECK(secure(method, &first) == 1);
        CHECK(first.reason == WSASEC_REASON_NO_MEMORY && first.flags == WSASEC_STATUS_BLOCKED);
        for (int i = 0; i < MANY; i++)
            CHECK(codes[i] == (i == 1234 ? -WSASEC_WSAENOBUFS : 0));
        CHECK(secure(method, &first) == MANY);

        fresh();
        the_double.ready_fails = WSASEC_REASON_GUARD_SYSCTL4;
        CHECK(secure(method, &first) == MANY && first.step == WSASEC_STEP_GUARD);
        CHECK(first.flags == WSASEC_STATUS_BLOCKED);

        fresh();
        the_double.inspect_fails = WSASEC_REASON_NAMESPACE;
        the_double.block_fails = 1;
        CHECK(secure(method, &first) == MANY && first.flags == WSASEC_STATUS_STILL_OPEN);
        CHECK(counted('A') == 0);
    }
}

/* What a socket is told that was there before must not depend on how many are looked at at a time. */
/* In groups, whatever the method is; the codes are the same. */
static void test_a_broker(void)
{
    EACH_METHOD(method) {
        wsasec_status first;

        fresh();
        the_double.lacks_privilege = the_double.brokers = 1;
        CHECK(secure(method, &first) == 0 && first.code == 0);
        CHECK(counted('k') == MANY && counted('A') == 0 && counted('R') == 0);
        CHECK(counted('K') <= (method == WSASEC_METHOD_THREADS ? MANY / 64 + 1 : MANY / WSASEC_BROKERED));
        for (int i = 0; i < MANY; i++)
            CHECK(codes[i] == 0 && wsasec_socket_profile(sockets[i], the_double.facts.identity + 100 + (uint64_t)i) == 0);

        fresh();
        the_double.lacks_privilege = the_double.brokers = 1;
        sockets[70] = sockets[69];
        the_double.broker_fails = WSASEC_REASON_NO_MEMORY;
        the_double.alone = 100 + 1234;
        CHECK(secure(method, &first) == 2 && counted('X') == 1);
        CHECK(codes[70] == -WSASEC_WSAEINVAL && codes[1234] == -WSASEC_WSAENOBUFS);
        CHECK(first.reason == WSASEC_REASON_ALREADY_SECURED);

        fresh();
        the_double.lacks_privilege = 1; /* and nobody is there: few look for him */
        the_double.apply_fails = WSASEC_REASON_PRIVILEGE;
        CHECK(secure(method, &first) == MANY && first.step == WSASEC_STEP_POLICY_IN && first.os_error == 8);
        CHECK(counted('A') == MANY && counted('K') <= MANY / 64 + 1);

        fresh();
        the_double.brokers = 1;
        the_double.apply_fails = WSASEC_REASON_PRIVILEGE;
        CHECK(secure(method, &first) == 0 && counted('k') == MANY);

        fresh();
        the_double.lacks_privilege = the_double.brokers = 1;
        CHECK(create(method, 1, &first) == 0 && counted('k') == MANY && counted('E') == MANY && counted('A') == 0);

        fresh();
        the_double.lacks_privilege = the_double.brokers = 1;
        the_double.broker_fails = WSASEC_REASON_NOT_ALLOWED;
        CHECK(create(method, 1, &first) == 1 && first.reason == WSASEC_REASON_NOT_ALLOWED);
        CHECK(counted('C') == counted('M'));
    }
    fresh();
    the_double.lacks_privilege = the_double.brokers = 1;
    the_double.broker_fails = WSASEC_REASON_NO_MEMORY;
    the_double.alone = 100 + 7;
    CHECK(wsasec_secure_many(sockets, MANY, NULL, 0, codes, NULL) == 1 && codes[7] == -WSASEC_WSAENOBUFS);
    CHECK(counted('K') == MANY / WSASEC_BROKERED);
}

static void test_the_same_socket_twice(void)
{
    static const unsigned in_order[] = {WSASEC_METHOD_PLAIN, WSASEC_METHOD_IO_URING};

    for (int m = 0; m < 2; m++) {
        wsasec_status first;

        fresh();
        sockets[5] = sockets[3];
        CHECK(secure(in_order[m], &first) == 1);
        CHECK(codes[3] == 0 && codes[5] == -WSASEC_WSAEINVAL);
        CHECK(first.reason == WSASEC_REASON_ALREADY_SECURED);

        fresh();
        sockets[5] = sockets[3];
        the_double.alone = sockets[3];
        the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
        CHECK(secure(in_order[m], &first) == 2);
        CHECK(codes[3] == -WSASEC_WSAENOBUFS && codes[5] == -WSASEC_WSAEINVAL);

        fresh();
        the_double.different = 0; /* one socket behind all descriptors: each is a group of its own */
        CHECK(secure(in_order[m], &first) == 0);
    }
    fresh();
    sockets[5] = sockets[3];
    sockets[2000] = sockets[3];
    EACH_METHOD(method) {
        wsasec_status first;

        the_double.facts.identity += 10000000;
        CHECK(secure(method, &first) == 2);
        CHECK((codes[3] == 0) + (codes[5] == 0) + (codes[2000] == 0) == 1);
    }
}

static void test_a_batch_stops_at_its_first_failure(void)
{
    EACH_METHOD(method) {
        wsasec_status first;
        int made = 0;

        fresh();
        the_double.equip_fails = WSASEC_REASON_ADDRESS_IN_USE;
        the_double.alone = 100 + 700; /* with threads, any index may get it */
        CHECK(create(method, 1, &first) == 1);
        CHECK(first.reason == WSASEC_REASON_ADDRESS_IN_USE);
        while (made < MANY && sockets[made] >= 0) {
            CHECK(codes[made] == 0);
            made++;
        }
        CHECK(codes[made] == -WSASEC_WSAEADDRINUSE);
        CHECK(method == WSASEC_METHOD_THREADS || made == 700);
        for (int i = made; i < MANY; i++)
            CHECK(sockets[i] == -1 && (i == made || codes[i] == 0));
        /* what was made is there, or closed */
        CHECK(wsasec_job_end(NULL, NULL) == 0);

        fresh();
        the_double.make_fails = WSASEC_REASON_NO_DESCRIPTORS;
        CHECK(create(method, 1, &first) == 1 && codes[0] == -WSASEC_WSAEMFILE && codes[1] == 0);
        CHECK(counted('C') == 0);
    }
}

static void test_a_batch_that_keeps_what_it_can(void)
{
    EACH_METHOD(method) {
        wsasec_status first;
        int missing = 0;

        fresh();
        the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
        the_double.alone = 100 + 2222;
        CHECK(create(method, 0, &first) == 1 && first.step == WSASEC_STEP_POLICY_IN);
        for (int i = 0; i < MANY; i++) {
            CHECK((sockets[i] < 0) == (codes[i] != 0));
            missing += sockets[i] < 0;
        }
        CHECK(missing == 1);
    }
}

static void test_a_job_that_is_given_up(void)
{
    EACH_METHOD(method) {
        wsasec_status first;
        wsasec_job *job;
        size_t done;

        fresh();
        job = wsasec_job_create(sockets, MANY, &spec, NULL, 0, method, 2, &first);
        CHECK(wsasec_job_run(job, 0) == 0);
        done = wsasec_job_done(job);
        CHECK(done > 0 && done < MANY);
        CHECK(wsasec_job_end(job, &first) == 0);
        for (size_t i = 0; i < MANY; i++)
            CHECK((sockets[i] >= 0) == (i < done));
    }
}

/* The longest time there is: to the end, in one go. */
static void test_a_job_in_one_go(void)
{
    EACH_METHOD(method) {
        wsasec_status first;
        wsasec_job *job;

        fresh();
        job = wsasec_job_secure(sockets, MANY, NULL, 0, codes, method, 0, &first);
        CHECK(codes[0] == WSASEC_NOT_TRIED && codes[MANY - 1] == WSASEC_NOT_TRIED);
        CHECK(wsasec_job_run(job, UINT64_MAX) == 1 && wsasec_job_done(job) == MANY);
        CHECK(wsasec_job_end(job, &first) == 0);
        for (int i = 0; i < MANY; i++)
            CHECK(codes[i] == 0);
    }
}

/* Any time may pass between two slices: what must be in force is looked at again in each. */
static void test_a_job_that_pauses(void)
{
    EACH_METHOD(method) {
        wsasec_status first;
        wsasec_job *job;
        size_t done;

        fresh();
        job = wsasec_job_secure(sockets, MANY, NULL, 0, codes, method, 2, &first);
        CHECK(wsasec_job_run(job, 0) == 0);
        done = wsasec_job_done(job);
        the_double.ready_fails = WSASEC_REASON_GUARD_SYSCTL4;
        while (!wsasec_job_run(job, UINT64_MAX))
            continue;
        CHECK(wsasec_job_end(job, &first) == MANY - done && first.step == WSASEC_STEP_GUARD);
    }
}

/* The clock is looked at as often as the sockets take it: rarely where they take next to nothing. */
static void test_looks_at_the_clock(void)
{
    wsasec_status status;
    wsasec_job *job;

    for (int itself = 0; itself < 2; itself++) {
        fresh();
        the_double.checks_itself = itself;
        job = wsasec_job_secure(sockets, MANY, NULL, 0, codes, WSASEC_METHOD_PLAIN, 0, &status);
        CHECK(job && wsasec_job_run(job, UINT64_MAX) == 1);
        CHECK(the_double.clock <= 12000); /* a look is a microsecond */
        CHECK(wsasec_job_end(job, &status) == 0);

        fresh();
        the_double.checks_itself = itself;
        the_double.cost[WSASEC_METHOD_PLAIN] = 10000;
        job = wsasec_job_secure(sockets, MANY, NULL, 0, codes, WSASEC_METHOD_PLAIN, 0, &status);
        CHECK(job && wsasec_job_run(job, 1000000) == 0);
        CHECK(wsasec_job_done(job) >= 64 && wsasec_job_done(job) <= 192);
        the_double.cost[WSASEC_METHOD_PLAIN] = 0;
        CHECK(wsasec_job_run(job, UINT64_MAX) == 1);
        CHECK(wsasec_job_end(job, &status) == 0);
        for (int i = 0; i < MANY; i++)
            CHECK(codes[i] == 0);
    }
}

static void test_threads_have_something_to_do(void)
{
    wsasec_status first;

    fresh();
    CHECK(finish(wsasec_job_secure(sockets, 100, NULL, 0, codes, WSASEC_METHOD_THREADS, 64, &first), &first) == 0);
    CHECK(counted('T') == 1);
    fresh();
    CHECK(finish(wsasec_job_secure(sockets, 0, NULL, 0, codes, WSASEC_METHOD_THREADS, 64, &first), &first) == 0);
    CHECK(counted('T') == 0);
}

static void test_methods(void)
{
    wsasec_status status;

    fresh();
    for (unsigned method = 0; method < WSASEC_METHOD_COUNT; method++)
        CHECK(wsasec_method_status(method, &status) == 0);
    CHECK(wsasec_method_status(WSASEC_METHOD_COUNT, &status) == -WSASEC_WSAEOPNOTSUPP);
    the_double.ring_fails = WSASEC_REASON_URING_DISABLED;
    CHECK(wsasec_method_status(WSASEC_METHOD_IO_URING, &status) == -WSASEC_WSAEOPNOTSUPP);
    CHECK(status.reason == WSASEC_REASON_URING_DISABLED && status.os_error == 11);
    CHECK(wsasec_method_status(WSASEC_METHOD_IO_URING, NULL) == -WSASEC_WSAEOPNOTSUPP);
    CHECK(!wsasec_job_secure(sockets, MANY, NULL, 0, codes, WSASEC_METHOD_IO_URING, 0, NULL));
    CHECK(!wsasec_job_secure(sockets, MANY, NULL, 0, codes, WSASEC_METHOD_IO_URING, 0, &status));
    CHECK(status.reason == WSASEC_REASON_URING_DISABLED);
    CHECK(!wsasec_job_create(sockets, MANY, &spec, codes, 0, WSASEC_METHOD_IO_URING, 0, &status));

    fresh();
    the_double.ring_fails = WSASEC_REASON_URING_DISABLED;
    CHECK(secure(WSASEC_METHOD_AUTO, &status) == 0);

    fresh();
    CHECK(finish(wsasec_job_secure(sockets, MANY, NULL, 0, codes, WSASEC_METHOD_THREADS, 3, &status), &status) == 0);
    CHECK(counted('T') % 2 == 0); /* the calling thread is the third */
    CHECK(wsasec_method_cost(WSASEC_KIND_COUNT, 0) == 0 && wsasec_method_cost(0, WSASEC_METHOD_COUNT) == 0);
}

/* The costs are told by the double; with threads it is the sum over all of them, as their clock is one. */
static void test_auto(void)
{
    wsasec_status first;

    fresh();
    CHECK(wsasec_method_best(WSASEC_KIND_CREATE) == WSASEC_METHOD_PLAIN);
    CHECK(finish(wsasec_job_create(sockets, 999, &spec, codes, 1, WSASEC_METHOD_AUTO, 0, &first), &first) == 0);
    CHECK(wsasec_method_cost(WSASEC_KIND_CREATE, WSASEC_METHOD_PLAIN) == 0); /* too small */
    CHECK(counted('O') == 0 && counted('T') == 0);

    fresh();
    the_double.processors = 1;
    the_double.cost[WSASEC_METHOD_PLAIN] = 5000;
    the_double.cost[WSASEC_METHOD_IO_URING] = 4000;
    CHECK(finish(wsasec_job_create(sockets, 1000, &spec, codes, 1, WSASEC_METHOD_AUTO, 0, &first), &first) == 0);
    CHECK(counted('T') == 0); /* one processor */
    CHECK(wsasec_method_cost(WSASEC_KIND_CREATE, WSASEC_METHOD_PLAIN) >= 5000);
    CHECK(wsasec_method_cost(WSASEC_KIND_CREATE, WSASEC_METHOD_IO_URING) >= 4000);
    CHECK(wsasec_method_cost(WSASEC_KIND_CREATE, WSASEC_METHOD_IO_URING) < 5000);
    CHECK(wsasec_method_cost(WSASEC_KIND_CREATE, WSASEC_METHOD_THREADS) == 0);
    CHECK(wsasec_method_cost(WSASEC_KIND_SECURE, WSASEC_METHOD_PLAIN) == 0);
    CHECK(wsasec_method_best(WSASEC_KIND_CREATE) == WSASEC_METHOD_IO_URING);

    fresh(); /* a smaller one takes what is known */
    CHECK(finish(wsasec_job_create(sockets, 600, &spec, codes, 1, WSASEC_METHOD_AUTO, 0, &first), &first) == 0);
    CHECK(counted('O') == 1 && counted('T') == 0);
    fresh();
    CHECK(finish(wsasec_job_create(sockets, 500, &spec, codes, 1, WSASEC_METHOD_AUTO, 0, &first), &first) == 0);
    CHECK(counted('O') == 0);

    fresh(); /* a larger one measures again; what fails in the meantime is not taken for a measurement */
    the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
    the_double.alone = 100 + 50;
    CHECK(create(WSASEC_METHOD_AUTO, 0, &first) == 1);
    CHECK(wsasec_method_best(WSASEC_KIND_CREATE) == WSASEC_METHOD_IO_URING);
    fresh();
    the_double.cost[WSASEC_METHOD_IO_URING] = 1000000;
    the_double.cost[WSASEC_METHOD_THREADS] = 1000000;
    CHECK(create(WSASEC_METHOD_AUTO, 0, &first) == 0);
    CHECK(wsasec_method_best(WSASEC_KIND_CREATE) == WSASEC_METHOD_PLAIN);
    CHECK(wsasec_method_cost(WSASEC_KIND_CREATE, WSASEC_METHOD_THREADS) >= 1000000);
}

static wsasec_job *overlapped(void)
{
    wsasec_job *job;

    job = wsasec_job_secure(sockets, MANY, NULL, 0, codes, WSASEC_METHOD_OVERLAPPED, 0, NULL);
    CHECK(job != NULL);
    return job;
}

/* Some are done at once, some later, the last first: each code is at its own index. */
static void test_overlapped(void)
{
    wsasec_status first;

    for (int backwards = 0; backwards < 2; backwards++) {
        fresh();
        the_double.lands_backwards = backwards;
        CHECK(finish(overlapped(), &first) == 0);
        CHECK(counted('F') == MANY && counted('f') == 2 * MANY / 3);
        for (int i = 0; i < MANY; i++)
            CHECK(codes[i] == 0 && wsasec_profile_of(sockets[i]));

        fresh();
        the_double.lands_backwards = backwards;
        the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
        the_double.alone = sockets[1000];
        CHECK(finish(overlapped(), &first) == 1);
        CHECK(first.code == -WSASEC_WSAENOBUFS);
        CHECK(codes[1000] == -WSASEC_WSAENOBUFS && codes[999] == 0 && codes[1001] == 0);
    }
    fresh();
    the_double.ring_fails = WSASEC_REASON_NOT_IMPLEMENTED;
    CHECK(!wsasec_job_secure(sockets, MANY, NULL, 0, codes, WSASEC_METHOD_OVERLAPPED, 0, &first));
    CHECK(first.code == -WSASEC_WSAEOPNOTSUPP);
    CHECK(wsasec_method_status(WSASEC_METHOD_OVERLAPPED, NULL) == -WSASEC_WSAEOPNOTSUPP);
    CHECK(!wsasec_job_create(sockets, MANY, &spec, codes, 0, WSASEC_METHOD_OVERLAPPED, 0, &first));
}

/* Those that hang take the window; at the deadline they are cancelled, and the others never tried. */
static void test_overlapped_calls_that_hang(void)
{
    wsasec_status first;
    wsasec_job *job;

    fresh();
    the_double.never_lands = 1;
    job = overlapped();
    CHECK(!wsasec_job_run(job, 100000000));
    CHECK(wsasec_job_done(job) < MANY / 2);
    wsasec_job_time_out(job);
    CHECK(counted('c') == WSASEC_WINDOW && counted('f') == WSASEC_WINDOW);
    CHECK(wsasec_job_run(job, 1));
    CHECK(wsasec_job_done(job) == MANY);
    CHECK(wsasec_job_end(job, &first) > MANY / 2);
    CHECK(first.code == -WSASEC_WSAETIMEDOUT && codes[MANY - 1] == -WSASEC_WSAETIMEDOUT);
    for (int i = 0; i < MANY; i++)
        CHECK((codes[i] == 0) == (wsasec_profile_of(sockets[i]) != NULL));

    /* Given up without that: what is under way is cancelled with it. */
    fresh();
    the_double.never_lands = 1;
    job = overlapped();
    CHECK(!wsasec_job_run(job, 100000000));
    wsasec_job_end(job, NULL);

    /* Also what does not end when it is cancelled: it may go on in clear no more than what does. */
    fresh();
    the_double.never_lands = the_double.never_ends = 1;
    job = overlapped();
    CHECK(!wsasec_job_run(job, 100000000));
    wsasec_job_time_out(job);
    CHECK(counted('c') == WSASEC_WINDOW && counted('f') == 0 && counted('X') == WSASEC_WINDOW);
    CHECK(wsasec_job_end(job, &first) > MANY / 2);
    CHECK(first.reason == WSASEC_REASON_TIMED_OUT && first.flags == WSASEC_STATUS_BLOCKED);
    CHECK(wsasec_set_socket_security(sockets[1], NULL, 0, NULL, NULL, &first) == -WSASEC_WSAEINVAL);
    CHECK(first.reason == WSASEC_REASON_FAILED_BEFORE);

    /* By any other method a deadline ends the job as well. */
    fresh();
    job = wsasec_job_secure(sockets, MANY, NULL, 0, codes, WSASEC_METHOD_PLAIN, 0, NULL);
    CHECK(!wsasec_job_run(job, 1));
    wsasec_job_time_out(job);
    CHECK(wsasec_job_end(job, &first) > MANY / 2 && first.reason == WSASEC_REASON_TIMED_OUT);
    CHECK(codes[0] == 0 && codes[MANY - 1] == -WSASEC_WSAETIMEDOUT);
}

int main(void)
{
    test_overlapped();
    test_overlapped_calls_that_hang();
    test_auto(); /* first: nothing is known yet */
    test_all_are_secured();
    test_all_are_on_the_device();
    test_failures_have_their_index();
    test_a_broker();
    test_the_same_socket_twice();
    test_a_batch_stops_at_its_first_failure();
    test_a_batch_that_keeps_what_it_can();
    test_a_job_that_is_given_up();
    test_a_job_in_one_go();
    test_a_job_that_pauses();
    test_looks_at_the_clock();
    test_threads_have_something_to_do();
    test_methods();
    return failures != 0;
}
