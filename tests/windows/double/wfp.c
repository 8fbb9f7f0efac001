/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions and provider contexts of the filtering platform. Contexts are kept as they were given, in memory of their
 * own, by this process: those of a dynamic session until it is closed, others until the double is reset.
 */
#include "wfp.h"

#include <stdlib.h>
#include <string.h>

#define DYNAMIC 1     /* FWPM_SESSION_FLAG_DYNAMIC */
#define PERSISTENT 1  /* FWPM_PROVIDER_CONTEXT_FLAG_PERSISTENT */
#define HEADER 16     /* before what is handed out */
#define MOST 0x100000 /* of one context */

static const char mark[HEADER] = "wsasec-double-1";

struct engine {
    struct engine *next;
    int is_dynamic;
};

struct context {
    struct context *next;
    const struct engine *owner; /* NULL: it outlives its session */
    FWPM_PROVIDER_CONTEXT1 *value;
    size_t size;
};

struct walk { /* an enumeration */
    struct walk *next;
    FWPM_PROVIDER_CONTEXT_TYPE type;
    int of_all;
    UINT64 last; /* the number of the last that was told */
};

static CRITICAL_SECTION lock;
static struct engine *engines;
static struct context *contexts; /* by their numbers */
static struct walk *walks;
static UINT64 last_number;
static volatile LONG unfreed;

void wfp_enter(void)
{
    EnterCriticalSection(&lock);
}

void wfp_leave(void)
{
    LeaveCriticalSection(&lock);
}

DWORD wfp_end(struct call *call, DWORD error)
{
    call_end(call, error);
    return error;
}

int arena_make(struct arena *arena, size_t room)
{
    uint8_t *memory = calloc(1, HEADER + room);

    memset(arena, 0, sizeof *arena);
    if (!memory)
        return 0;
    memcpy(memory, mark, HEADER);
    arena->start = memory + HEADER;
    arena->room = room;
    InterlockedIncrement(&unfreed);
    return 1;
}

void arena_drop(struct arena *arena)
{
    memset(arena->start - HEADER, 0, HEADER);
    free(arena->start - HEADER);
    InterlockedDecrement(&unfreed);
}

void *arena_take(struct arena *arena, size_t size)
{
    const size_t whole = (size + 15) & ~(size_t)15;
    void *place = arena->start + arena->used;

    if (whole < size || whole > arena->room - arena->used) {
        arena->is_full = 1;
        return NULL;
    }
    arena->used += whole;
    return place;
}

void *arena_copy(struct arena *arena, const void *source, size_t size)
{
    void *place = source && size ? arena_take(arena, size) : NULL;

    if (place)
        memcpy(place, source, size);
    return place;
}

wchar_t *arena_text(struct arena *arena, const wchar_t *source)
{
    return source ? arena_copy(arena, source, (wcslen(source) + 1) * sizeof *source) : NULL;
}

static void copy_blob(struct arena *arena, FWP_BYTE_BLOB *blob)
{
    blob->data = arena_copy(arena, blob->data, blob->size);
}

static IKEEXT_CERT_ROOT_CONFIG0 *copy_roots(struct arena *arena, const IKEEXT_CERT_ROOT_CONFIG0 *source, UINT32 count)
{
    IKEEXT_CERT_ROOT_CONFIG0 *roots = arena_copy(arena, source, sizeof *source * count);

    for (UINT32 i = 0; roots && i < count; i++)
        copy_blob(arena, &roots[i].certData);
    return roots;
}

static void copy_certificates(struct arena *arena, IKEEXT_CERTIFICATE_AUTHENTICATION1 *method)
{
    if (method->inboundConfigType == IKEEXT_CERT_CONFIG_EXPLICIT_TRUST_LIST)
        method->inboundRootArray = copy_roots(arena, method->inboundRootArray, method->inboundRootArraySize);
    else if (method->inboundConfigType != IKEEXT_CERT_CONFIG_UNSPECIFIED)
        method->inboundEnterpriseStoreConfig = copy_roots(arena, method->inboundEnterpriseStoreConfig, 1);
    if (method->outboundConfigType == IKEEXT_CERT_CONFIG_EXPLICIT_TRUST_LIST)
        method->outboundRootArray = copy_roots(arena, method->outboundRootArray, method->outboundRootArraySize);
    else if (method->outboundConfigType != IKEEXT_CERT_CONFIG_UNSPECIFIED)
        method->outboundEnterpriseStoreConfig = copy_roots(arena, method->outboundEnterpriseStoreConfig, 1);
    copy_blob(arena, &method->localCertLocationUrl);
}

static IKEEXT_AUTHENTICATION_METHOD1 *copy_methods(struct arena *arena, const IKEEXT_AUTHENTICATION_METHOD1 *source,
                                                   UINT32 count)
{
    IKEEXT_AUTHENTICATION_METHOD1 *methods = arena_copy(arena, source, sizeof *source * count);

    for (UINT32 i = 0; methods && i < count; i++) {
        switch (methods[i].authenticationMethodType) {
        case IKEEXT_PRESHARED_KEY:
            copy_blob(arena, &methods[i].presharedKeyAuthentication.presharedKey);
            break;
        case IKEEXT_CERTIFICATE:
        case IKEEXT_CERTIFICATE_ECDSA_P256:
        case IKEEXT_CERTIFICATE_ECDSA_P384:
        case IKEEXT_SSL:
        case IKEEXT_SSL_ECDSA_P256:
        case IKEEXT_SSL_ECDSA_P384:
            copy_certificates(arena, &methods[i].certificateAuthentication);
            break;
        case IKEEXT_IPV6_CGA:
            methods[i].cgaAuthentication.keyContainerName =
                arena_text(arena, methods[i].cgaAuthentication.keyContainerName);
            methods[i].cgaAuthentication.cspName = arena_text(arena, methods[i].cgaAuthentication.cspName);
            break;
        default:
            break;
        }
    }
    return methods;
}

static IKEEXT_POLICY1 *copy_main(struct arena *arena, const IKEEXT_POLICY1 *source)
{
    IKEEXT_POLICY1 *policy = arena_copy(arena, source, sizeof *source);

    if (!policy)
        return NULL;
    policy->authenticationMethods =
        copy_methods(arena, policy->authenticationMethods, policy->numAuthenticationMethods);
    policy->ikeProposals =
        arena_copy(arena, policy->ikeProposals, sizeof *policy->ikeProposals * policy->numIkeProposals);
    return policy;
}

static void copy_transform(struct arena *arena, IPSEC_SA_TRANSFORM0 *transform)
{
    IPSEC_AUTH_TRANSFORM0 *auth = NULL;
    IPSEC_CIPHER_TRANSFORM0 *cipher = NULL;

    switch (transform->ipsecTransformType) {
    case IPSEC_TRANSFORM_AH:
    case IPSEC_TRANSFORM_ESP_AUTH:
    case IPSEC_TRANSFORM_ESP_AUTH_FW:
        auth = transform->ahTransform = arena_copy(arena, transform->ahTransform, sizeof *auth);
        break;
    case IPSEC_TRANSFORM_ESP_CIPHER:
        cipher = transform->espCipherTransform = arena_copy(arena, transform->espCipherTransform, sizeof *cipher);
        break;
    case IPSEC_TRANSFORM_ESP_AUTH_AND_CIPHER:
        transform->espAuthAndCipherTransform = arena_copy(arena, transform->espAuthAndCipherTransform,
                                                          sizeof *transform->espAuthAndCipherTransform);
        if (transform->espAuthAndCipherTransform) {
            auth = &transform->espAuthAndCipherTransform->authTransform;
            cipher = &transform->espAuthAndCipherTransform->cipherTransform;
        }
        break;
    default:
        break;
    }
    if (auth)
        auth->cryptoModuleId = arena_copy(arena, auth->cryptoModuleId, sizeof *auth->cryptoModuleId);
    if (cipher)
        cipher->cryptoModuleId = arena_copy(arena, cipher->cryptoModuleId, sizeof *cipher->cryptoModuleId);
}

static IPSEC_TRANSPORT_POLICY1 *copy_quick(struct arena *arena, const IPSEC_TRANSPORT_POLICY1 *source)
{
    IPSEC_TRANSPORT_POLICY1 *policy = arena_copy(arena, source, sizeof *source);

    if (!policy)
        return NULL;
    policy->ipsecProposals =
        arena_copy(arena, policy->ipsecProposals, sizeof *policy->ipsecProposals * policy->numIpsecProposals);
    for (UINT32 i = 0; policy->ipsecProposals && i < policy->numIpsecProposals; i++) {
        IPSEC_PROPOSAL0 *proposal = &policy->ipsecProposals[i];

        proposal->saTransforms =
            arena_copy(arena, proposal->saTransforms, sizeof *proposal->saTransforms * proposal->numSaTransforms);
        for (UINT32 j = 0; proposal->saTransforms && j < proposal->numSaTransforms; j++)
            copy_transform(arena, &proposal->saTransforms[j]);
    }
    policy->emPolicy = arena_copy(arena, policy->emPolicy, sizeof *policy->emPolicy);
    if (policy->emPolicy)
        policy->emPolicy->authenticationMethods = copy_methods(arena, policy->emPolicy->authenticationMethods,
                                                               policy->emPolicy->numAuthenticationMethods);
    return policy;
}

static int is_main(FWPM_PROVIDER_CONTEXT_TYPE type)
{
    return type == FWPM_IPSEC_IKE_MM_CONTEXT || type == FWPM_IPSEC_AUTHIP_MM_CONTEXT ||
           type == FWPM_IPSEC_IKEV2_MM_CONTEXT;
}

static int is_quick(FWPM_PROVIDER_CONTEXT_TYPE type)
{
    return type == FWPM_IPSEC_IKE_QM_TRANSPORT_CONTEXT || type == FWPM_IPSEC_AUTHIP_QM_TRANSPORT_CONTEXT;
}

static FWPM_PROVIDER_CONTEXT1 *copy_context(struct arena *arena, const FWPM_PROVIDER_CONTEXT1 *source)
{
    FWPM_PROVIDER_CONTEXT1 *context = arena_copy(arena, source, sizeof *source);

    if (!context)
        return NULL;
    context->displayData.name = arena_text(arena, context->displayData.name);
    context->displayData.description = arena_text(arena, context->displayData.description);
    context->providerKey = arena_copy(arena, context->providerKey, sizeof *context->providerKey);
    copy_blob(arena, &context->providerData);
    if (is_main(context->type))
        context->authIpMmPolicy = copy_main(arena, context->authIpMmPolicy);
    else
        context->authipQmTransportPolicy = copy_quick(arena, context->authipQmTransportPolicy);
    return context;
}

int engine_is_open(HANDLE handle)
{
    for (const struct engine *one = engines; one; one = one->next)
        if ((HANDLE)one == handle)
            return 1;
    return 0;
}

EXPORT DWORD WINAPI FwpmEngineOpen0(const wchar_t *server, UINT32 authentication, SEC_WINNT_AUTH_IDENTITY_W *identity,
                                    const FWPM_SESSION0 *session, HANDLE *handle)
{
    struct engine *engine;
    struct call call;

    (void)identity;
    call_begin(&call, ENGINE_OPEN, 0, session, sizeof *session);
    if (call.record)
        call.record->value = authentication;
    if (call.error)
        return wfp_end(&call, call.error);
    if (!handle)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    if (server || (authentication != RPC_C_AUTHN_WINNT && authentication != RPC_C_AUTHN_DEFAULT))
        return wfp_end(&call, (DWORD)FWP_E_INVALID_PARAMETER);
    if (session && session->flags & ~(UINT32)DYNAMIC)
        return wfp_end(&call, (DWORD)FWP_E_INVALID_FLAGS);
    engine = calloc(1, sizeof *engine);
    if (!engine)
        return wfp_end(&call, ERROR_NOT_ENOUGH_MEMORY);
    engine->is_dynamic = session && session->flags & DYNAMIC;
    wfp_enter();
    engine->next = engines;
    engines = engine;
    wfp_leave();
    *handle = engine;
    if (call.record)
        call.record->socket = (uintptr_t)engine;
    return wfp_end(&call, 0);
}

static void remove_context(struct context **place)
{
    struct context *context = *place;
    struct arena arena = {.start = (uint8_t *)context->value};

    *place = context->next;
    arena_drop(&arena);
    free(context);
}

static void close_engine(struct engine **place)
{
    struct engine *engine = *place;

    for (struct context **one = &contexts; *one;) {
        if ((*one)->owner == engine)
            remove_context(one);
        else
            one = &(*one)->next;
    }
    *place = engine->next;
    free(engine);
}

EXPORT DWORD WINAPI FwpmEngineClose0(HANDLE handle)
{
    DWORD error = ERROR_INVALID_HANDLE;
    struct call call;

    call_begin(&call, ENGINE_CLOSE, (uintptr_t)handle, NULL, 0);
    if (call.error)
        return wfp_end(&call, call.error);
    wfp_enter();
    for (struct engine **one = &engines; *one; one = &(*one)->next) {
        if ((HANDLE)*one == handle) {
            close_engine(one);
            error = 0;
            break;
        }
    }
    wfp_leave();
    return wfp_end(&call, error);
}

static struct context **find(const GUID *key)
{
    struct context **one = &contexts;

    while (*one && memcmp(&(*one)->value->providerContextKey, key, sizeof *key) != 0)
        one = &(*one)->next;
    return one;
}

/* What of a context is wrong, as far as Windows would say so, too. */
static DWORD judge(const FWPM_PROVIDER_CONTEXT1 *context, const struct engine *engine)
{
    if (!context->displayData.name)
        return (DWORD)FWP_E_NULL_DISPLAY_NAME;
    if (context->flags & ~(UINT32)PERSISTENT)
        return (DWORD)FWP_E_INVALID_FLAGS;
    if (context->flags & PERSISTENT && engine->is_dynamic)
        return (DWORD)FWP_E_LIFETIME_MISMATCH;
    if (is_main(context->type)) {
        const IKEEXT_POLICY1 *policy = context->authIpMmPolicy;

        if (!policy)
            return (DWORD)FWP_E_NULL_POINTER;
        if (!policy->numAuthenticationMethods || !policy->numIkeProposals)
            return (DWORD)FWP_E_ZERO_LENGTH_ARRAY;
        return policy->authenticationMethods && policy->ikeProposals ? 0 : (DWORD)FWP_E_NULL_POINTER;
    }
    if (is_quick(context->type)) {
        const IPSEC_TRANSPORT_POLICY1 *policy = context->authipQmTransportPolicy;

        if (!policy)
            return (DWORD)FWP_E_NULL_POINTER;
        if (!policy->numIpsecProposals)
            return (DWORD)FWP_E_ZERO_LENGTH_ARRAY;
        if (!policy->ipsecProposals)
            return (DWORD)FWP_E_NULL_POINTER;
        for (UINT32 i = 0; i < policy->numIpsecProposals; i++)
            if (!policy->ipsecProposals[i].numSaTransforms)
                return (DWORD)FWP_E_ZERO_LENGTH_ARRAY;
        return 0;
    }
    return (DWORD)FWP_E_TYPE_MISMATCH; /* others are not kept here */
}

static DWORD add(const FWPM_PROVIDER_CONTEXT1 *source, const struct engine *engine, UINT64 *id)
{
    static const GUID none;
    struct context **place;
    struct context *context;
    struct arena trial;
    struct arena arena;

    /* Once to see how large it is. */
    if (!arena_make(&trial, MOST))
        return ERROR_NOT_ENOUGH_MEMORY;
    copy_context(&trial, source);
    arena_drop(&trial);
    context = calloc(1, sizeof *context);
    if (trial.is_full || !context || !arena_make(&arena, trial.used)) {
        free(context);
        return ERROR_NOT_ENOUGH_MEMORY;
    }
    context->value = copy_context(&arena, source);
    context->size = trial.used;
    context->owner = engine->is_dynamic ? engine : NULL;
    context->value->providerContextId = ++last_number;
    if (memcmp(&source->providerContextKey, &none, sizeof none) == 0) /* the caller's, being const, stays as it is */
        UuidCreate(&context->value->providerContextKey);
    for (place = &contexts; *place; place = &(*place)->next)
        ;
    *place = context;
    if (id)
        *id = last_number;
    return 0;
}

EXPORT DWORD WINAPI FwpmProviderContextAdd1(HANDLE handle, const FWPM_PROVIDER_CONTEXT1 *context,
                                            PSECURITY_DESCRIPTOR security, UINT64 *id)
{
    struct call call;
    DWORD error;

    (void)security;
    call_begin(&call, CONTEXT_ADD, (uintptr_t)handle, context, sizeof *context);
    if (call.error)
        return wfp_end(&call, call.error);
    if (!context)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    wfp_enter();
    error = engine_is_open(handle) ? judge(context, handle) : ERROR_INVALID_HANDLE;
    if (!error && *find(&context->providerContextKey))
        error = (DWORD)FWP_E_ALREADY_EXISTS;
    if (!error)
        error = add(context, handle, id);
    wfp_leave();
    return wfp_end(&call, error);
}

EXPORT DWORD WINAPI FwpmProviderContextDeleteByKey0(HANDLE handle, const GUID *key)
{
    DWORD error = 0;
    struct call call;

    call_begin(&call, CONTEXT_DELETE, (uintptr_t)handle, key, sizeof *key);
    if (call.error)
        return wfp_end(&call, call.error);
    if (!key)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    wfp_enter();
    if (!engine_is_open(handle)) {
        error = ERROR_INVALID_HANDLE;
    } else {
        struct context **place = find(key);

        if (!*place)
            error = (DWORD)FWP_E_PROVIDER_CONTEXT_NOT_FOUND;
        else if ((*place)->owner && (HANDLE)(uintptr_t)(*place)->owner != handle)
            error = (DWORD)FWP_E_WRONG_SESSION;
        else
            remove_context(place);
    }
    wfp_leave();
    return wfp_end(&call, error);
}

EXPORT DWORD WINAPI FwpmProviderContextGetByKey1(HANDLE handle, const GUID *key, FWPM_PROVIDER_CONTEXT1 **context)
{
    DWORD error = 0;
    struct call call;

    call_begin(&call, CONTEXT_GET, (uintptr_t)handle, key, sizeof *key);
    if (call.error)
        return wfp_end(&call, call.error);
    if (!key || !context)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    wfp_enter();
    if (!engine_is_open(handle)) {
        error = ERROR_INVALID_HANDLE;
    } else {
        const struct context *found = *find(key);
        struct arena arena;

        if (!found)
            error = (DWORD)FWP_E_PROVIDER_CONTEXT_NOT_FOUND;
        else if (!arena_make(&arena, found->size))
            error = ERROR_NOT_ENOUGH_MEMORY;
        else
            *context = copy_context(&arena, found->value);
    }
    wfp_leave();
    return wfp_end(&call, error);
}

EXPORT DWORD WINAPI FwpmProviderContextCreateEnumHandle0(HANDLE handle,
                                                         const FWPM_PROVIDER_CONTEXT_ENUM_TEMPLATE0 *template_,
                                                         HANDLE *walk_handle)
{
    DWORD error = 0;
    struct walk *walk;
    struct call call;

    call_begin(&call, CONTEXT_ENUM_CREATE, (uintptr_t)handle, template_, sizeof *template_);
    if (call.error)
        return wfp_end(&call, call.error);
    if (!walk_handle)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    walk = calloc(1, sizeof *walk);
    if (!walk)
        return wfp_end(&call, ERROR_NOT_ENOUGH_MEMORY);
    walk->of_all = !template_;
    walk->type = template_ ? template_->providerContextType : FWPM_PROVIDER_CONTEXT_TYPE_MAX;
    wfp_enter();
    if (engine_is_open(handle)) {
        walk->next = walks;
        walks = walk;
        *walk_handle = walk;
    } else {
        error = ERROR_INVALID_HANDLE;
        free(walk);
    }
    wfp_leave();
    return wfp_end(&call, error);
}

static struct walk **find_walk(HANDLE handle)
{
    struct walk **one = &walks;

    while (*one && (HANDLE)*one != handle)
        one = &(*one)->next;
    return one;
}

static int is_next(const struct walk *walk, const struct context *context)
{
    return context->value->providerContextId > walk->last && (walk->of_all || context->value->type == walk->type);
}

static DWORD tell(struct walk *walk, UINT32 most, FWPM_PROVIDER_CONTEXT1 ***entries, UINT32 *count)
{
    size_t size = 16;
    UINT32 number = 0;
    struct arena arena;

    for (const struct context *one = contexts; one && number < most; one = one->next) {
        if (is_next(walk, one)) {
            size += one->size;
            number++;
        }
    }
    if (!arena_make(&arena, size + 16 + number * sizeof(void *)))
        return ERROR_NOT_ENOUGH_MEMORY;
    *entries = arena_take(&arena, number ? number * sizeof(void *) : 1);
    *count = 0;
    for (const struct context *one = contexts; one && *count < number; one = one->next) {
        if (is_next(walk, one)) {
            (*entries)[(*count)++] = copy_context(&arena, one->value);
            walk->last = one->value->providerContextId;
        }
    }
    return 0;
}

EXPORT DWORD WINAPI FwpmProviderContextEnum1(HANDLE handle, HANDLE walk_handle, UINT32 most,
                                             FWPM_PROVIDER_CONTEXT1 ***entries, UINT32 *count)
{
    DWORD error;
    struct call call;

    call_begin(&call, CONTEXT_ENUM, (uintptr_t)handle, NULL, 0);
    if (call.record)
        call.record->value = most;
    if (call.error)
        return wfp_end(&call, call.error);
    if (!entries || !count)
        return wfp_end(&call, (DWORD)FWP_E_NULL_POINTER);
    wfp_enter();
    if (!engine_is_open(handle) || !*find_walk(walk_handle))
        error = ERROR_INVALID_HANDLE;
    else
        error = tell(*find_walk(walk_handle), most, entries, count);
    wfp_leave();
    return wfp_end(&call, error);
}

EXPORT DWORD WINAPI FwpmProviderContextDestroyEnumHandle0(HANDLE handle, HANDLE walk_handle)
{
    DWORD error = ERROR_INVALID_HANDLE;
    struct walk **place;
    struct call call;

    call_begin(&call, CONTEXT_ENUM_DESTROY, (uintptr_t)handle, NULL, 0);
    if (call.error)
        return wfp_end(&call, call.error);
    wfp_enter();
    place = find_walk(walk_handle);
    if (*place) {
        struct walk *walk = *place;

        *place = walk->next;
        free(walk);
        error = 0;
    }
    wfp_leave();
    return wfp_end(&call, error);
}

EXPORT void WINAPI FwpmFreeMemory0(void **memory)
{
    struct arena arena;
    struct call call;

    call_begin(&call, FREE_MEMORY, 0, NULL, 0);
    if (memory && *memory) {
        arena.start = *memory;
        if (memcmp(arena.start - HEADER, mark, HEADER) != 0)
            abort(); /* it is not ours, or was freed */
        arena_drop(&arena);
        *memory = NULL;
    }
    call_end(&call, 0);
}

static uint32_t length_of_engines(void)
{
    uint32_t count = 0;

    for (const struct engine *one = engines; one; one = one->next)
        count++;
    return count;
}

/* How many sessions, contexts, enumerations and answers there are: in this order. */
EXPORT void WsasecDoubleWfp(uint32_t counts[4])
{
    wfp_enter();
    memset(counts, 0, 4 * sizeof counts[0]);
    counts[0] = length_of_engines();
    for (const struct context *one = contexts; one; one = one->next)
        counts[1]++;
    for (const struct walk *one = walks; one; one = one->next)
        counts[2]++;
    counts[2] += sa_walks();
    counts[3] = (uint32_t)unfreed - counts[1];
    wfp_leave();
}

void wfp_start(void)
{
    InitializeCriticalSection(&lock);
}

void wfp_reset(void)
{
    wfp_enter();
    while (engines)
        close_engine(&engines);
    while (contexts)
        remove_context(&contexts);
    while (walks) {
        struct walk *next = walks->next;

        free(walks);
        walks = next;
    }
    unfreed = 0;
    last_number = 0;
    sa_reset();
    wfp_leave();
}
