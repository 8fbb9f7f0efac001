"""geventhttpclient's connections, secured, with the wait for security associations."""

from __future__ import annotations

from typing import Any

from geventhttpclient.client import HTTPClient, HTTPClientPool
from geventhttpclient.connectionpool import ConnectionPool, SSLConnectionPool

from .._wsasec import secure
from ..settings import SettingsBase
from ..sockets import connect
from .connections import TIMEOUT

__all__ = ["SecuredHTTPClientPool"]


class _SecuredConnectionPool(ConnectionPool):
    settings: SettingsBase | None = None

    def _create_tcp_socket(self, family: int, socktype: int, protocol: int) -> Any:
        sock = super()._create_tcp_socket(family, socktype, protocol)
        try:
            secure(sock, self.settings)
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect_socket(self, sock: Any, address: Any) -> Any:
        timeout = sock.gettimeout()
        # With gevent's monkey patches, as Locust makes them, this lets other greenlets run.
        connect(sock, address, TIMEOUT if timeout is None else timeout)
        return sock


class _SecuredSSLConnectionPool(SSLConnectionPool, _SecuredConnectionPool):
    """TLS within the secured connection."""


_SECURED = {ConnectionPool: _SecuredConnectionPool, SSLConnectionPool: _SecuredSSLConnectionPool}


class SecuredHTTPClientPool(HTTPClientPool):
    """A HTTPClientPool all of whose connections are secured before they connect, or not made.

    Attributes:
        settings: as for `wsasec.secure`.
    """

    settings: SettingsBase | None

    def __init__(self, *, settings: SettingsBase | None = None, **options: Any) -> None:
        """Make one.

        Args:
            settings: as for `wsasec.secure`.
            options: of HTTPClientPool.

        Raises:
            ValueError: a proxy: protection would end there.
        """
        if options.get("proxy_host") is not None:
            raise ValueError("proxy_host: a secured connection ends at the proxy, what follows is in clear")
        super().__init__(**options)
        self.settings = settings

    def get_client(self, url: Any) -> HTTPClient:
        """Return the client for a host and port.

        Raises:
            TypeError: this version of geventhttpclient has no pool that could be secured.
        """
        client = super().get_client(url)
        pool: Any = getattr(client, "_connection_pool", None)
        if not isinstance(pool, _SecuredConnectionPool):
            # A client makes its pool itself, and nothing says of which class.
            secured = _SECURED.get(type(pool))
            if secured is None:
                self.close()
                raise TypeError(f"connections of {type(pool).__name__} cannot be secured")
            pool.__class__ = secured
            pool.settings = self.settings
        return client
