"""What is meant by the marks in a prompt. One module each; a new way to write prompts is a new module with a ``PARSER`` in it."""

from foundation import plugins
from zthumb.generation.prompts.base import Parser


def names() -> list[str]:
    """The parsers there are."""
    return plugins.names(__name__)


def get(name: str) -> Parser:
    """The parser called ``name``; ``BadInput`` names the nearest one there is."""
    parser = plugins.get(__name__, name, "PARSER", "prompt parser")
    assert isinstance(parser, Parser)
    return parser


def foreign_marks(name: str, text: str) -> list[str]:
    """What in ``text`` means nothing to the parser called ``name`` and something to another, a sentence for each."""
    warnings = []
    for other in names():
        for mark in () if other == name else get(other).marks:
            found = mark.search(text)
            if found and not any(own.search(found[0]) for own in get(name).marks):
                warnings.append(
                    f"{found[0][:40]!r} at character {found.start() + 1} means nothing to prompt_parser {name} and is read as "
                    f"words; {other} reads it."
                )
    return warnings
