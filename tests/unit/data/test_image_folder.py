"""ImageFolder: which files are which images, what is refused and how, and what a job says of them."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from hpo.data import ImageFolder, RawImages
from hpo.data.files import Folders
from hpo.data.folder_index import index, list_folder
from hpo.data.load import load_split, loader_options
from hpo.data.pixels import fitted
from hpo.errors import DataError, HpoError, StudyError
from hpo.messages import Job, Protocol
from hpo.training.train_val_split import DataCache

Fill = Callable[..., Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HPO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def photos(tmp_path: Path, home: Path) -> Path:
    """Two classes of ten images each; names have spaces."""
    root = tmp_path / "my photos"
    fill(root / "black cat", 10)
    fill(root / "dog", 10, start=10)
    return root


def fill(folder: Path, count: int, *, start: int = 0, size: tuple[int, int] = (12, 10), ending: str = "png") -> Path:
    """`count` images of noise, different for each number from `start` on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(start, start + count):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image {number}.{ending}")
    return folder


def load(folder: ImageFolder, split: Any, home: Path) -> RawImages:
    job = folder.for_trainer(folder.name)
    folders = Folders(None, home / "cache")
    return load_split(
        folder.name, folder.loader, split, folders, folder.shape, len(job["classes"]), loader_options(job)
    )


def refused(call: Callable[[], object], *words: str) -> HpoError:
    with pytest.raises(DataError) as caught:
        call()
    assert not [word for word in words if word not in str(caught.value)], str(caught.value)
    return caught.value


def test_classes_are_folders_and_both_splits_have_all_of_them(photos: Path, home: Path) -> None:
    folder = ImageFolder(photos, size=8, test=0.2)
    train, test = load(folder, "train", home), load(folder, "test", home)
    assert folder.class_names == ("black cat", "dog")
    assert train.images.shape == (16, 3, 8, 8)
    assert Counter(train.labels.tolist()) == {0: 8, 1: 8}
    assert Counter(test.labels.tolist()) == {0: 2, 1: 2}
    together = torch.cat([train.images, test.images]).flatten(1)
    assert len(together.unique(dim=0)) == 20, "an image is in both splits, or in none"


def test_images_are_those_of_torchvisions_transforms(photos: Path, home: Path) -> None:
    """Scaled until they cover the size, and cut to the middle."""
    train = load(ImageFolder(photos, size=(6, 8)), "train", home)
    transform = v2.Compose([v2.PILToTensor(), v2.Resize((7, 8), antialias=True), v2.CenterCrop((6, 8))])
    theirs = [transform(Image.open(path)) for path in sorted(photos.rglob("*.png"))]
    found = [min(int((ours.int() - one.int()).abs().max()) for one in theirs) for ours in train.images]
    assert max(found) <= 1  # rounding in another order


def test_a_second_load_decodes_nothing(photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ImageFolder(photos, size=8)
    first = load(folder, "train", home)
    monkeypatch.setattr("hpo.data.folder_images._decoded", lambda *_: pytest.fail("it decoded again"))
    moved = photos.rename(photos.with_name("elsewhere"))
    again = load(ImageFolder(moved, size=8), "train", home)
    assert torch.equal(first.images, again.images)


def test_a_second_look_reads_no_file(photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in photos.rglob("*.png"):
        os.utime(path, (1, 1))  # settled long ago
    before = ImageFolder(photos, size=8).sources()
    monkeypatch.setattr("hpo.data.folder_index._digest", lambda path: pytest.fail(f"{path} was read again"))
    assert ImageFolder(photos, size=8).sources() == before


def test_a_file_that_has_just_changed_is_read_again(photos: Path, home: Path) -> None:
    """Of the same size, within a tick of the file system's clock: only its content tells."""
    before = ImageFolder(photos, size=8).sources()
    path = next(photos.rglob("*.png"))
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert ImageFolder(photos, size=8).sources() != before


def test_files_that_are_no_images_are_left_alone(photos: Path, home: Path) -> None:
    (photos / "dog" / ".DS_Store").write_bytes(b"x")
    (photos / "dog" / "notes.txt").write_text("x")
    (photos / ".git").mkdir()
    fill(photos / "dog" / "more", 1, start=50)
    listing = list_folder(photos, "")
    assert listing.classes == ("black cat", "dog")
    assert len(index(listing, home / "cache")) == 21


def test_a_folder_that_is_linked_into_itself_is_walked_once(photos: Path, home: Path) -> None:
    (photos / "dog" / "again").symlink_to(photos / "dog")
    assert len(index(list_folder(photos, ""), home / "cache")) == 20


def test_grey_and_transparent_images(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert fitted(tmp_path / "clear.png", (3, 4, 4)).max() == 0  # transparent is black
    Image.new("RGB", (4, 4), (255, 255, 255)).save(tmp_path / "white.png")
    assert fitted(tmp_path / "white.png", (1, 4, 4)).tolist() == [[[255] * 4] * 4]


def test_an_image_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (40, 40)), Image.Exif()
    image.paste((255, 255, 255), (0, 0, 40, 20))  # bright above
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    pixels = fitted(tmp_path / "turned.jpg", (3, 40, 40))
    assert pixels[:, :, 30:].min() > 200
    assert pixels[:, :, :10].max() < 50


def test_broken_files_are_named_all_at_once(photos: Path, home: Path) -> None:
    (photos / "dog" / "torn image.png").write_bytes((photos / "dog" / "image 11.png").read_bytes()[:60])
    (photos / "black cat" / "text.jpg").write_text("not an image")
    Image.new("I;16", (4, 4)).save(photos / "dog" / "deep.png")
    for share in (0.1, 0.5, 0.9):  # wherever they come to lie: those of the test part were found after the search
        with pytest.raises(DataError) as caught:
            load(ImageFolder(photos, size=8, test=share), "train", home)
        said = str(caught.value)
        assert re.search(r"3 of \d+ files are no image that can be read", said)
        assert all(name in said for name in ("torn image.png", "text.jpg", "deep.png", "test_image_folder.py, line"))
        assert "next: mend them or take them out" in said


def test_the_test_images_are_ready_once_the_train_images_are(
    photos: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were decoded together."""
    folder = ImageFolder(photos, size=8, test=0.2)
    load(folder, "train", home)
    monkeypatch.setattr("hpo.data.folder_images._decoded", lambda *_: pytest.fail("decoded again"))
    assert len(load(folder, "test", home).labels) > 0


def test_copies_of_an_image_stay_on_one_side(photos: Path, home: Path) -> None:
    for number in range(5):
        shutil.copy(photos / "dog" / "image 11.png", photos / "dog" / f"copy {number}.png")
    folder = ImageFolder(photos, size=8, test=0.3)
    train, test = (load(folder, split, home).images.flatten(1).tolist() for split in ("train", "test"))
    assert not [image for image in test if image in train]


def test_the_files_of_the_test_split_are_in_its_order(photos: Path, home: Path) -> None:
    """A number in it is a file's name; a folder that has changed since has none."""
    folder = ImageFolder(photos, size=8, test=0.3)
    job = Job(0, 0, {}, Protocol(1, ("val_loss",)), {}, folder.for_trainer(folder.name), 0)
    data = DataCache(Folders(None, home / "cache"), torch.device("cpu"))
    names, tested = data.test_files(job), load(folder, "test", home).images
    assert len(names) == len(tested) == 6
    for name, image in zip(names, tested, strict=True):
        assert np.array_equal(image.numpy(), fitted(photos / name, (3, 8, 8)))
    (photos / names[0]).unlink()
    assert data.test_files(job) == []
    assert data.test_files(replace(job, dataset={"loader": "hpo.data.digits:load"})) == []


def test_own_folders_for_train_val_and_test(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "divided"
    for at, split in enumerate(("train", "val", "test")):
        for label, name in enumerate(("a", "b")):
            fill(root / split / name, 4 - at, start=100 * at + 10 * label)
    folder = ImageFolder(root, size=8)
    train, test = load(folder, "train", home), load(folder, "test", home)
    assert len(train.labels) == 2 * (4 + 3)
    assert train.validation is not None
    assert int(train.validation.sum()) == 2 * 3
    assert len(test.labels) == 2 * 2
    assert test.validation is None
    again = load(folder, "train", home)  # from the cache
    assert again.validation is not None
    assert torch.equal(again.validation, train.validation)


def test_a_class_called_train_is_a_class(tmp_path: Path, home: Path) -> None:
    fill(tmp_path / "vehicles" / "train", 5)
    fill(tmp_path / "vehicles" / "bus", 5, start=5)
    assert ImageFolder(tmp_path / "vehicles", size=8).class_names == ("bus", "train")


def test_a_relative_path_is_looked_for_beside_the_file_that_names_it() -> None:
    assert ImageFolder("photos", size=8).path == Path(__file__).parent / "photos"


def test_the_folder_of_a_host_is_in_no_key(photos: Path, home: Path, tmp_path: Path) -> None:
    def key(path: Path, size: int = 8) -> str:
        folder = ImageFolder(path, size=size)
        return Job(0, 0, {}, Protocol(1, ("val_loss",)), {}, folder.for_trainer(folder.name), 0).key

    copy = shutil.copytree(photos, tmp_path / "other host" / photos.name)
    assert key(photos) == key(copy)
    assert key(photos, 9) != key(photos)
    fill(copy / "dog", 1, start=70)
    assert key(photos) != key(copy)


def test_what_is_wrong_with_a_folder_is_told_at_the_users_line(photos: Path, home: Path, tmp_path: Path) -> None:
    here = "test_image_folder.py, line"

    def of(path: Path, **more: Any) -> Callable[[], object]:
        return lambda: ImageFolder(path, size=8, **more).sources()

    refused(of(tmp_path / "nowhere"), "there is no folder", here, "next: check the path")
    refused(of(next(photos.rglob("*.png"))), "this is no folder", here)
    fill(tmp_path / "single" / "cat", 3)
    refused(of(tmp_path / "single"), "at least two: the only one is cat", here)
    refused(of(photos / "dog"), "at least two: there is none", here)
    (photos / "bird").mkdir()
    refused(of(photos), f"{photos / 'bird'} has no image", "it is empty", here)
    (photos / "bird" / "a.txt").write_text("x")
    refused(of(photos), "it holds a.txt", here)
    shutil.copy(photos / "dog" / "image 11.png", photos / "bird" / "1.png")
    refused(of(photos), "class bird has 1 different images, and each of its 3 parts needs one", here)
    fill(photos / "bird", 3, start=30)
    refused(of(photos), "1 image is in two classes", "image 11.png", here)
    (photos / "bird" / "1.png").unlink()
    (photos / "bird" / "gone.png").symlink_to("nothing")
    refused(of(photos), "gone.png cannot be read: No such file")


def test_splits_of_folders_have_the_same_classes_and_no_image_in_common(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "divided"
    for at, split in enumerate(("train", "test")):
        for label, name in enumerate(("cat", "dog")):
            fill(root / split / name, 4, start=100 * at + 10 * label)
    folder = ImageFolder(root, size=8)
    assert folder.sources()
    shutil.copy(root / "train" / "dog" / "image 11.png", root / "test" / "dog" / "leak.png")
    refused(folder.sources, "1 of the test images is trained or validated on too", "leak.png = train/dog/image 11.png")
    assert ImageFolder(root, size=8, allow_overlap=True).sources()
    (root / "test" / "dog").rename(root / "test" / "dogs")
    refused(folder.sources, "a class that train/ does not have: dogs", "did you mean", "dog")
    shutil.rmtree(root / "test" / "dogs")
    refused(folder.sources, "lack 1 of 2 classes: dog")


def test_a_folder_that_changed_since_the_study_started_is_not_loaded(photos: Path, home: Path) -> None:
    folder = ImageFolder(photos, size=8)
    job = folder.for_trainer(folder.name)
    fill(photos / "dog", 1, start=60)
    folders = Folders(None, home / "cache")
    refused(
        lambda: load_split("photos", folder.loader, "train", folders, folder.shape, 2, loader_options(job)),
        "have changed since the study was started",
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0}, "size=0"),
        ({"size": (8, 8, 8)}, "size=(8, 8, 8)"),
        ({"size": 8.5}, "size=8.5"),
        ({"size": 8, "test": 1}, "test=1"),
        ({"size": 8, "test": "a"}, "test='a'"),
        ({"size": 8, "validation": 0.0}, "validation=0.0"),
        ({"size": 8, "channels": 4}, "channels=4"),
    ],
)
def test_an_impossible_value_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(StudyError, match="ImageFolder") as caught:
        ImageFolder("photos", **options)
    assert said in str(caught.value)
