"""The interface of a captioning model."""

from abc import ABC, abstractmethod
from pathlib import Path

from PIL import Image


class Captioner(ABC):
    """A loaded model that describes images."""

    @abstractmethod
    def __init__(self, folder: Path) -> None:
        """Load the model in ``folder``; raises ``BadInput`` if it is not of this kind."""

    @abstractmethod
    def describe(self, image: Image.Image) -> str:
        """Return one sentence or list of tags for an RGB ``image``; the same image always gets the same caption."""
