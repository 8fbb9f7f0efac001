from array import array
from collections.abc import Callable, Iterable
from typing import Any, Final, Literal, TypeAlias, overload

from _typeshed import HasFileno, ReadableBuffer
from typing_extensions import disjoint_base

from .errors import SecurityError
from .settings import SettingsBase

_Profile: TypeAlias = tuple[str, bytes, int, int, int, bool]

CAPABILITIES: Final[dict[str, int]]
METHODS: Final[dict[str, int]]
# Cython makes it in every module.
__test__: Final[dict[str, str]]

def secure(socket: HasFileno | int, settings: SettingsBase | None = None) -> None: ...
@overload
def secure_many(
    sockets: ReadableBuffer | Iterable[HasFileno | int],
    settings: SettingsBase | None = None,
    *,
    errors: Literal["raise"] = "raise",
    method: str = "auto",
    threads: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> None: ...
@overload
def secure_many(
    sockets: ReadableBuffer | Iterable[HasFileno | int],
    settings: SettingsBase | None = None,
    *,
    errors: Literal["return"],
    method: str = "auto",
    threads: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> array[int]: ...
def method_costs() -> dict[str, dict[str, float]]: ...
def method_failure(method: str) -> SecurityError | None: ...
def set_socket_security(socket: HasFileno | int, settings: ReadableBuffer | None, length: int) -> int: ...
def socket_options(settings: SettingsBase | None = None, *, family: int) -> list[tuple[int, int, bytes]]: ...
def set_profiles(profiles: Iterable[_Profile], default: str) -> None: ...
def builtin_profile() -> _Profile: ...
def profile_of(socket: HasFileno | int) -> str | None: ...
def guard_state(profile: str, family: int) -> int: ...
def capability(name: str) -> bool: ...
def release_namespaces() -> None: ...

@disjoint_base
class Descriptors:
    @property
    def owner(self) -> Any: ...
    def _create(
        self,
        count: int,
        family: int,
        kind: int,
        settings: SettingsBase | None,
        sources: tuple[bytes, int] | None,
        flags: int,
        send_buffer: int,
        receive_buffer: int,
        stop: bool,
        method: str,
        threads: int,
        progress: Callable[[int, int], object] | None,
    ) -> tuple[array[int], SecurityError | None, int]: ...
    def _view(self, start: int, stop: int, owner: Descriptors) -> None: ...
    def _take(self) -> array[int]: ...
    def _close(self) -> None: ...
    def _number(self, index: int) -> int: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

def accept_descriptor(socket: HasFileno | int) -> tuple[int, bytes] | int: ...
