"""Which images a folder holds, of which class and split, and the digest of their content. No torch here.

The digest of each file is kept beside its size and time of change, so that a second look reads no file.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from hpo.atomic_file import write_atomically
from hpo.decoding import decoded
from hpo.errors import DataError, near_miss

__all__ = ["ENDINGS", "ImageFile", "Listing", "check", "digest_of", "index", "list_folder"]

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of the files that are images, in any case; others are left alone, as torchvision's ImageFolder does."""

SPLITS = {"train": "train", "test": "test", "val": "validation", "valid": "validation", "validation": "validation"}
"""The names of folders that divide the images, and what each is for."""

SETTLED_NS = 2_000_000_000
"""A file that changed this shortly before it was read may change again within one tick of the file system's clock."""

SHOWN = 5


@dataclass(frozen=True)
class Listing:
    """folders: for each split ("all" where the folder is not divided) the folder of each class, in any order."""

    root: Path
    classes: tuple[str, ...]
    folders: Mapping[str, Mapping[str, Path]]


class ImageFile(NamedTuple):
    """One image: its split, its class, its path below the folder, and the SHA-256 of its bytes."""

    split: str
    label: str
    path: str
    content: str


def list_folder(root: Path, where: str) -> Listing:
    """The folders of `root`. Raises DataError where they are no data set; `where` is the user's line that names it."""
    if not root.is_dir():
        raise DataError(
            f"{'this is no folder' if root.exists() else 'there is no folder'}: {root}",
            evidence=[where],
            next="check the path; a relative one is looked for beside the file that names it",
        )
    below = _folders(root)
    divided = "train" in below and set(below) <= set(SPLITS) and bool(_folders(below["train"]))
    folders = {SPLITS[name]: _folders(path) for name, path in below.items()} if divided else {"all": below}
    classes = tuple(sorted(folders["train" if divided else "all"]))
    if len(classes) < 2:
        found = f"the only one is {classes[0]}" if classes else "there is none"
        raise DataError(
            f"{root / 'train' if divided else root} needs a folder for each class, at least two: {found}",
            evidence=[where],
            next="put the images of each class into a folder with its name",
        )
    for split, here in folders.items():
        _check_classes(root, split, here, classes, where)
    return Listing(root, classes, folders)


def index(listing: Listing, cache: Path) -> list[ImageFile]:
    """Every image, ordered by split, class and path. `cache` is a folder of ours for what was found before."""
    known_at = cache / f"folder-{hashlib.sha256(os.fsencode(listing.root)).hexdigest()[:24]}.json"
    known, looked = _known(known_at), time.time_ns()
    found = [
        (split, label, path, _status(path))
        for split, classes in sorted(listing.folders.items())
        for label, folder in sorted(classes.items())
        for path in _images(folder)
    ]
    prefix = len(f"{listing.root}{os.sep}")
    names = [path[prefix:] for _, _, path, _ in found]
    facts = [[stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for *_, stat in found]
    new = [at for at, name in enumerate(names) if known.get(name, [None])[:-1] != facts[at]]
    shares = [new[first :: _cores()] for first in range(_cores())]
    with ThreadPoolExecutor(_cores()) as pool:
        done = pool.map(lambda share: [_digest(found[at][2]) for at in share], shares)
        read = {
            at: one for share, digests in zip(shares, done, strict=True) for at, one in zip(share, digests, strict=True)
        }
    contents = [read[at] if at in read else str(known[name][-1]) for at, name in enumerate(names)]
    if new or len(known) > len(names):
        _keep(known_at, names, facts, contents, looked)
    return [
        ImageFile(split, label, name, content)
        for (split, label, *_), name, content in zip(found, names, contents, strict=True)
    ]


def check(listing: Listing, files: Sequence[ImageFile], where: str, *, allow_overlap: bool) -> None:
    """Raise DataError for a class without images, or with too few, and for a test split that is not apart."""
    counts = Counter((file.split, file.label) for file in files)
    for split, folders in sorted(listing.folders.items()):
        for label in listing.classes:
            if not counts[split, label]:
                others = sorted(os.listdir(folders[label]))[:SHOWN]
                raise DataError(
                    f"{folders[label]} has no image",
                    evidence=[f"it holds {', '.join(others)}" if others else "it is empty", where],
                    next=f"put images there ({' '.join(ENDINGS)}), or take the folder out",
                )
    shared = "train" if "train" in listing.folders else "all"
    parts = 1 + ("test" not in listing.folders) + ("validation" not in listing.folders)
    for label in listing.classes:
        different = len({file.content for file in files if file.split == shared and file.label == label})
        if different < parts:
            raise DataError(
                f"class {label} has {different} different images, and each of its {parts} parts needs one",
                evidence=[str(listing.folders[shared][label]), where],
                next="add images of it, or take its folder out",
            )
    _check_same_label(files, where)
    if not allow_overlap:
        _check_apart(files, where)


def digest_of(files: Sequence[ImageFile]) -> str:
    """32 hexadecimal digits over the names and the content of all images."""
    digest = hashlib.sha256()
    for file in files:
        digest.update("\0".join((*file, "")).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _check_classes(root: Path, split: str, here: Mapping[str, Path], classes: Sequence[str], where: str) -> None:
    unknown, missing = sorted(set(here) - set(classes)), sorted(set(classes) - set(here))
    if unknown:
        raise DataError(
            f"the {split} images of {root} have a class that train/ does not have: {unknown[0]}",
            evidence=[near_miss(unknown[0], classes), where],
            next="give it a folder in train/ too, or take it out",
        )
    if missing:
        raise DataError(
            f"the {split} images of {root} lack {len(missing)} of {len(classes)} classes: {', '.join(missing[:SHOWN])}",
            evidence=[where],
            next="give each split images of every class",
        )
    for name in here:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"the name of the class folder {name!r} is not UTF-8", evidence=[where], next="rename it"
            ) from None


def _check_same_label(files: Sequence[ImageFile], where: str) -> None:
    """One image in two classes is a mistake in one of them."""
    first: dict[str, ImageFile] = {}
    wrong = [
        f"{file.path} = {first[file.content].path}"
        for file in files
        if first.setdefault(file.content, file).label != file.label
    ]
    if wrong:
        raise DataError(
            f"{len(wrong)} image{'s are' if len(wrong) > 1 else ' is'} in two classes, byte for byte",
            evidence=[*wrong[:SHOWN], *([f"and {len(wrong) - SHOWN} more"] if len(wrong) > SHOWN else []), where],
            next="keep each in the class that it belongs to",
        )


def _check_apart(files: Sequence[ImageFile], where: str) -> None:
    trained_on = {file.content: file for file in files if file.split != "test"}
    both = [
        f"{file.path} = {trained_on[file.content].path}"
        for file in files
        if file.split == "test" and file.content in trained_on
    ]
    if both:
        raise DataError(
            f"{len(both)} of the test images {'are' if len(both) > 1 else 'is'} trained or validated on too, "
            "byte for byte",
            evidence=[*both[:SHOWN], *([f"and {len(both) - SHOWN} more"] if len(both) > SHOWN else []), where],
            next="take them out of one of the two; allow_overlap=True goes on, and the test accuracy is then too good",
        )


def _folders(folder: Path) -> dict[str, Path]:
    with os.scandir(folder) as entries:
        return {entry.name: Path(entry.path) for entry in entries if entry.is_dir() and entry.name[0] not in "._"}


def _images(folder: Path) -> Iterator[str]:
    """The images in `folder` and below, by path; links are followed, each folder once."""
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (f"{root}{os.sep}{name}" for name in sorted(names) if _is_image(name))


def _is_image(name: str) -> bool:
    return name[0] != "." and name.lower().endswith(ENDINGS)


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _digest(path: str) -> str:
    try:
        with open(path, "rb", buffering=0) as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> DataError:
    return DataError(f"{path} cannot be read: {error.strerror or error}", next="mend it, or take it out")


def _known(path: Path) -> dict[str, list[object]]:
    """name -> [size, time of change, of its status, digest] as found before; what is damaged is not known."""
    try:
        known = decoded(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    rows = known.items() if isinstance(known, dict) else ()
    return {str(name): row for name, row in rows if isinstance(row, list) and len(row) == 4 and len(str(row[3])) == 64}


def _keep(
    path: Path, names: Sequence[str], facts: Sequence[Sequence[int]], contents: Sequence[str], looked: int
) -> None:
    """Only of files that had settled before they were read. A folder that cannot be written costs the next look."""
    rows = {
        name: [*fact, content]
        for name, fact, content in zip(names, facts, contents, strict=True)
        if fact[1] < looked - SETTLED_NS
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(rows))
    except OSError:
        return


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
