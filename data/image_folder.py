"""A folder of images as a data set: the declaration. No torch here; hpo.data.folder_images decodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.data.dataset import Dataset
from hpo.data.folder_index import Listing, check, digest_of, index, list_folder
from hpo.errors import StudyError
from hpo.settings import Settings
from hpo.user_code import calling_line

__all__ = ["ImageFolder"]


@dataclass(frozen=True, init=False)
class ImageFolder(Dataset):
    """A folder with one folder of images for each class: PHOTOS/cat/1.jpg. Or the same below train/, val/ and test/.

    path:       of the folder; a relative one is looked for beside the file that says ImageFolder(...)
    size:       pixels a side, or (height, width): images are scaled until they cover it, and cut to its middle
    test:       share of the images kept for `hpo evaluate`, of each class the same; not read where there is test/
    channels:   3 for colour, 1 for grey
    validation: share of the others held out for validation; not read where there is val/
    allow_overlap: go on although an image of test/ is in train/ or val/ too, byte for byte

    Images are decoded once and kept by their content under HPO_HOME. Raises StudyError for a value that is not
    possible; DataError, once the files are needed, for what is wrong with them.
    """

    path: Path = Path()
    test: float = 0.2
    allow_overlap: bool = False
    where: str = ""

    def __init__(
        self,
        path: str | Path,
        size: int | tuple[int, int],
        test: float = 0.2,
        *,
        channels: int = 3,
        validation: float = 0.2,
        allow_overlap: bool = False,
        help: str = "",
    ) -> None:
        height, width = _sides(size)
        if channels not in (1, 3):
            raise StudyError(f"ImageFolder(channels={channels!r}) must be 3 for colour, or 1 for grey")
        _share("test", test)
        _share("validation", validation)
        super().__init__(
            "hpo.data.folder_images:load", (channels, height, width), (), validation, download=False, help=help
        )
        file, line = calling_line()
        own = {
            "path": (Path(file).parent if file else Path.cwd()) / Path(path).expanduser(),
            "test": test,
            "allow_overlap": allow_overlap,
            "where": line,
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)

    @property
    def name(self) -> str:
        _, height, width = self.shape
        size = str(height) if height == width else f"({height}, {width})"
        grey = ", channels=1" if self.shape[0] == 1 else ""
        return f"ImageFolder({self.path.name}, size={size}, test={self.test:g}{grey})"

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._listing().classes

    def for_task(self, task: str) -> Dataset:
        if task != "classification":
            raise StudyError(
                f"{self.name} has the class of each image, and the task is {task}",
                next='bring a loader that returns other targets: Dataset("my_data:load", shape=..., classes=...)',
            )
        return self

    def sources(self) -> Mapping[str, str]:
        return {f"images in {self.path.name}": self._digest(self._listing())}

    def for_trainer(self, name: str) -> dict[str, Any]:
        listing = self._listing()
        fields = {**super().for_trainer(name), "classes": list(listing.classes)}
        options = {"digest": self._digest(listing), "shape": list(self.shape), "test": self.test}
        return {**fields, "fit": "cover", "options": options, "place": {"path": str(self.path), "where": self.where}}

    def _listing(self) -> Listing:
        return list_folder(self.path, self.where)

    def _digest(self, listing: Listing) -> str:
        """Of all images of all splits, which have been checked."""
        files = index(listing, Settings.read().home / "cache")
        check(listing, files, self.where, allow_overlap=self.allow_overlap)
        return digest_of(files)


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    sides: tuple[int, int] = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    if any(isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= 4096 for side in sides):
        raise StudyError(
            f"ImageFolder(size={size!r}) must be whole numbers of pixels, from 1 to 4096",
            next="size=64, or size=(height, width)",
        )
    return sides[0], sides[1]


def _share(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise StudyError(f"ImageFolder({name}={value!r}) must lie between 0 and 1", next=f"{name}=0.2")
