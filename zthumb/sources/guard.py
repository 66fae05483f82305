"""Which addresses may be fetched from: https, known hosts, and no machine of an inner network, whatever a name resolves to."""

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
"""Hosts that models are fetched from, and those below them."""


@dataclass(frozen=True)
class Policy:
    """What may be fetched. ``certificate`` is a file of authorities to trust instead of the usual ones."""

    hosts: frozenset[str] = HOSTS
    may_be_private: bool = False
    most_bytes: int = 64 * 2**30
    certificate: str | None = None
    user_agent: str = field(default="zthumb/0.1")

    def check(self, url: str) -> None:
        """Refuse an address that may not be asked: ``BadInput`` says why. To be called for every redirect as well."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.scheme != "https":
            raise BadInput(f"{_shown(url)}: only https addresses are fetched.")
        if not any(host == allowed or host.endswith(f".{allowed}") for allowed in self.hosts):
            raise BadInput(
                f"{_shown(url)}: host {host!r} is not one that models are fetched from: {', '.join(sorted(self.hosts))}."
            )

    def check_machine(self, address: str) -> None:
        """Refuse the machine that a name led to, if it is one of an inner network."""
        machine = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(machine, ipaddress.IPv6Address) and machine.ipv4_mapped:
            machine = machine.ipv4_mapped
        if not self.may_be_private and not machine.is_global:
            raise BadInput(f"the name leads to {machine}, a machine of an inner network, from which nothing is fetched.")

    def check_name(self, host: str) -> None:
        """Refuse, behind a proxy, which connects in our place, a host whose name is known here to lead to an inner network.

        Where names are for the proxy to look up, the list of hosts is what there is to go by.
        """
        try:
            found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)
        except OSError:
            return
        for *_, address in found:
            self.check_machine(str(address[0]))

    def session(self) -> requests.Session:
        """A session that asks only machines that may be asked; redirects are for the caller to follow and to check.

        It goes by way of HTTPS_PROXY, but for the hosts in NO_PROXY.
        """
        session = requests.Session()
        session.mount("https://", _Adapter(self))
        # Nothing else of the environment: a login in .netrc would be told to hosts that have no use for it.
        session.trust_env = False
        session.verify = self.certificate or True
        session.headers["user-agent"] = self.user_agent
        return session


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for ``url``, None where it is asked for directly."""
    if should_bypass_proxies(url, no_proxy=None):
        return None
    found: str | None = select_proxy(url, getproxies())
    return found


def unreached(url: str, error: Exception) -> str:
    """Why ``url`` was not reached, without what may be secret in it: the kind of error, and the proxy if there is one."""
    kind = type(error).__name__
    if isinstance(error, requests.exceptions.InvalidSchema):
        return f"{error}; HTTPS_PROXY must be an http or https address here"
    if (proxy := proxy_of(url)) is None:
        return kind
    # requests takes one without a scheme as well.
    parts = urlsplit(proxy if "://" in proxy else f"//{proxy}")
    where = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    return f"{kind}, through the proxy {where} that HTTPS_PROXY names; NO_PROXY leaves hosts out of it"


def _shown(url: str) -> str:
    """An address without what may be secret in it."""
    return url.partition("?")[0]


def _pool(policy: Policy) -> type[HTTPSConnectionPool]:
    class Connection(HTTPSConnection):
        """One that looks at the machine it is connected to before anything is said to it."""

        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            try:
                policy.check_machine(made.getpeername()[0])
            except BadInput:
                made.close()
                raise
            return made

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
            self._policy.check_name(str(urlsplit(url).hostname))
            options["proxies"] = {"https": proxy}
        return super().send(request, *arguments, **options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"https": _pool(self._policy)}
