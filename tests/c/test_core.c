/* SPDX-License-Identifier: Apache-2.0 */
/* The core against a backend that can be told to fail: order, consequences, and the arguments of all six. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "double.h"

#include "wsasec_accept.h"
#include "wsasec_histogram.h"

#include "../../src/core/accept.h"
#include "../../src/core/errors.h"
#include "../../src/core/sockets.h"

static int failures;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (calls: %s)\n", __FILE__, __LINE__, #condition, the_double.calls);    \
            failures++;                                                                                      \
        }                                                                                                    \
    } while (0)

#define CALLS(text) CHECK(strcmp(the_double.calls, text) == 0)

/* A socket that nobody has seen yet. */
static void fresh(uint8_t type)
{
    static uint64_t identity = 100;

    memset(&the_double, 0, sizeof the_double);
    the_double.facts.identity = ++identity;
    the_double.facts.realm = 1;
    the_double.facts.family = WSASEC_FAMILY_INET;
    the_double.facts.type = type;
}

/* The same socket, asked again. */
static void again(void)
{
    memset(the_double.calls, 0, sizeof the_double.calls);
    the_double.count = 0;
    the_double.inspect_fails = the_double.ready_fails = the_double.apply_fails = 0;
}

static int32_t set(const void *settings, uint32_t length, wsasec_status *status)
{
    return wsasec_set_socket_security(5, settings, length, NULL, NULL, status);
}

static void test_order(void)
{
    const wsasec_socket_security_settings bad = {WSASEC_SOCKET_SECURITY_PROTOCOL_INVALID, 0};
    wsasec_status status;

    fresh(WSASEC_TYPE_STREAM);
    CHECK(set(NULL, 0, &status) == 0);
    CHECK(status.code == 0);
    CALLS("IRA");

    fresh(WSASEC_TYPE_STREAM);
    the_double.inspect_fails = WSASEC_REASON_NOT_A_SOCKET;
    CHECK(set(&bad, 4, &status) == -WSASEC_WSAENOTSOCK);
    CHECK(status.flags == 0);
    CALLS("I"); /* what is no socket is not blocked */

    fresh(WSASEC_TYPE_OTHER);
    the_double.facts.bound = 1;
    CHECK(set(NULL, 1, &status) == -WSASEC_WSAEFAULT);
    CHECK(set(&bad, 4, &status) == -WSASEC_WSAEMSGSIZE);
    CHECK(set(&bad, 8, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.step == WSASEC_STEP_KIND);
    CALLS("III");

    fresh(WSASEC_TYPE_STREAM);
    the_double.facts.bound = 1;
    the_double.bound_reason = WSASEC_REASON_CONNECTED;
    CHECK(set(&bad, 8, &status) == -WSASEC_WSAEISCONN);
    CALLS("IB");

    fresh(WSASEC_TYPE_STREAM);
    CHECK(set(&bad, 8, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.step == WSASEC_STEP_SETTINGS && status.reason == WSASEC_REASON_PROTOCOL);
    CALLS("I");
    CHECK(set(NULL, 0, NULL) == 0); /* the claim was given back */
}

static void test_a_failed_step_blocks(void)
{
    wsasec_status status;

    fresh(WSASEC_TYPE_DGRAM);
    the_double.ready_fails = WSASEC_REASON_FAMILY_UNSUPPORTED;
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEAFNOSUPPORT);
    CHECK(status.flags == WSASEC_STATUS_BLOCKED && status.step == WSASEC_STEP_GUARD && status.os_error == 7);
    CALLS("IRX");
    again();
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.reason == WSASEC_REASON_FAILED_BEFORE);
    CALLS("I");

    fresh(WSASEC_TYPE_STREAM);
    the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAENOBUFS);
    CHECK(status.flags == WSASEC_STATUS_BLOCKED && status.step == WSASEC_STEP_POLICY_IN);
    CALLS("IRAX");

    fresh(WSASEC_TYPE_STREAM);
    the_double.apply_fails = WSASEC_REASON_PRIVILEGE;
    the_double.block_fails = -1;
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEACCES);
    CHECK(status.flags == WSASEC_STATUS_STILL_OPEN);

    /* Facts that cannot be had are a failed step, too. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.inspect_fails = WSASEC_REASON_NAMESPACE;
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEACCES);
    CHECK(status.flags == WSASEC_STATUS_BLOCKED);
    CALLS("IX");
}

static void test_broker(void)
{
    wsasec_status status;

    /* Whoever lacks the privilege asks a broker first, and does nothing else. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.lacks_privilege = the_double.brokers = 1;
    CHECK(set(NULL, 0, &status) == 0 && status.code == 0);
    CALLS("IKk");
    CHECK(wsasec_profile_of(5) == wsasec_profile_builtin());
    again();
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEINVAL && status.reason == WSASEC_REASON_ALREADY_SECURED);
    CALLS("I");

    /* The checks come first. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.lacks_privilege = the_double.brokers = 1;
    CHECK(set(NULL, 7, &status) == -WSASEC_WSAEFAULT);
    CALLS("I");

    /* Without a broker it is as it ever was. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.lacks_privilege = 1;
    the_double.ready_fails = WSASEC_REASON_PRIVILEGE;
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEACCES);
    CHECK(status.step == WSASEC_STEP_GUARD && status.os_error == 7 && status.flags == WSASEC_STATUS_BLOCKED);
    CALLS("IKRX");

    /* One that is refused though it seems to have the privilege. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.brokers = 1;
    the_double.apply_fails = WSASEC_REASON_PRIVILEGE;
    CHECK(set(NULL, 0, &status) == 0);
    CALLS("IRAKk");

    /* What the broker refuses blocks the socket; what its checks find leaves it as it was. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.lacks_privilege = the_double.brokers = 1;
    the_double.broker_fails = WSASEC_REASON_NOT_ALLOWED;
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEACCES && status.reason == WSASEC_REASON_NOT_ALLOWED);
    CHECK(status.step == WSASEC_STEP_DAEMON && status.flags == WSASEC_STATUS_BLOCKED);
    CALLS("IKkX");
    again();
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEINVAL && status.reason == WSASEC_REASON_FAILED_BEFORE);
    fresh(WSASEC_TYPE_STREAM);
    the_double.lacks_privilege = the_double.brokers = 1;
    the_double.broker_fails = WSASEC_REASON_QM_POLICY;
    the_double.broker_step = WSASEC_STEP_SETTINGS;
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEINVAL && status.flags == 0);
    CALLS("IKk");
}

static void test_once(void)
{
    wsasec_status status;

    fresh(WSASEC_TYPE_STREAM);
    CHECK(set(NULL, 0, NULL) == 0);
    CHECK(wsasec_profile_of(5) == wsasec_profile_builtin());
    again();
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.reason == WSASEC_REASON_ALREADY_SECURED);
    CALLS("I");

    /* Another process did it: only the mark tells. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.facts.mark = wsasec_profile_builtin()->mark | 0x42;
    CHECK(set(NULL, 0, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.reason == WSASEC_REASON_ALREADY_SECURED);
    CALLS("I");

    fresh(WSASEC_TYPE_STREAM);
    CHECK(wsasec_profile_of(5) == NULL);
    CHECK(wsasec_set_socket_security((wsasec_socket)1 << 40, NULL, 0, NULL, NULL, &status) == -WSASEC_WSAENOBUFS);
    CHECK(status.flags == WSASEC_STATUS_BLOCKED);
}

static void test_skip_asks_for_nothing(void)
{
    wsasec_socket_security_settings_ipsec settings;

    memset(&settings, 0, sizeof settings);
    settings.SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC;
    settings.IpsecFlags = WSASEC_SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION;
    fresh(WSASEC_TYPE_STREAM);
    CHECK(set(&settings, sizeof settings, NULL) == 0);
    CALLS("IA");
}

static void test_many(void)
{
    enum { COUNT = 600 };
    int32_t sockets[COUNT];
    int32_t codes[COUNT];
    wsasec_status first;
    size_t ready = 0;

    fresh(WSASEC_TYPE_STREAM);
    for (int i = 0; i < COUNT; i++)
        sockets[i] = 10000 + i;
    /* The same identity behind every descriptor: to the core, each is a new descriptor of it. */
    CHECK(wsasec_secure_many(sockets, COUNT, NULL, 0, codes, &first) == 0);
    for (size_t i = 0; i < the_double.count; i++)
        ready += the_double.calls[i] == 'R';
    CHECK(ready == 3); /* 600 sockets, one question for each 256 */
    again();
    the_double.facts.identity++;
    the_double.ready_fails = WSASEC_REASON_GUARD_SYSCTL4;
    CHECK(wsasec_secure_many(sockets, 3, NULL, 0, codes, &first) == 3);
    CALLS("IRXIXIX"); /* a refusal is that of some more sockets: to find it out can take long */
    CHECK(codes[0] == -WSASEC_WSAENETDOWN && codes[2] == -WSASEC_WSAENETDOWN);
    CHECK(first.reason == WSASEC_REASON_GUARD_SYSCTL4);
    CHECK(wsasec_secure_many(NULL, 0, NULL, 0, NULL, NULL) == 0);
    again();
    the_double.facts.identity++;
    CHECK(wsasec_secure_many(sockets, 3, NULL, 5, NULL, NULL) == 3);
    CALLS("III");
}

/* What was found ready for one socket serves those after it, and later calls; whatever is wrong is told by the long way. */
static void test_at_once(void)
{
    enum { COUNT = 300 };
    static int32_t sockets[COUNT];
    static int32_t codes[COUNT];
    wsasec_status status;

    for (int i = 0; i < COUNT; i++)
        sockets[i] = 1000 + i;

    /* Of policies nobody asks. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.one_call = 2;
    the_double.different = 1;
    CHECK(wsasec_secure_many(sockets, 3, NULL, 0, codes, NULL) == 0);
    CALLS("IRAIAIA");

    fresh(WSASEC_TYPE_STREAM);
    the_double.facts.realm = 77;
    the_double.device = 9;
    the_double.one_call = 2;
    the_double.different = 1;
    the_double.facts.identity = 5000;
    CHECK(wsasec_secure_many(sockets, COUNT, NULL, 0, codes, NULL) == 0);
    CHECK(strncmp(the_double.calls, "IRA111", 6) == 0);
    CHECK(strspn(the_double.calls + 3, "1") == 255); /* 256 for each look at the realm */
    CHECK(strcmp(the_double.calls + 258, "R11111111111111111111111111111111111111111111") == 0);
    CHECK(the_double.one_device == 9 && the_double.one_family == WSASEC_FAMILY_INET);
    CHECK(wsasec_profile_of(1200) == wsasec_profile_at(0));

    /* A socket that is secured is told so by the long way; the other is secured by what is remembered. */
    again();
    CHECK(wsasec_set_socket_security(1200, NULL, 0, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.reason == WSASEC_REASON_ALREADY_SECURED && !status.flags);
    CALLS("RI");
    again();
    CHECK(wsasec_set_socket_security(1300, NULL, 0, NULL, NULL, &status) == 0);
    CALLS("R1");

    /* One that it refuses goes the long way, without a claim that is left. */
    again();
    the_double.one_call = 1;
    CHECK(wsasec_secure_many((int32_t[]){1301, 1302}, 2, NULL, 0, codes, NULL) == 0);
    CALLS("R1IA1IA");
    again();
    the_double.facts.bound = 1;
    the_double.bound_reason = WSASEC_REASON_BOUND;
    CHECK(wsasec_set_socket_security(1303, NULL, 0, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    CALLS("R1IB");
    the_double.facts.bound = 0;
    CHECK(wsasec_set_socket_security(1303, NULL, 0, NULL, NULL, &status) == 0);

    /* IPv6 is ready for either family, and stays what is asked by. */
    again();
    the_double.one_call = 1;
    the_double.facts.family = WSASEC_FAMILY_INET6;
    CHECK(wsasec_set_socket_security(1304, NULL, 0, NULL, NULL, NULL) == 0);
    CALLS("R1IRA");
    again();
    the_double.one_call = 2;
    CHECK(wsasec_secure_many((int32_t[]){1305, 1306}, 2, NULL, 0, codes, NULL) == 0);
    CALLS("R11");
    CHECK(the_double.one_family == WSASEC_FAMILY_INET6);

    /* What is not ready is no more so by one call. */
    again();
    the_double.ready_fails = WSASEC_REASON_NO_DEVICE;
    CHECK(wsasec_secure_many((int32_t[]){1307, 1308}, 2, NULL, 0, codes, NULL) == 2);
    CALLS("RIXIX");
    the_double.ready_fails = 0;

    /* Nor where somebody else has to do it, or nothing is to be done. */
    again();
    the_double.lacks_privilege = the_double.brokers = 1;
    CHECK(wsasec_set_socket_security(1309, NULL, 0, NULL, NULL, NULL) == 0);
    CALLS("IKk");

    /* Another realm is not guessed. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.facts.realm = 78;
    the_double.device = 9;
    the_double.one_call = 2;
    CHECK(set(NULL, 0, &status) == 0);
    CALLS("IRA");
}

static void test_create(void)
{
    const wsasec_batch_spec spec = {.address_family = 2, .type = 1};
    wsasec_batch_spec wrong = spec;
    const uint32_t protocol_2[2] = {2, 0};
    int32_t sockets[3];
    int32_t codes[3] = {1, 1, 1};
    wsasec_status status;
    wsasec_job *job;

    fresh(WSASEC_TYPE_STREAM);
    the_double.next_socket = 20000;
    job = wsasec_job_create(sockets, 3, &spec, codes, 1, WSASEC_METHOD_PLAIN, 0, &status);
    CHECK(job && wsasec_job_run(job, 0) == 1 && wsasec_job_done(job) == 3 && wsasec_job_end(job, &status) == 0);
    CALLS("MRAEMAEMAE");
    CHECK(sockets[0] == 20000 && sockets[2] == 20002 && !codes[0] && !codes[2] && !status.code);

    again();
    the_double.equip_fails = WSASEC_REASON_ADDRESS_IN_USE;
    job = wsasec_job_create(sockets, 3, &spec, codes, 1, WSASEC_METHOD_PLAIN, 0, &status);
    CHECK(job && wsasec_job_run(job, 0) == 1 && wsasec_job_end(job, &status) == 1);
    CALLS("MRAEC"); /* the first failure ends it, and that socket is closed */
    CHECK(sockets[0] == -1 && sockets[2] == -1 && codes[0] == -WSASEC_WSAEADDRINUSE && codes[1] == 0);
    CHECK(status.step == WSASEC_STEP_BIND);

    again();
    the_double.apply_fails = WSASEC_REASON_PRIVILEGE;
    job = wsasec_job_create(sockets, 2, &spec, codes, 0, WSASEC_METHOD_PLAIN, 0, &status);
    CHECK(job && wsasec_job_run(job, 0) == 1 && wsasec_job_end(job, &status) == 2);
    CALLS("MRAKCMAC");

    again();
    wrong.settings = protocol_2;
    wrong.settings_len = sizeof protocol_2;
    CHECK(!wsasec_job_create(sockets, 2, &wrong, codes, 0, WSASEC_METHOD_PLAIN, 0, &status));
    CHECK(status.code == -WSASEC_WSAEINVAL);
    CHECK(!wsasec_job_create(sockets, 2, &spec, codes, 0, WSASEC_METHOD_COUNT, 0, &status));
    CHECK(status.reason == WSASEC_REASON_METHOD);
    CALLS("");
    CHECK(wsasec_job_end(NULL, &status) == 0 && status.code == 0);
}

static void test_histogram(void)
{
    static wsasec_histogram one;
    static wsasec_histogram two;

    wsasec_histogram_clear(&one);
    CHECK(wsasec_histogram_quantile(&one, 0.5) == 0);
    for (uint64_t value = 0; value < UINT64_C(1) << 40; value = value * 2 + 1) {
        wsasec_histogram_clear(&two);
        wsasec_histogram_record(&two, value);
        CHECK(two.maximum == (value > UINT32_MAX ? UINT32_MAX : value));
        CHECK(wsasec_histogram_quantile(&two, 1) == two.maximum);
        wsasec_histogram_add(&one, &two);
    }
    CHECK(one.count == 41 && one.minimum == 0 && one.maximum == UINT32_MAX);
    for (unsigned bucket = 1; bucket < WSASEC_HISTOGRAM_BUCKETS; bucket++) {
        const double upper = wsasec_histogram_upper(bucket);
        const double width = upper - wsasec_histogram_upper(bucket - 1);

        CHECK(width >= 1 && (bucket < 256 || width / upper < 0.008));
    }
    CHECK(wsasec_histogram_upper(WSASEC_HISTOGRAM_BUCKETS - 1) == UINT32_MAX);
}

static void test_query(void)
{
    wsasec_socket_security_query_template_ipsec2 template_;
    unsigned char info[64];
    uint32_t length;
    wsasec_status status;

    memset(&template_, 0, sizeof template_);
    fresh(WSASEC_TYPE_STREAM);
    CHECK(wsasec_query_socket_security(5, NULL, 0, info, NULL, NULL, NULL, &status) == -WSASEC_WSAEFAULT);
    CHECK(wsasec_query_socket_security(5, NULL, 0, NULL, &length, NULL, NULL, &status) == -WSASEC_WSAEMSGSIZE);
    CHECK(length == 24);
    CHECK(wsasec_query_socket_security(5, NULL, 0, info, &length, NULL, NULL, &status) == 0);
    CHECK(wsasec_query_socket_security(5, &template_, 100, info, &length, NULL, NULL, &status) == -WSASEC_WSAEMSGSIZE);
    template_.SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2;
    CHECK(wsasec_query_socket_security(5, &template_, 144, info, &length, NULL, NULL, &status) == -WSASEC_WSAEMSGSIZE);
    CHECK(wsasec_query_socket_security(5, &template_, 152, info, &length, NULL, NULL, &status) == -WSASEC_WSAEMSGSIZE);
    CHECK(length == 64);
    CHECK(wsasec_query_socket_security(5, &template_, 152, info, &length, NULL, NULL, &status) == 0);
    template_.SecurityProtocol = 3;
    CHECK(wsasec_query_socket_security(5, &template_, 152, info, &length, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    fresh(WSASEC_TYPE_DGRAM);
    template_.SecurityProtocol = 0;
    CHECK(wsasec_query_socket_security(5, NULL, 0, info, &length, NULL, NULL, &status) == -WSASEC_WSAEFAULT);
    CHECK(wsasec_query_socket_security(5, &template_, 152, info, &length, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    template_.PeerAddress.family = 2;
    template_.PeerAddress.data[1] = 53;
    CHECK(wsasec_query_socket_security(5, &template_, 152, info, &length, NULL, NULL, &status) == 0);
    CALLS("IIIq");
    the_double.inspect_fails = WSASEC_REASON_NOT_A_SOCKET;
    CHECK(wsasec_query_socket_security(5, NULL, 0, NULL, NULL, NULL, NULL, &status) == -WSASEC_WSAENOTSOCK);
}

static void test_peer_names(void)
{
    struct {
        wsasec_socket_peer_target_name head;
        uint16_t more[20];
    } name;
    wsasec_status status;

    memset(&name, 0, sizeof name);
    fresh(WSASEC_TYPE_STREAM);
    CHECK(wsasec_set_socket_peer_target_name(5, NULL, 0, NULL, NULL, &status) == -WSASEC_WSAEFAULT);
    CHECK(wsasec_set_socket_peer_target_name(5, &name, 143, NULL, NULL, &status) == -WSASEC_WSAEMSGSIZE);
    name.head.PeerTargetNameStringLen = sizeof name - 140 + 2;
    CHECK(wsasec_set_socket_peer_target_name(5, &name, sizeof name, NULL, NULL, &status) == -WSASEC_WSAEMSGSIZE);
    name.head.PeerTargetNameStringLen = UINT32_MAX;
    CHECK(wsasec_set_socket_peer_target_name(5, &name, sizeof name, NULL, NULL, &status) == -WSASEC_WSAEMSGSIZE);
    name.head.PeerTargetNameStringLen = 3;
    CHECK(wsasec_set_socket_peer_target_name(5, &name, sizeof name, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    name.head.PeerTargetNameStringLen = 4;
    CHECK(wsasec_set_socket_peer_target_name(5, &name, sizeof name, NULL, NULL, &status) == 0);
    name.head.SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC2;
    CHECK(wsasec_set_socket_peer_target_name(5, &name, sizeof name, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    the_double.facts.bound = 1;
    the_double.bound_reason = WSASEC_REASON_CONNECTED;
    CHECK(wsasec_set_socket_peer_target_name(5, &name, sizeof name, NULL, NULL, &status) == -WSASEC_WSAEISCONN);
    name.head.SecurityProtocol = 0;
    fresh(WSASEC_TYPE_DGRAM);
    CHECK(wsasec_set_socket_peer_target_name(5, &name, sizeof name, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.reason == WSASEC_REASON_PEER_ADDRESS);
    CHECK(wsasec_delete_socket_peer_target_name(5, NULL, 0, NULL, NULL, &status) == -WSASEC_WSAEFAULT);
    CHECK(wsasec_delete_socket_peer_target_name(5, &name, 16, NULL, NULL, &status) == 0);
    CALLS("IIId");
}

static void test_what_only_this_library_asks(void)
{
    static wsasec_socket_association association;
    wsasec_sockaddr_storage peer;
    wsasec_status status;

    memset(&peer, 0, sizeof peer);
    fresh(WSASEC_TYPE_DGRAM);
    CHECK(wsasec_negotiate(5, NULL, 0, 1, &status) == -WSASEC_WSAEFAULT);
    CHECK(wsasec_negotiate(5, &peer, 15, 1, &status) == -WSASEC_WSAEMSGSIZE);
    CHECK(wsasec_negotiate(5, &peer, 129, 1, &status) == -WSASEC_WSAEMSGSIZE);
    CHECK(wsasec_negotiate(5, &peer, 16, 1, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.reason == WSASEC_REASON_PEER_ADDRESS);
    peer.family = 2;
    peer.data[1] = 53;
    CHECK(wsasec_negotiate(5, &peer, 16, 1, &status) == 0);
    CHECK(wsasec_association_of(5, &peer, 16, NULL, &status) == -WSASEC_WSAEFAULT);
    CHECK(wsasec_association_of(5, &peer, sizeof peer, &association, &status) == 0);
    CHECK(wsasec_association_of(5, NULL, 0, &association, NULL) == -WSASEC_WSAEFAULT);
    fresh(WSASEC_TYPE_STREAM);
    CHECK(wsasec_negotiate(5, NULL, 16, 1, &status) == -WSASEC_WSAEFAULT);
    CHECK(wsasec_negotiate(5, NULL, 0, 1, &status) == 0);
    CHECK(wsasec_association_of(5, NULL, 0, &association, &status) == 0);
    CALLS("IINIs");
    memset(&peer, 0, sizeof peer);
    CHECK(wsasec_association_of(5, &peer, sizeof peer, &association, &status) == 0);
    CALLS("IINIsIs");
    fresh(WSASEC_TYPE_OTHER);
    CHECK(wsasec_negotiate(5, NULL, 0, 1, &status) == -WSASEC_WSAEINVAL);
    the_double.inspect_fails = WSASEC_REASON_NOT_A_SOCKET;
    CHECK(wsasec_association_of(5, NULL, 0, &association, &status) == -WSASEC_WSAENOTSOCK);
}

static void test_details(void)
{
    wsasec_status status;
    char longest[600];

    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    CHECK(wsasec_fail_detail(&status, WSASEC_STEP_DAEMON, WSASEC_REASON_NO_DAEMON, 5, "so it is") ==
          -WSASEC_WSAENETDOWN);
    CHECK(status.flags == WSASEC_STATUS_DETAIL && status.os_error == 5);
    CHECK(strcmp(wsasec_detail(), "so it is") == 0);
    wsasec_fail_detail(NULL, WSASEC_STEP_DAEMON, WSASEC_REASON_NO_DAEMON, 0, longest);
    CHECK(strlen(wsasec_detail()) == 255);
    wsasec_fail_detail(&status, WSASEC_STEP_DAEMON, WSASEC_REASON_NO_DAEMON, 0, "");
    CHECK(status.flags == 0 && !*wsasec_detail());
    wsasec_fail_detail(&status, WSASEC_STEP_DAEMON, WSASEC_REASON_NO_DAEMON, 0, "said");
    wsasec_fail(&status, WSASEC_STEP_DAEMON, WSASEC_REASON_NO_DAEMON, 0);
    CHECK(status.flags == 0 && !*wsasec_detail());
}

/* What was said of names is the socket's, beside the profile and the outcome. */
static void test_notes(void)
{
    wsasec_socket_security_settings_ipsec settings;
    wsasec_status status;

    memset(&settings, 0, sizeof settings);
    settings.SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC;
    settings.IpsecFlags = WSASEC_SOCKET_SETTINGS_IPSEC_PEER_NAME_IS_RAW_FORMAT;
    fresh(WSASEC_TYPE_STREAM);
    CHECK(wsasec_set_socket_security(5, &settings, sizeof settings, NULL, NULL, &status) == 0);
    CHECK(wsasec_socket_notes(5, the_double.facts.identity) == WSASEC_NOTE_NAMES_RAW);
    CHECK(wsasec_socket_notes(5, the_double.facts.identity + 1) == 0);
    CHECK(wsasec_socket_notes(500, the_double.facts.identity) == 0);
    CHECK(wsasec_socket_profile(5, the_double.facts.identity) == 0);
    fresh(WSASEC_TYPE_STREAM);
    settings.IpsecFlags = WSASEC_SOCKET_SETTINGS_IPSEC_OPTIONAL_PEER_NAME_VERIFICATION;
    settings.SecurityFlags = WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE;
    CHECK(wsasec_set_socket_security(5, &settings, sizeof settings, NULL, NULL, &status) == 0);
    CHECK(wsasec_socket_notes(5, the_double.facts.identity) == WSASEC_NOTE_NAMES_OPTIONAL);
    CHECK(wsasec_socket_profile(5, the_double.facts.identity) == 0);
}

static void test_impersonation(void)
{
    wsasec_status status;

    fresh(WSASEC_TYPE_DGRAM);
    CHECK(wsasec_impersonate_socket_peer(5, NULL, 0, &status) == -WSASEC_WSAEFAULT);
    fresh(WSASEC_TYPE_STREAM);
    CHECK(wsasec_impersonate_socket_peer(5, NULL, 0, &status) == 0);
    CHECK(wsasec_revert_impersonation(&status) == 0);
    CALLS("Iir");
}

static void test_tokens(void)
{
    fresh(WSASEC_TYPE_STREAM);
    CHECK(wsasec_close_token(0) == 0);
    CALLS("");
    CHECK(wsasec_close_token(7) == 0);
    CHECK(wsasec_close_token(8) == -6);
    CALLS("tt");
}

static void test_wipe(void)
{
    unsigned char memory[5] = {1, 2, 3, 4, 5};

    wsasec_wipe(memory + 1, 3);
    CHECK(memory[0] == 1 && !memory[1] && !memory[2] && !memory[3] && memory[4] == 5);
    wsasec_wipe(memory, 0);
    CHECK(memory[0] == 1);
}

static void test_words(void)
{
    for (unsigned reason = 0; reason <= WSASEC_REASON_COUNT; reason++) {
        wsasec_status status;

        CHECK(wsasec_reason_text(reason)[0]);
        CHECK(wsasec_reason_hint(reason) != NULL);
        if (reason && reason < WSASEC_REASON_COUNT) {
            CHECK(wsasec_reason_hint(reason)[0]);
            CHECK(wsasec_reason_text(reason)[strlen(wsasec_reason_text(reason)) - 1] != '.');
        }
        (void)status;
    }
    for (unsigned step = 0; step <= WSASEC_STEP_COUNT; step++)
        CHECK(wsasec_step_text(step)[0]);
}

static void test_profiles(void)
{
    wsasec_profile many[3];
    const wsasec_profile *builtin = wsasec_profile_builtin();
    wsasec_status status;

    many[0] = many[1] = *builtin;
    many[1].name[0] = 'x';
    many[1].guid.data1++;
    many[1].reqid++;
    many[1].mark = 0x11000000;
    many[1].encrypting = 0;
    CHECK(wsasec_profiles_set(many, 2, 1) == 0);
    CHECK(wsasec_profile_at(0) == builtin);
    CHECK(wsasec_profile_at(1) && wsasec_profile_at(1)->reqid == many[1].reqid);
    CHECK(wsasec_profile_at(2) == NULL);
    CHECK(wsasec_profiles_set(many, 2, 1) == 0); /* the same profiles take no new numbers */
    CHECK(wsasec_profile_at(2) == NULL);
    fresh(WSASEC_TYPE_STREAM);
    CHECK(set(NULL, 0, NULL) == 0);
    CHECK(wsasec_profile_of(5) == wsasec_profile_at(1));
    fresh(WSASEC_TYPE_STREAM);
    {
        const wsasec_socket_security_settings guarantee = {0, WSASEC_SOCKET_SETTINGS_GUARANTEE_ENCRYPTION};

        CHECK(set(&guarantee, sizeof guarantee, &status) == -WSASEC_WSAEINVAL);
        CHECK(status.reason == WSASEC_REASON_NOT_ENCRYPTING && status.profile == 1);
    }
    many[1].protocol = 51;
    CHECK(wsasec_profiles_set(many, 2, 1) == 0);
    CHECK(wsasec_profile_at(2) && wsasec_profile_at(2)->protocol == 51);
    many[1].encrypting = 1; /* which AH does not */
    CHECK(wsasec_profiles_set(many, 2, 1) == -WSASEC_WSAEINVAL);
    many[1].encrypting = 0;
    many[1].protocol = 6;
    CHECK(wsasec_profiles_set(many, 2, 1) == -WSASEC_WSAEINVAL);
    many[1].protocol = 0;
    CHECK(wsasec_profiles_set(many, 2, 1) == 0 && wsasec_profile_at(1)->protocol == 50);
    CHECK(wsasec_profiles_set(many, 0, 0) == -WSASEC_WSAEINVAL);
    CHECK(wsasec_profiles_set(NULL, 1, 0) == -WSASEC_WSAEINVAL);
    CHECK(wsasec_profiles_set(many, 2, 2) == -WSASEC_WSAEINVAL);
    memset(many[0].name, 'a', sizeof many[0].name);
    CHECK(wsasec_profiles_set(many, 2, 0) == -WSASEC_WSAEINVAL);
    CHECK(wsasec_profiles_set(builtin, 1, 0) == 0);
}

static void test_carriers(void)
{
    const wsasec_socket_security_settings insecure = {0, WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE};
    wsasec_profile profile = *wsasec_profile_builtin();
    uint16_t number = 0;
    wsasec_status status;

    CHECK(profile.carrier == WSASEC_CARRIER_POLICY);
    for (uint32_t carrier = 0; carrier <= WSASEC_CARRIER_AUTO; carrier++) {
        profile.carrier = carrier;
        CHECK(wsasec_profiles_set(&profile, 1, 0) == 0);
        fresh(WSASEC_TYPE_STREAM);
        CHECK(set(NULL, 0, NULL) == 0);
        CHECK(wsasec_profile_of(5) && wsasec_profile_of(5)->carrier == carrier);
    }
    profile.carrier = WSASEC_CARRIER_AUTO + 1;
    CHECK(wsasec_profiles_set(&profile, 1, 0) == -WSASEC_WSAEINVAL);
    profile.encrypting = 0;
    profile.carrier = WSASEC_CARRIER_DEVICE;
    CHECK(wsasec_profiles_set(&profile, 1, 0) == -WSASEC_WSAEINVAL);
    profile.protocol = 51;
    profile.carrier = WSASEC_CARRIER_AUTO;
    CHECK(wsasec_profiles_set(&profile, 1, 0) == -WSASEC_WSAEINVAL);

    fresh(WSASEC_TYPE_STREAM);
    CHECK(wsasec_carrier_auto(&status) == WSASEC_CARRIER_POLICY);
    CHECK(set(&insecure, sizeof insecure, &status) == 0);
    CHECK(wsasec_socket_outcome(5, the_double.facts.identity, &number) == WSASEC_OUTCOME_OPTIONAL);
    /* What a device carries goes nowhere else, whatever is allowed. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.device = 7;
    CHECK(wsasec_carrier_auto(NULL) == WSASEC_CARRIER_DEVICE);
    CHECK(set(&insecure, sizeof insecure, &status) == 0);
    CHECK(wsasec_socket_outcome(5, the_double.facts.identity, &number) == WSASEC_OUTCOME_REQUIRED);
    CHECK(the_double.astray == 0);
    CALLS("IRA");
    /* A broker is asked after the device's step was refused, too. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.device = 7;
    the_double.brokers = 1;
    the_double.apply_fails = WSASEC_REASON_PRIVILEGE;
    the_double.apply_step = WSASEC_STEP_DEVICE;
    CHECK(set(NULL, 0, &status) == 0);
    CALLS("IRAKk");
    CHECK(wsasec_profiles_set(wsasec_profile_builtin(), 1, 0) == 0);
}

static wsasec_socket accepted(wsasec_status *status)
{
    wsasec_socket socket = -1;
    int32_t code;

    memset(the_double.calls, 0, sizeof the_double.calls);
    the_double.count = 0;
    code = wsasec_accept(5, WSASEC_ACCEPT_NONBLOCKING, &socket, NULL, NULL, status);
    CHECK((code == 0) == (socket >= 0));
    return socket;
}

static void test_accept(void)
{
    const wsasec_socket_security_settings fallback = {0, WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE};
    wsasec_socket_security_settings_ipsec skip = {.SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC};
    const wsasec_profile *builtin = wsasec_profile_builtin();
    wsasec_status status;
    wsasec_socket socket;

    /* A plain listener has plain connections, and no time is lost over them. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.next_socket = 300;
    CHECK(accepted(&status) == 300);
    CALLS("Il");

    CHECK(set(NULL, 0, NULL) == 0);
    /* What stays within the library is protected, and not asked who it is. */
    {
        struct wsasec_acceptor acceptor;
        wsasec_socket own = -1;

        again();
        CHECK(wsasec_acceptor_prepare(&acceptor, 5, &status) == 0 && acceptor.secured);
        CHECK(wsasec_acceptor_next(&acceptor, WSASEC_ACCEPT_OWN, &own, NULL, NULL, &status) == 0);
        CALLS("Ila");
    }

    /* What somebody else accepted: once, and blocked if it cannot be. */
    {
        wsasec_acceptor *acceptor;

        again();
        acceptor = wsasec_acceptor_new(5, &status);
        CHECK(acceptor != NULL);
        the_double.facts.identity += 500;
        CHECK(wsasec_acceptor_protect(acceptor, 77, &status) == 0);
        CHECK(wsasec_acceptor_protect(acceptor, 77, NULL) == 0);
        CALLS("IIaI");
        CHECK(wsasec_profile_of(77) == builtin);
        again();
        the_double.facts.identity++;
        the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
        CHECK(wsasec_acceptor_protect(acceptor, 78, &status) == -WSASEC_WSAENOBUFS);
        CHECK(status.flags == WSASEC_STATUS_BLOCKED);
        CALLS("IaS");
        again();
        the_double.inspect_fails = WSASEC_REASON_NOT_A_SOCKET;
        CHECK(wsasec_acceptor_protect(acceptor, 79, &status) == -WSASEC_WSAENOTSOCK);
        wsasec_acceptor_free(acceptor);
        CHECK(!wsasec_acceptor_new(5, NULL));
        again();
        the_double.facts.identity -= 501;
    }

    again();
    socket = accepted(&status);
    CALLS("ILa");
    the_double.facts.identity += 1000 + (uint64_t)socket;
    CHECK(wsasec_profile_of(socket) == builtin);
    again();
    CHECK(wsasec_set_socket_security(socket, NULL, 0, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.reason == WSASEC_REASON_ALREADY_SECURED);

    /* What it may do in clear it may do on, but not more. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.next_socket = 310;
    CHECK(set(&fallback, sizeof fallback, NULL) == 0);
    CHECK(accepted(&status) == 310);
    CALLS("ILa");
    fresh(WSASEC_TYPE_STREAM);
    the_double.next_socket = 320;
    skip.IpsecFlags = WSASEC_SOCKET_SETTINGS_IPSEC_SKIP_FILTER_INSTANTIATION;
    CHECK(set(&skip, sizeof skip, NULL) == 0);
    CHECK(accepted(&status) == 320);
    CALLS("IL");

    /* Another process secured the listener: only the mark tells. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.next_socket = 330;
    the_double.facts.mark = builtin->mark | 0x42;
    CHECK(accepted(&status) == 330);
    CALLS("ILa");

    /* No protection, no connection. */
    the_double.apply_fails = WSASEC_REASON_PRIVILEGE;
    CHECK(accepted(&status) == -1);
    CHECK(status.code == -WSASEC_WSAEACCES && status.step == WSASEC_STEP_POLICY_OUT);
    CALLS("ILaQ");

    fresh(WSASEC_TYPE_STREAM);
    the_double.accept_fails = WSASEC_REASON_WOULD_BLOCK;
    CHECK(accepted(&status) == -1);
    CHECK(status.code == -WSASEC_WSAEWOULDBLOCK && status.step == WSASEC_STEP_ACCEPT);
    CALLS("Il");

    /* Securing the listener failed. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
    CHECK(set(NULL, 0, NULL) == -WSASEC_WSAENOBUFS);
    CHECK(accepted(&status) == -1);
    CHECK(status.reason == WSASEC_REASON_FAILED_BEFORE);
    CALLS("I");

    CHECK(wsasec_accept(5, 0, NULL, NULL, NULL, NULL) == -WSASEC_WSAEFAULT);
    CHECK(wsasec_accept(5, 2, &socket, NULL, NULL, NULL) == -WSASEC_WSAEINVAL);
}

/* As on Windows: its own call finds out what is wrong with a socket. */
static void test_a_system_that_checks_itself(void)
{
    wsasec_socket_security_settings_ipsec in;
    wsasec_status status;

    memset(&in, 0, sizeof in);
    in.SecurityProtocol = WSASEC_SOCKET_SECURITY_PROTOCOL_IPSEC;
    in.SecurityFlags = WSASEC_SOCKET_SETTINGS_GUARANTEE_ENCRYPTION;
    in.AuthipQMPolicyKey.data1 = in.AuthipMMPolicyKey.data2 = 77; /* what it names is the system's affair */

    fresh(WSASEC_TYPE_STREAM);
    the_double.checks_itself = 1;
    CHECK(set(&in, sizeof in, &status) == 0);
    CALLS("A");
    CHECK(wsasec_profile_of(5));
    CHECK(wsasec_set_socket_security(-1, &in, sizeof in, NULL, NULL, &status) == -WSASEC_WSAENOTSOCK);
    CHECK(wsasec_set_socket_security((wsasec_socket)1 << 32, &in, sizeof in, NULL, NULL, NULL) ==
          -WSASEC_WSAENOTSOCK);
    CHECK(status.step == WSASEC_STEP_DESCRIPTOR && status.flags == 0);

    /* Another socket at its place, which may be in clear; then one that cannot be secured. */
    again();
    in.SecurityFlags = WSASEC_SOCKET_SETTINGS_ALLOW_INSECURE;
    CHECK(set(&in, sizeof in, &status) == 0);
    CHECK(wsasec_profile_of(5));
    again();
    the_double.apply_fails = WSASEC_REASON_NO_MEMORY;
    the_double.apply_step = WSASEC_STEP_SECURE;
    CHECK(set(&in, sizeof in, &status) == -WSASEC_WSAENOBUFS && status.flags == WSASEC_STATUS_BLOCKED);
    CALLS("AX");
    CHECK(!wsasec_profile_of(5));
    in.SecurityFlags = WSASEC_SOCKET_SETTINGS_GUARANTEE_ENCRYPTION;

    /* What it will not be asked is asked before: the errors are in the same order. */
    fresh(WSASEC_TYPE_OTHER);
    the_double.checks_itself = 1;
    CHECK(set(&in, sizeof in - 1, &status) == -WSASEC_WSAEMSGSIZE);
    in.IpsecFlags = 0x10;
    CHECK(set(&in, sizeof in, &status) == -WSASEC_WSAEINVAL && status.step == WSASEC_STEP_KIND);
    in.IpsecFlags = 0;
    CALLS("II");

    /* A wrong call leaves the socket as it was. */
    fresh(WSASEC_TYPE_STREAM);
    the_double.checks_itself = 1;
    the_double.apply_fails = WSASEC_REASON_CONNECTED;
    the_double.apply_step = WSASEC_STEP_STATE;
    CHECK(set(&in, sizeof in, &status) == -WSASEC_WSAEISCONN && status.flags == 0);
    CALLS("A");
    CHECK(!wsasec_profile_of(5));
    again();
    CHECK(set(&in, sizeof in, &status) == 0);
}

/* A call that is completed later claims its socket until then. */
static void test_overlapped_done(void)
{
    const wsasec_socket_security_settings in = {WSASEC_SOCKET_SECURITY_PROTOCOL_DEFAULT, 0};
    char overlapped[32];
    wsasec_status status;

    fresh(WSASEC_TYPE_STREAM);
    the_double.checks_itself = 1;
    the_double.apply_fails = WSASEC_REASON_PENDING;
    the_double.apply_step = WSASEC_STEP_SECURE;
    CHECK(wsasec_set_socket_security(5, &in, sizeof in, overlapped, NULL, &status) == -WSASEC_WSA_IO_PENDING);
    CHECK(status.flags == 0);
    CALLS("RA");
    CHECK(!wsasec_profile_of(5));
    CHECK(wsasec_overlapped_done(5, &in, sizeof in, 0, &status) == 0);
    CHECK(wsasec_profile_of(5));

    fresh(WSASEC_TYPE_STREAM);
    the_double.checks_itself = 1;
    the_double.apply_fails = WSASEC_REASON_PENDING;
    CHECK(wsasec_set_socket_security(5, NULL, 0, overlapped, NULL, &status) == -WSASEC_WSA_IO_PENDING);
    again();
    CHECK(wsasec_overlapped_done(5, NULL, 0, 1450, &status) == -WSASEC_WSAENOBUFS);
    CHECK(status.flags == WSASEC_STATUS_BLOCKED && status.os_error == 1450);
    CALLS("X");
    CHECK(!wsasec_profile_of(5));
    again();
    CHECK(wsasec_set_socket_security(-1, NULL, 0, overlapped, NULL, &status) == -WSASEC_WSAENOTSOCK);
    CALLS("");
}

int main(void)
{
    test_a_system_that_checks_itself();
    test_overlapped_done();
    test_order();
    test_a_failed_step_blocks();
    test_broker();
    test_once();
    test_skip_asks_for_nothing();
    test_many();
    test_at_once();
    test_create();
    test_accept();
    test_histogram();
    test_query();
    test_peer_names();
    test_what_only_this_library_asks();
    test_details();
    test_notes();
    test_impersonation();
    test_tokens();
    test_wipe();
    test_words();
    test_profiles();
    test_carriers();
    return failures != 0;
}
