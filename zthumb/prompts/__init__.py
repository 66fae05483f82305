"""What is meant by the marks in a prompt. One module each; a new way to write prompts is a new module with a ``PARSER`` in it."""

from foundation import plugins
from zthumb.prompts.base import Parser


def names() -> list[str]:
    """The parsers there are."""
    return plugins.names(__name__)


def get(name: str) -> Parser:
    """The parser called ``name``; ``BadInput`` names the nearest one there is."""
    parser = plugins.get(__name__, name, "PARSER", "prompt parser")
    assert isinstance(parser, Parser)
    return parser
