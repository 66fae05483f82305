"""An adapter in, images out: model families, LoRA files, backends, the inference server, and ``TextToImage``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zthumb.text_to_image import OutputImage, TextToImage

__all__ = ["OutputImage", "TextToImage"]


def __getattr__(name: str) -> Any:
    # Whoever imports a module below this package does not wait for what generates images.
    if name in __all__:
        from zthumb import text_to_image

        return getattr(text_to_image, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
