/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of the Windows Filtering Platform: in the same library, but not on every system that has the six. */
#include "wfp.h"

#include "../core/errors.h"
#include "library.h"

static struct wsasec_wfp functions;
static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
static wsasec_status failed; /* with the code 0: all are there */

#define FIND(member, name) wsasec_function_find(module, name, &functions.member, sizeof functions.member)

static BOOL CALLBACK load(PINIT_ONCE unused, PVOID parameter, PVOID *context)
{
    HMODULE module = wsasec_library_module(&failed);

    (void)unused;
    (void)parameter;
    (void)context;
    if (!module)
        return TRUE;
    if (!FIND(engine_open, "FwpmEngineOpen0") || !FIND(engine_close, "FwpmEngineClose0") ||
        !FIND(free_memory, "FwpmFreeMemory0") || !FIND(context_add, "FwpmProviderContextAdd1") ||
        !FIND(context_delete, "FwpmProviderContextDeleteByKey0") ||
        !FIND(context_create_enum, "FwpmProviderContextCreateEnumHandle0") ||
        !FIND(context_enum, "FwpmProviderContextEnum1") ||
        !FIND(context_destroy_enum, "FwpmProviderContextDestroyEnumHandle0") ||
        !FIND(association_create_enum, "IPsecSaContextCreateEnumHandle0") ||
        !FIND(association_enum, "IPsecSaContextEnum1") ||
        !FIND(association_destroy_enum, "IPsecSaContextDestroyEnumHandle0") || !FIND(ike_get, "IkeextSaGetById1"))
        wsasec_fail(&failed, WSASEC_STEP_LIBRARY, WSASEC_REASON_NO_FUNCTION, (int32_t)GetLastError());
    return TRUE;
}

const struct wsasec_wfp *wsasec_wfp_get(wsasec_status *status)
{
    InitOnceExecuteOnce(&once, load, NULL, NULL);
    if (!failed.code)
        return &functions;
    if (status)
        *status = failed;
    return NULL;
}
