/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_AGAIN_MS = 20, HELLO_MS = 3000 };

uint64_t control_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void control_init(struct control_socket *control)
{
    memset(control, 0, sizeof(*control));
    control->fd = -1;
}

void control_close(struct control_socket *control)
{
    if (control->fd >= 0) {
        close(control->fd);
    }
    control->fd = -1;
}

void control_look(struct control_socket *control)
{
    char byte;

    if (control->fd >= 0 && recv(control->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) {
        control_close(control);
    }
}

/* Keeps what went wrong, and closes a connection of which nobody knows any more what comes next. */
static int failed(struct control_socket *control, const char *what, int error)
{
    snprintf(control->text, sizeof(control->text), "%s: %s", what, strerror(error));
    control_close(control);
    return -error;
}

/* 1: the socket is ready; 0: cancelled; -ETIMEDOUT or another negative errno. A deadline of 0 is none. */
static int wait_for(int fd, short events, uint64_t deadline, int cancel)
{
    for (;;) {
        struct pollfd waited[2] = {{.fd = fd, .events = events}, {.fd = cancel, .events = POLLIN}};
        int timeout = -1, ready;

        if (deadline != 0) {
            uint64_t now = control_now();

            timeout = now < deadline ? (int)(deadline - now) : 0;
        }
        ready = poll(waited, 2, timeout);
        if (ready < 0 && errno != EINTR) {
            return -errno;
        }
        if (ready > 0) {
            return waited[1].revents != 0 ? 0 : 1;
        }
        if (ready == 0) {
            return -ETIMEDOUT;
        }
    }
}

static int connect_once(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, error;

    if (strlen(path) >= sizeof(address.sun_path)) {
        return -ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int control_open(struct control_socket *control, const char *path, uint64_t deadline, int cancel)
{
    if (control->fd >= 0) {
        return 0;
    }
    for (;;) {
        uint64_t now, again;
        int fd = connect_once(path), code;

        if (fd >= 0) {
            control->fd = fd;
            /* Who listens gets its time, also where nobody would have been waited for; and no more, as it is not cancelled. */
            code = control_ask(control, WSE_HELLO, NULL, 0, NULL, 0, &control->hello, sizeof(control->hello),
                               control_now() + HELLO_MS);
            if (code == 0) {
                return 0;
            }
            control_close(control);
        } else {
            /* None of connect()'s is to be taken for what an engine says: its ENOENT is of an SA. */
            failed(control, "connecting to the engine", -fd);
            code = -ENOTCONN;
        }
        now = control_now();
        if (now >= deadline) {
            return code;
        }
        /* There is no event for "somebody listens there now" that could be waited for. */
        again = now + LOOK_AGAIN_MS < deadline ? now + LOOK_AGAIN_MS : deadline;
        if (wait_for(-1, 0, again, cancel) == 0) {
            return -ECANCELED;
        }
    }
}

static int send_message(struct control_socket *control, uint16_t type, const void *body, size_t size, const int *fds,
                        size_t count, uint64_t deadline)
{
    struct wse_header header = {.version = WSE_VERSION, .type = type};
    struct iovec parts[2] = {{&header, sizeof(header)}, {(void *)body, size}};
    union {
        char bytes[CMSG_SPACE(sizeof(int) * WSE_DESCRIPTORS_MAX)];
        struct cmsghdr align;
    } rights;
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = size > 0 ? 2 : 1};

    if (count > WSE_DESCRIPTORS_MAX) {
        return -E2BIG;
    }
    control->sent = false;
    control->number = control->number == UINT32_MAX ? 1 : control->number + 1;
    header.number = control->number;
    if (count > 0) {
        struct cmsghdr *carried = &rights.align;

        memset(&rights, 0, sizeof(rights));
        message.msg_control = &rights;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        carried->cmsg_level = SOL_SOCKET;
        carried->cmsg_type = SCM_RIGHTS;
        carried->cmsg_len = CMSG_LEN(sizeof(int) * count);
        memcpy(CMSG_DATA(carried), fds, sizeof(int) * count);
    }
    for (;;) {
        int ready;

        if (sendmsg(control->fd, &message, MSG_NOSIGNAL) >= 0) {
            control->sent = true;
            return 0;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return failed(control, "asking the engine", errno);
        }
        ready = wait_for(control->fd, POLLOUT, deadline, -1);
        if (ready < 0) {
            return failed(control, "asking the engine", -ready);
        }
    }
}

/* Takes one message, whose body is then in control->message behind its header. The size of the body, or a negative errno. */
static ssize_t take_message(struct control_socket *control, struct wse_header *header, uint64_t deadline, int cancel,
                            bool *cancelled)
{
    for (;;) {
        ssize_t got = recv(control->fd, control->message, sizeof(control->message), MSG_TRUNC);
        int ready;

        if (got == 0) {
            return failed(control, "the engine ended", ECONNRESET);
        }
        if (got > 0) {
            if ((size_t)got < sizeof(*header) || (size_t)got > sizeof(control->message)) {
                return failed(control, "the engine's answer", EPROTO);
            }
            memcpy(header, control->message, sizeof(*header));
            if (header->version != WSE_VERSION) {
                return failed(control, "the engine speaks another version", EPROTO);
            }
            return got - (ssize_t)sizeof(*header);
        }
        if (errno != EAGAIN && errno != EINTR) {
            return failed(control, "the engine's answer", errno);
        }
        ready = wait_for(control->fd, POLLIN, deadline, cancel);
        if (ready == 0) {
            *cancelled = true;
            return 0;
        }
        if (ready < 0) {
            return failed(control, "the engine's answer", -ready);
        }
    }
}

/* The engine says itself what is wrong; the connection stays. */
static int refused(struct control_socket *control, ssize_t size)
{
    struct wse_error error;

    if ((size_t)size != sizeof(error)) {
        return failed(control, "the engine's refusal", EPROTO);
    }
    memcpy(&error, control->message + sizeof(struct wse_header), sizeof(error));
    error.text[sizeof(error.text) - 1] = '\0';
    snprintf(control->text, sizeof(control->text), "%s", error.text);
    return error.error > 0 ? -error.error : -EPROTO;
}

/* Takes the next message of the answer to the last request. The size of its body, or a negative errno. */
static ssize_t take_answer(struct control_socket *control, uint32_t *flags, uint64_t deadline)
{
    for (;;) {
        struct wse_header header;
        bool cancelled = false;
        ssize_t size = take_message(control, &header, deadline, -1, &cancelled);

        if (size < 0) {
            return size;
        }
        if (header.number == 0) {
            continue; /* an event, for which this connection has not asked */
        }
        if (header.number != control->number) {
            return failed(control, "the engine answers something else", EPROTO);
        }
        if (header.type == WSE_ERROR) {
            return refused(control, size);
        }
        if (header.type != WSE_ANSWER) {
            return failed(control, "the engine's answer", EPROTO);
        }
        *flags = header.flags;
        return size;
    }
}

int control_ask(struct control_socket *control, uint16_t type, const void *body, size_t size, const int *fds, size_t count,
                void *answer, size_t answer_size, uint64_t deadline)
{
    uint32_t flags;
    ssize_t got;
    int code = send_message(control, type, body, size, fds, count, deadline);

    if (code < 0) {
        return code;
    }
    got = take_answer(control, &flags, deadline);
    if (got < 0) {
        return (int)got;
    }
    if ((flags & WSE_MORE) != 0 || (size_t)got < answer_size) {
        return failed(control, "the engine's answer", EPROTO);
    }
    if (answer_size > 0) {
        memcpy(answer, control->message + sizeof(struct wse_header), answer_size);
    }
    return 0;
}

int control_list(struct control_socket *control, uint16_t type, size_t entry_size, control_take take, void *context,
                 uint64_t deadline)
{
    uint32_t flags = WSE_MORE;
    bool wanted = true;
    int code = send_message(control, type, NULL, 0, NULL, 0, deadline);

    while (code == 0 && (flags & WSE_MORE) != 0) {
        ssize_t got = take_answer(control, &flags, deadline);

        if (got < 0) {
            return (int)got;
        }
        if ((size_t)got % entry_size != 0) {
            return failed(control, "the engine's list", EPROTO);
        }
        for (size_t at = 0; at < (size_t)got; at += entry_size) {
            wanted = wanted && take(context, control->message + sizeof(struct wse_header) + at);
        }
    }
    return code;
}

int control_wait(struct control_socket *control, int cancel, uint64_t deadline, uint16_t *type, const void **body,
                 size_t *size)
{
    struct wse_header header;
    bool cancelled = false;
    ssize_t got;

    if (deadline != 0) {
        int ready = wait_for(control->fd, POLLIN, deadline, cancel);

        if (ready == 0 || ready == -ETIMEDOUT) {
            return 0;
        }
    }
    got = take_message(control, &header, 0, cancel, &cancelled);
    if (cancelled) {
        return 0;
    }
    if (got < 0) {
        return (int)got;
    }
    *type = header.type;
    *body = control->message + sizeof(header);
    *size = (size_t)got;
    return 1;
}
