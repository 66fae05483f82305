"""Which URLs may be downloaded: https, known hosts, and no machine of a private network, whatever a host name resolves to."""

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import requests
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy, should_bypass_proxies
from urllib3 import HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection

from foundation.errors import BadInput

HOSTS = frozenset({"huggingface.co", "hf.co", "civitai.com", "github.com", "githubusercontent.com", "cloudflarestorage.com"})
"""Hosts that models may be downloaded from, with their subdomains."""


@dataclass(frozen=True)
class Policy:
    """What may be downloaded. ``ca_bundle`` is a file of certificate authorities to trust instead of the default ones."""

    hosts: frozenset[str] = HOSTS
    allow_private: bool = False
    max_bytes: int = 64 * 2**30
    ca_bundle: str | None = None
    user_agent: str = field(default="zthumb/0.1")

    def check(self, url: str) -> None:
        """Raise ``BadInput`` that says why for a URL that may not be requested. Call it for every redirect as well."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.scheme != "https":
            raise BadInput(f"{_without_query(url)}: only https URLs are downloaded.")
        if not any(host == allowed or host.endswith(f".{allowed}") for allowed in self.hosts):
            raise BadInput(
                f"{_without_query(url)}: host {host!r} is not one that models are downloaded from: "
                f"{', '.join(sorted(self.hosts))}."
            )

    def check_ip(self, address: str) -> None:
        """Raise ``BadInput`` if the IP address that a host name resolved to is in a private network."""
        ip = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
            ip = ip.ipv4_mapped
        if not self.allow_private and not ip.is_global:
            raise BadInput(f"the host name resolves to {ip}, which is in a private network; nothing is downloaded from there.")

    def check_host(self, host: str) -> None:
        """Raise ``BadInput`` for a host that resolves here to a private network; needed behind a proxy, which connects for us.

        Where only the proxy can resolve names, the list of allowed hosts is the only protection.
        """
        try:
            results = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
        except OSError:
            return
        for *_, address in results:
            self.check_ip(str(address[0]))

    def session(self) -> requests.Session:
        """Return a session that connects only to allowed machines; the caller follows and checks redirects.

        It uses HTTPS_PROXY, except for the hosts in NO_PROXY.
        """
        session = requests.Session()
        session.mount("https://", _Adapter(self))
        # Nothing else from the environment: a login in .netrc would be sent to hosts that have no use for it.
        session.trust_env = False
        session.verify = self.ca_bundle or True
        session.headers["user-agent"] = self.user_agent
        return session


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment sets for ``url``; None where it is requested directly."""
    if should_bypass_proxies(url, no_proxy=None):
        return None
    proxy: str | None = select_proxy(url, getproxies())
    return proxy


def describe_failure(url: str, error: Exception) -> str:
    """Return why ``url`` was not reached, without possible secrets: the kind of error, and the proxy if there is one."""
    kind = type(error).__name__
    if isinstance(error, requests.exceptions.InvalidSchema):
        return f"{error}; HTTPS_PROXY must be an http or https URL here"
    if (proxy := proxy_of(url)) is None:
        return kind
    # requests also accepts a proxy without a scheme.
    parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
    location = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    return f"{kind}, through the proxy {location} that HTTPS_PROXY sets; NO_PROXY exempts hosts from it"


def _without_query(url: str) -> str:
    """Return a URL without its query, which may hold secrets."""
    return url.partition("?")[0]


def _pool(policy: Policy) -> type[HTTPSConnectionPool]:
    class Connection(HTTPSConnection):
        """A connection that checks the IP address of its peer before it sends anything."""

        def _new_conn(self) -> socket.socket:
            connected = super()._new_conn()
            try:
                policy.check_ip(connected.getpeername()[0])
            except BadInput:
                connected.close()
                raise
            return connected

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


class _Adapter(HTTPAdapter):
    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        super().__init__()

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        url = str(request.url)
        if (proxy := proxy_of(url)) is not None:
            self._policy.check_host(str(urlsplit(url).hostname))
            options["proxies"] = {"https": proxy}
        return super().send(request, *arguments, **options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"https": _pool(self._policy)}
