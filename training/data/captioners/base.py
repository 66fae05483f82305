"""What captioning asks of a model."""

from abc import ABC, abstractmethod
from pathlib import Path

from PIL import Image


class Captioner(ABC):
    """A loaded model that describes images."""

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Load the model in ``folder``; ``BadInput`` when it is not one of this kind."""

    @abstractmethod
    def describe(self, image: Image.Image) -> str:
        """One sentence or list of tags for an RGB ``image``, the same each time."""
