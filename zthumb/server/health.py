"""Check whether the server on this machine is ready, as the health check of a container image: exit code 0 if it is."""

import sys
import urllib.request

from zthumb.server.settings import Settings

_TIMEOUT_S = 5


def main() -> int:
    """Return 0 if the server is ready, else 1."""
    settings = Settings()
    # The server refuses host names other than its own, if it was given any.
    headers = {"Host": settings.allowed_host_names[0]} if settings.allowed_host_names else {}
    request = urllib.request.Request(f"http://127.0.0.1:{settings.port}/health/ready", headers=headers)
    try:
        # Without a proxy: the server is on this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_TIMEOUT_S) as response:
            return 0 if response.status == 200 else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
