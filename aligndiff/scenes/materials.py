"""What the scenes of a category are made of: known by name, read when it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar, overload

from aligndiff.composition.compose import Ingredients
from aligndiff.composition.instance import Extent, Instance
from aligndiff.composition.paste import Composite
from aligndiff.dataset.images import Uint8

Item = TypeVar("Item")
_KEPT = 64  # items of each kind that a process keeps decoded: 100 MB of 512 px


@dataclass(frozen=True)
class Material(Generic[Item]):
    """Something that can be drawn for a scene.

    Attributes:
        source: what it comes from, as in `PastedRecord`.
        name: unique among those of its source.
        identity: changes when what is read does.
        read: reads it. Raises InputError where that fails.
    """

    source: str
    name: str
    identity: str
    read: Callable[[], Item]


@dataclass(frozen=True)
class Materials:
    """All that the scenes of a category can be made of; real pairs repeat, to be drawn as often."""

    pairs: Sequence[Material[Composite]]
    backgrounds: Sequence[Material[Uint8]]
    others: Sequence[Material[Instance | None]]
    support: Sequence[Extent]

    def identities(self) -> dict[str, list[str]]:
        """What decides the scenes, kind by kind."""
        return {
            "instances": [f"{item.source} {item.name} {item.identity}" for item in self.pairs],
            "backgrounds": [f"{item.name} {item.identity}" for item in self.backgrounds],
            "others": [f"{item.source} {item.name} {item.identity}" for item in self.others],
        }

    def ingredients(self, size: tuple[int, int]) -> Ingredients:
        """The same, to compose scenes of `size` (h, w) from."""
        return Ingredients(
            pairs=ReadWhenDrawn(self.pairs),
            backgrounds=ReadWhenDrawn(self.backgrounds),
            others=ReadWhenDrawn(self.others),
            support=self.support,
            size=size,
        )


class ReadWhenDrawn(Sequence[Item]):
    """The items of materials; the last ones that were read are kept."""

    def __init__(self, materials: Sequence[Material[Item]]) -> None:
        self.materials = materials
        self._read = lru_cache(maxsize=_KEPT)(lambda at: self.materials[at].read())

    def __len__(self) -> int:
        return len(self.materials)

    @overload
    def __getitem__(self, at: int) -> Item: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Item]: ...
    def __getitem__(self, at: int | slice) -> Item | Sequence[Item]:
        if isinstance(at, slice):
            return ReadWhenDrawn(self.materials[at])
        item: Item = self._read(at)
        return item
