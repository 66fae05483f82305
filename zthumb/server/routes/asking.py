"""How a route gets at the service of the app it belongs to."""

from typing import Annotated

from fastapi import Depends, Request

from zthumb.server.service import Service


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Asked = Annotated[Service, Depends(_service)]
