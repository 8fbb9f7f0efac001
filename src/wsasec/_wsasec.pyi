from array import array
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias, overload

from _typeshed import HasFileno, ReadableBuffer

from .settings import SettingsBase

_Profile: TypeAlias = tuple[str, bytes, int, int, int, bool]

CAPABILITIES: Final[dict[str, int]]
# Cython makes it in every module.
__test__: Final[dict[str, str]]

def secure(socket: HasFileno | int, settings: SettingsBase | None = None) -> None: ...
@overload
def secure_many(
    sockets: ReadableBuffer | Iterable[HasFileno | int],
    settings: SettingsBase | None = None,
    *,
    errors: Literal["raise"] = "raise",
) -> None: ...
@overload
def secure_many(
    sockets: ReadableBuffer | Iterable[HasFileno | int],
    settings: SettingsBase | None = None,
    *,
    errors: Literal["return"],
) -> array[int]: ...
def set_socket_security(socket: HasFileno | int, settings: ReadableBuffer | None, length: int) -> int: ...
def socket_options(settings: SettingsBase | None = None, *, family: int) -> list[tuple[int, int, bytes]]: ...
def set_profiles(profiles: Iterable[_Profile], default: str) -> None: ...
def builtin_profile() -> _Profile: ...
def profile_of(socket: HasFileno | int) -> str | None: ...
def guard_state(profile: str, family: int) -> int: ...
def capability(name: str) -> bool: ...
def release_namespaces() -> None: ...
