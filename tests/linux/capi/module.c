/* An extension module in C (or C++), with the limited API or without. */
#include <wsasec_api.h>

#ifdef ANOTHER_VERSION
#undef WSASEC_API_VERSION
#define WSASEC_API_VERSION (~0u)
#endif
#include <wsasec_capi.h>

static PyObject *secure(PyObject *self, PyObject *argument)
{
    wsasec_status status;
    int32_t code;
    long fd = PyLong_AsLong(argument);

    (void)self;
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    code = wsasec_set_socket_security(fd, NULL, 0, NULL, NULL, &status);
    Py_END_ALLOW_THREADS
    return PyLong_FromLong(code);
}

static PyMethodDef methods[] = {{"secure", secure, METH_O, "Secure a descriptor; return the code."}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "module", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_module(void)
{
#ifndef FORGOTTEN
    if (import_wsasec())
        return NULL;
#endif
    return PyModule_Create(&definition);
}
