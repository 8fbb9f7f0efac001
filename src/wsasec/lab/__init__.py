"""The lab: two hosts on one wire with security associations, in network namespaces or in a guest kernel."""

import sys

if sys.platform == "win32":
    raise ImportError("wsasec.lab is for Linux: it is made of network namespaces")

from .capture import Capture, Counts
from .engine_end import EngineEnd
from .engines import EngineLab
from .errors import LabError
from .esp import esp_missing, kernel_has_esp
from .namespace import Namespace, private
from .packets import Kind, parse
from .privileges import enter_private_namespaces, missing_privileges
from .runner import run
from .topology import Lab
from .xfrm import SA

__all__ = [
    "SA",
    "Capture",
    "Counts",
    "EngineEnd",
    "EngineLab",
    "Kind",
    "Lab",
    "LabError",
    "Namespace",
    "enter_private_namespaces",
    "esp_missing",
    "kernel_has_esp",
    "missing_privileges",
    "parse",
    "private",
    "run",
]
