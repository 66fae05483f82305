"""Write the server's OpenAPI description to a file: what the web client's types are generated from."""

import json
import sys
import tempfile
from pathlib import Path

from zthumb.server.app import create_app
from zthumb.server.settings import Settings


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(model="models/mini-sdxl", data_folder=Path(folder)))
        description = app.openapi()
        app.state.store.close()
    Path(sys.argv[1]).write_text(json.dumps(description, sort_keys=True), encoding="utf-8")


if __name__ == "__main__":
    main()
