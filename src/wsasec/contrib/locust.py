"""Locust's HTTP users, with secured connections.

class Visitor(SecuredHttpUser):
    @task
    def index(self):
        self.client.get("/")
"""

from __future__ import annotations

from typing import Any, NoReturn

from locust import FastHttpUser, HttpUser
from locust.clients import LocustHttpAdapter
from requests.exceptions import ProxyError

from ..settings import SettingsBase
from .geventhttpclient import SecuredHTTPClientPool
from .urllib3 import SecuredPoolManager

__all__ = ["SecuredFastHttpUser", "SecuredHttpUser"]


def _check(settings: SettingsBase | None, name: str, shared: SettingsBase | None) -> None:
    if settings is not None and settings != shared:
        raise ValueError(f"the settings of the user are not those of {name}, which would be in force")


class _SecuredAdapter(LocustHttpAdapter):
    def proxy_manager_for(self, proxy: str, **_: Any) -> NoReturn:
        raise ProxyError(f"a secured connection ends at the proxy {proxy}, what follows is in clear")


class SecuredHttpUser(HttpUser):
    """An HttpUser whose connections are secured before they connect, or not made.

    A request for which there is no secured connection fails, and is counted as a failure; nothing was
    sent. Connections wait for a security association as long as the request's connect time-out says; 30 s
    where there is none.

    Attributes:
        settings: as for `wsasec.secure`. With a shared ``pool_manager`` its own are in force; None here, or
            the same.
    """

    abstract = True

    settings: SettingsBase | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Make one, as HttpUser is made.

        Raises:
            TypeError: ``pool_manager`` is not a `wsasec.contrib.urllib3.SecuredPoolManager`.
            ValueError: it has other settings than this.
        """
        super().__init__(*arguments, **options)  # type: ignore[no-untyped-call]
        manager = self.pool_manager
        if manager is None:
            manager = SecuredPoolManager(settings=self.settings)
        elif not isinstance(manager, SecuredPoolManager):
            raise TypeError(f"pool_manager is a {type(manager).__name__}, not a SecuredPoolManager")
        else:
            _check(self.settings, "pool_manager", manager.settings)
        self.client.adapters.clear()
        for scheme in ("https://", "http://"):
            self.client.mount(scheme, _SecuredAdapter(pool_manager=manager))


class SecuredFastHttpUser(FastHttpUser):
    """A FastHttpUser whose connections are secured before they connect, or not made.

    A request for which there is no secured connection fails, and is counted as a failure; nothing was
    sent. Connections wait for a security association for ``connection_timeout`` seconds.

    Attributes:
        settings: as for `wsasec.secure`. With a shared ``client_pool`` its own are in force; None here, or
            the same.
    """

    abstract = True

    settings: SettingsBase | None = None

    def __init__(self, environment: Any) -> None:
        """Make one, as FastHttpUser is made.

        Raises:
            TypeError: ``client_pool`` is not a `wsasec.contrib.geventhttpclient.SecuredHTTPClientPool`.
            ValueError: a proxy is set, or the pool has other settings than this.
        """
        super().__init__(environment)
        agent = self.client.client
        if self.client_pool is None:
            agent.clientpool = SecuredHTTPClientPool(settings=self.settings, **agent.clientpool.client_args)
        elif not isinstance(self.client_pool, SecuredHTTPClientPool):
            raise TypeError(
                f"client_pool is a {type(self.client_pool).__name__}, not a SecuredHTTPClientPool"
            )
        else:
            _check(self.settings, "client_pool", self.client_pool.settings)
