/* A program without Python: sockets by the dozen, the errors, and a profile of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <wsasec.h>
#include <wsasec_batch.h>
#include <wsasec_histogram.h>

#define CHECK(truth)                                                                                                   \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "line %d: %s\n", __LINE__, #truth);                                                        \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

enum { COUNT = 500 };

static unsigned mark_of(int fd)
{
    unsigned mark = 0;
    socklen_t size = sizeof mark;

    CHECK(getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &size) == 0);
    return mark;
}

int main(void)
{
    int32_t fds[COUNT], codes[COUNT];
    wsasec_batch_spec spec = {.address_family = AF_INET, .type = SOCK_STREAM};
    wsasec_profile profile = *wsasec_profile_builtin();
    wsasec_histogram histogram;
    wsasec_status status;
    wsasec_job *job;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);

    CHECK(wsasec_set_socket_security(fd, NULL, 0, NULL, NULL, &status) == 0);
    CHECK(wsasec_set_socket_security(fd, NULL, 0, NULL, NULL, &status) == -WSASEC_WSAEINVAL);
    CHECK(status.reason == WSASEC_REASON_ALREADY_SECURED && *wsasec_reason_text(status.reason));
    CHECK(wsasec_set_socket_security(-1, NULL, 0, NULL, NULL, NULL) == -WSASEC_WSAENOTSOCK);
    CHECK(wsasec_query_socket_security(fd, NULL, 0, NULL, NULL, NULL, NULL, NULL) < 0);
    CHECK(strcmp(wsasec_profile_of(fd)->name, "default") == 0);
    close(fd);

    strcpy(profile.name, "own");
    profile.guid.data1 ^= 1;
    profile.reqid = 4242;
    profile.mark = 0x31000000;
    CHECK(wsasec_profiles_set(&profile, 1, 0) == 0);

    job = wsasec_job_create(fds, COUNT, &spec, codes, 0, WSASEC_METHOD_AUTO, 0, &status);
    CHECK(job);
    while (!wsasec_job_run(job, 1000000))
        ;
    CHECK(wsasec_job_done(job) == COUNT);
    CHECK(wsasec_job_end(job, &status) == 0 && status.code == 0);
    for (int i = 0; i < COUNT; i++)
        CHECK(fds[i] >= 0 && codes[i] == 0 && (mark_of(fds[i]) & profile.mask) == profile.mark);
    CHECK(strcmp(wsasec_profile_of(fds[COUNT - 1])->name, "own") == 0);
    CHECK(wsasec_secure_many(fds, COUNT, NULL, 0, codes, &status) == COUNT);
    CHECK(codes[COUNT - 1] == -WSASEC_WSAEINVAL);
    wsasec_close_many(fds, COUNT);
    CHECK(fds[0] == -1);

    wsasec_histogram_clear(&histogram);
    wsasec_histogram_record(&histogram, 12);
    CHECK(wsasec_histogram_quantile(&histogram, 0.5) == 12);
    wsasec_release_namespaces();
    puts("all as it should be");
    return 0;
}
