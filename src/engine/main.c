/* SPDX-License-Identifier: Apache-2.0 */
/* wsasec-engine: the ESP data plane in user space. */
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "memory.h"
#include "options.h"
#include "worker.h"

enum { LOCKED = 512 * 1024 * 1024 /* bytes: keys of all associations there can be, in any form */ };

/* What the keys are in is for nobody else to see: no core dump, no debugger of the same user, no new privilege. */
static int shut_off(void)
{
    const struct rlimit none = {0, 0};

    if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -errno;
    return 0;
}

/* Keys are locked in memory: as much of it as may be. */
static void raise_locked(void)
{
    struct rlimit limit = {LOCKED, LOCKED};

    if (setrlimit(RLIMIT_MEMLOCK, &limit) && !getrlimit(RLIMIT_MEMLOCK, &limit)) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_MEMLOCK, &limit); /* what is not locked is said in the log */
    }
}

/* Who starts it should have taken them away already. */
static int drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}, {0}};

    return syscall(SYS_capset, &header, none) ? -errno : 0;
}

/* Whether a device takes UDP super packets: since Linux 6.2. */
static int takes_uso(void)
{
    struct utsname name;
    unsigned major = 0, minor = 0;

    return !uname(&name) && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 2));
}

static int prepare(struct wse_engine *engine, const struct wse_options *options)
{
    uint64_t seed, bulk;

    wse_epochs_start(&engine->epochs);
    engine->threads = options->threads;
    engine->spin = options->spin;
    engine->raised = options->raised;
    engine->uso = takes_uso();
    wse_crypto_lock_with(wse_secret_lock);
    engine->crypto = wse_crypto_choose(options->crypto);
    if (!engine->crypto)
        return -ENOTSUP;
    if (getrandom(&engine->instance, sizeof engine->instance, 0) != sizeof engine->instance ||
        getrandom(&seed, sizeof seed, 0) != sizeof seed || getrandom(&bulk, sizeof bulk, 0) != sizeof bulk)
        return -errno;
    wse_bulk_start(&engine->bulk, bulk);
    engine->events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (engine->events < 0)
        return -errno;
    return wse_table_start(&engine->table, seed);
}

int main(int count, char **arguments)
{
    struct wse_options options;
    struct wse_engine *engine;
    struct wse_control *control;
    int error = wse_options_read(&options, count, arguments);

    if (error)
        return error < 0 ? 2 : 0;
    signal(SIGPIPE, SIG_IGN);
    raise_locked();
    error = shut_off();
    if (!error)
        error = drop_capabilities();
    engine = wse_pages(sizeof *engine);
    control = wse_pages(sizeof *control);
    if (!error && (!engine || !control))
        error = -ENOMEM;
    if (!error)
        error = prepare(engine, &options);
    if (!error)
        error = wse_workers_start(engine);
    if (error) {
        wse_log("it cannot start: %s", error == -ENOTSUP ? "no cryptography that gives the known answers"
                                                         : strerror(-error));
        return 1;
    }
    error = wse_control_run(control, engine, options.control);
    if (error)
        wse_log("it ends: %s", strerror(-error));
    wse_workers_stop(engine);
    wse_table_end(&engine->table);
    return error ? 1 : 0;
}
