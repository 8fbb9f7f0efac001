/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded by tests: of the pieces of memory, or of the threads, that one library asks for, the n-th is not to be
 * had. What Python asks for itself is counted, and always there.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { NOTHING, MEMORY, THREADS };

/* Of glibc: dlsym() would ask for memory itself. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static uintptr_t code_begin;
static uintptr_t code_end;
static atomic_int kind;
static atomic_long left; /* that are to be had before it */
static atomic_long failed;
static atomic_long counted;

void memory_of(uintptr_t begin, uintptr_t end)
{
    code_begin = begin;
    code_end = end;
}

void memory_arm(int of_kind, long after)
{
    failed = 0;
    left = after;
    kind = of_kind;
}

long memory_failed(void)
{
    kind = NOTHING;
    return failed;
}

/* Of the whole process, since it began. */
long memory_counted(void)
{
    return counted;
}

static int fails(int of_kind, const void *caller)
{
    const uintptr_t address = (uintptr_t)caller;

    if (kind != of_kind || address < code_begin || address >= code_end || atomic_fetch_sub(&left, 1) != 0)
        return 0;
    failed++;
    return 1;
}

static int lacks(const void *caller)
{
    counted++;
    if (!fails(MEMORY, caller))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return lacks(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return lacks(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return lacks(__builtin_return_address(0)) ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return lacks(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");

    return fails(THREADS, __builtin_return_address(0)) ? EAGAIN : real(thread, attributes, work, argument);
}
