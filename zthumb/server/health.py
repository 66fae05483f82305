"""Ask the server on this machine whether it is ready: exit code 0 when it is, for an image's health check."""

import sys
import urllib.request

from zthumb.server.settings import Settings

_PATIENCE_S = 5


def main() -> int:
    """0 ready, 1 not."""
    settings = Settings()
    # By a name that it goes by, if it was told any.
    headers = {"Host": settings.own_names[0]} if settings.own_names else {}
    request = urllib.request.Request(f"http://127.0.0.1:{settings.port}/health/ready", headers=headers)
    try:
        # This machine is not asked by way of a proxy.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_PATIENCE_S) as answer:
            return 0 if answer.status == 200 else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
