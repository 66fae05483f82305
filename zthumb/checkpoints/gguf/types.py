"""The quantization types of GGUF files, and which of them can be written."""

from types import MappingProxyType

from foundation.errors import BadInput
from foundation.plugins import suggestion

WRITTEN = MappingProxyType({name.lower(): name for name in ("F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")})
"""The types that ``zthumb convert gguf`` writes: as the user types them → as the format calls them; most precise first."""

_ONLY_READ = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS")


def parse_type(name: str) -> str:
    """Return the format's name of a type that can be written; ``BadInput`` lists these, and says what writes the others."""
    if name.lower() in WRITTEN:
        return WRITTEN[name.lower()]
    plain = name.upper().removesuffix("_M").removesuffix("_S").removesuffix("_L")
    if plain in _ONLY_READ:
        raise BadInput(
            f"--type {name}: can be read but not written: the gguf package has no encoder for it. stable-diffusion.cpp writes "
            f"it (`sd -M convert --type {plain.lower()}`). Types that can be written: {', '.join(WRITTEN)}."
        )
    raise BadInput(f"--type {name}: no such type. {suggestion(name.lower(), list(WRITTEN))}")
