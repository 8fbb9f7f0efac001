"""ESP of the engine, called from Python: functions of src/engine, in a shared object."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ENGINE = Path(__file__).parent.parent.parent / "src/engine"
SOURCES = ("crypto.c", "crypto_ipsec_mb.c", "crypto_openssl.c", "crypto_test.c", "esp.c", "log.c", "replay.c")

OUTBOUND, INBOUND = 1, 2
ALGORITHMS = {"AES-128-GCM": 1, "AES-256-GCM": 2, "ChaCha20-Poly1305": 3}
OK, EMPTY, MALFORMED, REPLAYED, FORGED, FAILED = range(6)
HEAD, TAIL_MAX = 16, 3 + 2 + 16


class Opened(ctypes.Structure):
    """struct wse_esp_opened."""

    _fields_ = (
        ("payload", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("sequence", ctypes.c_uint64),
        ("next_header", ctypes.c_uint8),
    )


def load(folder: Path) -> ctypes.CDLL:
    """Compile and load; skip where there is no compiler, or no OpenSSL."""
    compiler = shutil.which("gcc")
    if not ENGINE.is_dir() or not compiler:
        pytest.skip("no C sources, or no gcc: run from the source tree, apt-get install gcc")
    if not Path("/usr/include/openssl/evp.h").exists():
        pytest.skip("no OpenSSL headers: apt-get install libssl-dev")
    ipsec_mb = Path("/usr/include/intel-ipsec-mb.h").exists()
    target = folder / "engine.so"
    command = [
        compiler,
        *("-std=c11", "-D_GNU_SOURCE", "-O2", "-g", "-shared", "-fPIC"),
        *("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"),
        *(["-DWSE_HAVE_IPSEC_MB=1"] if ipsec_mb else []),
        *(str(ENGINE / name) for name in SOURCES),
        *("-o", str(target), "-lcrypto"),
        *(["-lIPSec_MB"] if ipsec_mb else []),
    ]
    subprocess.run(command, check=True, timeout=120)
    library = ctypes.CDLL(str(target))
    for name, result, arguments in (
        ("wse_crypto_at", ctypes.c_void_p, [ctypes.c_size_t]),
        ("wse_crypto_name", ctypes.c_char_p, [ctypes.c_void_p]),
        ("wse_key_size", ctypes.c_size_t, [ctypes.c_void_p, ctypes.c_uint]),
        (
            "wse_key_set",
            ctypes.c_int,
            [
                *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_int),
                *(ctypes.c_char_p, ctypes.c_size_t),
            ],
        ),
        ("wse_key_wipe", None, [ctypes.c_void_p]),
        ("wse_replay_size", ctypes.c_size_t, [ctypes.c_uint32]),
        ("wse_replay_init", ctypes.c_int, [ctypes.c_void_p, ctypes.c_uint32]),
        ("wse_replay_check", ctypes.c_bool, [ctypes.c_void_p, ctypes.c_uint64]),
        ("wse_replay_update", ctypes.c_bool, [ctypes.c_void_p, ctypes.c_uint64]),
        ("wse_replay_infer", ctypes.c_uint64, [ctypes.c_void_p, ctypes.c_uint32]),
        (
            "wse_esp_seal",
            ctypes.c_size_t,
            [
                *(ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_bool),
                *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint8),
            ],
        ),
        (
            "wse_esp_open",
            ctypes.c_int,
            [
                *(ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_bool),
                *(ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(Opened)),
            ],
        ),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Aligned:
    """Memory that begins at a multiple of 64."""

    def __init__(self, size: int) -> None:
        self._memory = ctypes.create_string_buffer(size + 63)
        self.at = (ctypes.addressof(self._memory) + 63) // 64 * 64


class Window:
    """A window against replay."""

    def __init__(self, library: ctypes.CDLL, packets: int) -> None:
        self._library = library
        self._memory = Aligned(library.wse_replay_size(packets))
        self.at = self._memory.at
        assert library.wse_replay_init(self.at, packets) == 0

    def check(self, sequence: int) -> bool:
        return bool(self._library.wse_replay_check(self.at, sequence))

    def update(self, sequence: int) -> bool:
        return bool(self._library.wse_replay_update(self.at, sequence))

    def infer(self, low: int) -> int:
        return int(self._library.wse_replay_infer(self.at, low))

    @property
    def top(self) -> int:
        return ctypes.c_uint64.from_address(self.at).value


@dataclass(frozen=True)
class Packet:
    """What an inbound packet was."""

    result: int
    sequence: int
    payload: bytes | None
    next_header: int


class Key:
    """The key of an SA of the engine's, in one direction; a context that wipes it at its end."""

    def __init__(
        self, library: ctypes.CDLL, implementation: int, algorithm: str, direction: int, key: bytes
    ) -> None:
        self._library = library
        self._memory = Aligned(library.wse_key_size(implementation, 1))
        error = library.wse_key_set(
            self._memory.at, implementation, 1, ALGORITHMS[algorithm], direction, key, len(key)
        )
        assert error == 0

    def __enter__(self) -> Key:
        return self

    def __exit__(self, *_: object) -> None:
        self._library.wse_key_wipe(self._memory.at)

    def seal(self, spi: int, sequence: int, esn: bool, payload: bytes, next_header: int) -> bytes:
        packet = ctypes.create_string_buffer(HEAD + len(payload) + TAIL_MAX)
        ctypes.memmove(ctypes.addressof(packet) + HEAD, payload, len(payload))
        size = self._library.wse_esp_seal(
            self._memory.at, 0, spi, sequence, esn, packet, len(payload), next_header
        )
        assert size
        return packet.raw[:size]

    def open(self, window: Window, esn: bool, packet: bytes) -> Packet:
        place = ctypes.create_string_buffer(packet, max(len(packet), 1))
        opened = Opened()
        result = self._library.wse_esp_open(
            self._memory.at, 0, window.at, esn, place, len(packet), ctypes.byref(opened)
        )
        payload = None if opened.payload is None else ctypes.string_at(opened.payload, opened.length)
        return Packet(result, opened.sequence, payload, opened.next_header)


def implementations(library: ctypes.CDLL) -> list[int]:
    """All that are compiled in and fit the processor, as what the functions take."""
    found: list[int] = []
    while crypto := library.wse_crypto_at(len(found)):
        found.append(crypto)
    return found
