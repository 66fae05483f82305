"""The kinds of numbers that GGUF files hold, and which of them can be written here."""

from types import MappingProxyType

from foundation.errors import BadInput
from foundation.plugins import suggestion

WRITTEN = MappingProxyType({name.lower(): name for name in ("F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")})
"""What ``zthumb convert gguf`` writes, as a person types it → as the format calls it; the finest first."""

_KNOWN_ELSEWHERE = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")


def check(name: str) -> str:
    """The format's name of a type that can be written; ``BadInput`` says what can, and what writes the others."""
    if name.lower() in WRITTEN:
        return WRITTEN[name.lower()]
    plain = name.upper().removesuffix("_M").removesuffix("_S").removesuffix("_L")
    if plain in _KNOWN_ELSEWHERE:
        raise BadInput(
            f"--type {name}: is read but not written here: the gguf package has no encoder for it. stable-diffusion.cpp writes "
            f"it (`sd -M convert --type {plain.lower()}`). Written here: {', '.join(WRITTEN)}."
        )
    raise BadInput(f"--type {name}: no such type. {suggestion(name.lower(), list(WRITTEN))}")
