"""Captions in Chinese for the scenes of the world: several orders of their parts, the usual left out as in English."""

import itertools
import random
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from miniature.captions import MENTION_UNUSUAL, MENTION_USUAL, sometimes
from miniature.world import Scene

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "red": "红色",
        "orange": "橙色",
        "yellow": "黄色",
        "green": "绿色",
        "cyan": "青色",
        "blue": "蓝色",
        "purple": "紫色",
        "pink": "粉色",
        "white": "白色",
        "black": "黑色",
    }
)
SHAPES: Mapping[str, str] = MappingProxyType(
    {
        "circle": "圆形",
        "square": "正方形",
        "triangle": "三角形",
        "star": "星星",
        "heart": "心形",
        "diamond": "菱形",
        "cross": "十字",
        "ring": "圆环",
    }
)
"""A shape with an invented name keeps it: such words are written in Latin letters in Chinese, too."""

_SIZES: Mapping[str, Sequence[str]] = MappingProxyType(
    {"small": ("小的", "很小的"), "medium": ("中等的",), "large": ("大的", "很大的")}
)
_POSITIONS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "center": ("在中间", "在中央"),
        "left": ("在左边", "在左侧"),
        "right": ("在右边", "在右侧"),
        "top": ("在上方", "在顶部"),
        "bottom": ("在下方", "在底部"),
    }
)
_TEXTURES: Mapping[str, str] = MappingProxyType({"plain": "", "striped": "条纹", "dotted": "圆点", "checkered": "格子"})
_FILLS: Mapping[str, str] = MappingProxyType(
    {"striped": "条纹", "dotted": "圆点", "checkered": "格子", "wavy": "波浪", "bordered": "镶边"}
)
MEDIA: Mapping[str, str] = MappingProxyType(
    {"photo": "照片", "drawing": "图画", "poster": "海报", "sketch": "素描", "sticker": "贴纸", "stencil": "模板"}
)
_OTHERS = ("一张", "背景", "上", "的", "一半", "和", "，")


def full_caption(scene: Scene) -> str:
    """Return the plain caption that names every attribute: 一张照片，蓝色背景上的大的红色星星，在中间."""
    subject = f"{_SIZES[scene.size][0]}{_colours(scene)}{_noun(scene)}"
    return f"一张{MEDIA[scene.medium]}，{_background(scene)}上的{subject}，{_POSITIONS[scene.position][0]}"


def random_caption(scene: Scene, rng: random.Random) -> str:
    """Return a caption in a random order; each attribute may be left out, as in English."""
    size = sometimes(rng, MENTION_USUAL if scene.size == "medium" else MENTION_UNUSUAL, rng.choice(_SIZES[scene.size]))
    position = sometimes(
        rng, MENTION_USUAL if scene.position == "center" else MENTION_UNUSUAL, rng.choice(_POSITIONS[scene.position])
    )
    medium = sometimes(rng, 0.7, f"一张{MEDIA[scene.medium]}")
    background = sometimes(rng, 0.92, _background(scene))
    subject = f"{size}{sometimes(rng, 0.94, _colours(scene))}{_noun(scene)}"
    on_background = f"{background}上的{subject}" if background else subject
    order = rng.choice(_ORDERS)
    parts = {"medium": medium, "position": position, "subject": subject, "background": background, "scene": on_background}
    return "，".join(part for name in order if (part := parts[name]))


def vocabulary() -> list[str]:
    """Return every word that a caption can contain, in a fixed order."""
    words = itertools.chain(
        COLOURS.values(),
        SHAPES.values(),
        *_SIZES.values(),
        *_POSITIONS.values(),
        _FILLS.values(),
        MEDIA.values(),
        _OTHERS,
    )
    return sorted({word for word in words if word})


_ORDERS: Sequence[Sequence[str]] = (
    ("medium", "scene", "position"),
    ("medium", "scene", "position"),
    ("scene", "position", "medium"),
    ("scene", "position"),
    ("background", "subject", "position", "medium"),
    ("subject", "position", "background"),
)


def _background(scene: Scene) -> str:
    return f"{COLOURS[scene.background]}{_TEXTURES[scene.texture]}背景"


def _noun(scene: Scene) -> str:
    return SHAPES.get(scene.shape, scene.shape)


def _colours(scene: Scene) -> str:
    """The object's colours, as in 红色, 红色和白色条纹 or 一半红色一半白色, each ready for a noun."""
    colour, second = COLOURS[scene.colour], COLOURS[scene.second]
    if scene.fill == "plain":
        return colour
    if scene.fill == "halved":
        return f"一半{colour}一半{second}的"
    return f"{colour}和{second}{_FILLS[scene.fill]}的"
