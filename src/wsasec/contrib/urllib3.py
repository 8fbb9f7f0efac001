"""urllib3's connections, secured, with the wait for security associations; requests is built on them."""

from __future__ import annotations

import socket
import sys
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import Timeout

from ..settings import SettingsBase
from .connections import create_connection

__all__ = ["SecuredPoolManager"]


def _connect(connection: HTTPConnection, settings: SettingsBase | None) -> socket.socket:
    """Connect as urllib3 does, but secured; with its exceptions."""
    timeout = Timeout.resolve_default_timeout(connection.timeout)
    try:
        sock = create_connection(
            (connection._dns_host, connection.port),
            timeout,
            connection.source_address,
            settings=settings,
            socket_options=[(option[0], option[1], option[2]) for option in connection.socket_options or ()],
        )
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, f"No answer from {connection.host}: {error}") from error
    except OSError as error:
        raise NewConnectionError(connection, f"No secured connection: {error}") from error
    sys.audit("http.client.connect", connection, connection.host, connection.port)
    return sock


class _SecuredHTTPConnection(HTTPConnection):
    settings: SettingsBase | None = None

    def _new_conn(self) -> socket.socket:
        return _connect(self, self.settings)


class _SecuredHTTPSConnection(HTTPSConnection):
    settings: SettingsBase | None = None

    def _new_conn(self) -> socket.socket:
        return _connect(self, self.settings)


def _pool(base: type[HTTPConnectionPool], connection: type, settings: SettingsBase | None) -> Any:
    """Make the class of a pool whose connections have these settings; a pool passes on none but its own."""
    chosen = type(connection.__name__, (connection,), {"settings": settings})
    return type(f"Secured{base.__name__}", (base,), {"ConnectionCls": chosen})


class SecuredPoolManager(PoolManager):
    """A PoolManager all of whose connections are secured before they connect, or not made.

    Attributes:
        settings: as for `wsasec.secure`.
    """

    settings: SettingsBase | None

    def __init__(self, *arguments: Any, settings: SettingsBase | None = None, **options: Any) -> None:
        """Make one.

        Args:
            arguments: of PoolManager.
            settings: as for `wsasec.secure`.
            options: of PoolManager.
        """
        super().__init__(*arguments, **options)
        self.settings = settings
        self.pool_classes_by_scheme = {
            "http": _pool(HTTPConnectionPool, _SecuredHTTPConnection, settings),
            "https": _pool(HTTPSConnectionPool, _SecuredHTTPSConnection, settings),
        }
