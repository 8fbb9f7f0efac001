"""Build of the modules by which the C interface is tested, as users write it."""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

import wsasec

STRICT = ["-Wall", "-Wextra", "-Werror"]


def module(name: str, *flags: str, limited: bool = False) -> Extension:
    """Describe an extension module in C, of one and the same source."""
    return Extension(
        f"{name}.module",
        ["module.c"],
        include_dirs=[wsasec.get_include()],
        extra_compile_args=[*STRICT, *flags, *(["-DPy_LIMITED_API=0x030B0000"] if limited else [])],
        py_limited_api=limited,
    )


MODULES = {
    "cython": lambda: cythonize([Extension("client", ["client.pyx"], include_dirs=[wsasec.get_include()])]),
    "plain": lambda: [module("plain")],
    "limited": lambda: [module("limited", limited=True)],
    "cplusplus": lambda: [module("cplusplus", "-x", "c++")],
    "version": lambda: [module("version", "-DANOTHER_VERSION")],
    "forgotten": lambda: [module("forgotten", "-DFORGOTTEN")],
}

setup(name="client", packages=[], ext_modules=MODULES[os.environ["MODULE"]]())
