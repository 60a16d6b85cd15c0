"""Every row of DATASETS keeps its contract, and what happens to files that are missing, damaged or cannot be written.

With HPO_DATA_DIR set the contract also runs over the real files found there; without it, over tiny generated ones.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hpo.data.cifar
import hpo.data.mnist
from hpo.data import DATASETS
from hpo.data.files import Folders, RawImages, Split
from hpo.data.load import load_split
from hpo.data.source import SourceFile, read_sources
from hpo.errors import DataError, StudyError
from hpo.testing import check_dataset

TABLES: dict[str, dict[Split, tuple[SourceFile, ...]]] = {
    "mnist": hpo.data.mnist.MNIST_FILES,  # type: ignore[dict-item]
    "fashion_mnist": hpo.data.mnist.FASHION_MNIST_FILES,  # type: ignore[dict-item]
    "cifar10": hpo.data.cifar.CIFAR10_FILES,
}
REAL = os.environ.get("HPO_DATA_DIR")
SIZES = {"train": 20, "test": 10}


def load(name: str, split: Split, folders: Folders) -> RawImages:
    row = DATASETS[name]
    return load_split(name, row.loader, split, folders, row.shape, len(row.classes))


def idx(values: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    return b"\0\0\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}i", *values.shape) + values.tobytes()


@dataclass
class Tiny:
    """Tiny files in torchvision's layout; their checksums stand in for the published ones."""

    root: Path
    patch: pytest.MonkeyPatch

    def write(self, file: SourceFile, content: bytes) -> SourceFile:
        path = self.root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        stored = gzip.compress(content) if file.path.endswith(".gz") else content
        path.write_bytes(stored)
        unpacked = hashlib.md5(content).hexdigest() if file.path.endswith(".gz") else None
        return replace(file, md5=hashlib.md5(stored).hexdigest(), unpacked_md5=unpacked)

    def build(self) -> None:
        random = np.random.default_rng(0)
        for name, table in TABLES.items():
            for split, files in table.items():
                labels = np.arange(SIZES[split], dtype=np.uint8) % 10
                if name == "cifar10":
                    rows = random.integers(0, 256, (SIZES[split], 3072), dtype=np.uint8)
                    share = SIZES[split] // len(files)
                    parts = [slice(start, start + share) for start in range(0, SIZES[split], share)]
                    contents = [pickle.dumps({"data": rows[at], "labels": labels[at].tolist()}) for at in parts]
                else:
                    contents = [idx(random.integers(0, 256, (SIZES[split], 28, 28), dtype=np.uint8)), idx(labels)]
                written = tuple(self.write(file, content) for file, content in zip(files, contents, strict=True))
                self.patch.setitem(table, split, written)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiny:
    made = Tiny(tmp_path / "source", monkeypatch)
    made.build()
    return made


@pytest.fixture
def folders(tiny: Tiny, tmp_path: Path) -> Folders:
    return Folders(source=tiny.root, cache=tmp_path / "home" / "data")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr("torchvision.datasets.utils.download_url", refuse)
    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", refuse)


@dataclass
class Opened:
    """The files Python opens while `on`. An audit hook cannot be removed, so there is one for the whole run."""

    on: bool = False
    names: list[str] | None = None

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and event == "open" and self.names is not None:
            self.names.append(str(arguments[0]))


OPENED = Opened()
sys.addaudithook(OPENED)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    OPENED.names = []
    OPENED.on = True
    yield OPENED.names
    OPENED.on = False


def decoding_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("decoded again")

    for target in ("hpo.data.mnist.read_sources", "hpo.data.cifar.read_sources", "hpo.data.digits._decode"):
        monkeypatch.setattr(target, fail)


# ---- the contract of every row -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_keeps_the_contract(name: str, folders: Folders) -> None:
    """What hpo.testing.check_dataset says."""
    check_dataset(name, folders)


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_comes_from_the_cache_the_second_time(
    name: str, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoded once, then the same images, labels and checksum without the source."""
    first = load(name, "train", folders)
    decoding_fails(monkeypatch)
    again = load(name, "train", Folders(source=None, cache=folders.cache))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert first.checksum == again.checksum


@pytest.mark.parametrize("name", DATASETS)
def test_the_splits_are_files_of_their_own(name: str, folders: Folders) -> None:
    """Each has one cached file."""
    load(name, "train", folders)
    load(name, "test", folders)
    cached = sorted(path.name for path in folders.cache.glob("*.safetensors"))
    assert cached == [f"{name}-test.safetensors", f"{name}-train.safetensors"]


@pytest.mark.parametrize("name", TABLES)
def test_loading_train_never_opens_the_test_files(name: str, folders: Folders, opened: list[str]) -> None:
    """The search cannot have seen the test split: no file of it is opened, cached or not."""
    load(name, "train", folders)
    load(name, "train", folders)
    names = [Path(path).name for path in opened]  # the folders above are the test's own
    assert any("train" in name or "data_batch" in name for name in names)
    assert not [name for name in names if "t10k" in name or "test_batch" in name or "-test" in name]


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.skipif(not REAL, reason="HPO_DATA_DIR is not set")
def test_the_real_files_are_the_published_data_set(
    name: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes and content of the real files, equal to what torchvision decodes."""
    folders = Folders(Path(str(REAL)), tmp_path_factory.mktemp("cache"))
    sizes = {"mnist": (60000, 10000), "fashion_mnist": (60000, 10000), "cifar10": (50000, 10000), "digits": (1437, 360)}
    train, test = load(name, "train", folders), load(name, "test", folders)
    check_dataset(name, folders)
    assert (len(train.labels), len(test.labels)) == sizes[name]
    decoding_fails(monkeypatch)
    assert load(name, "test", folders).checksum == test.checksum
    if name == "cifar10":
        from torchvision.datasets import CIFAR10

        reference = CIFAR10(str(REAL), train=False)
        assert torch.equal(test.images, torch.from_numpy(reference.data).permute(0, 3, 1, 2))
        assert test.labels.tolist() == reference.targets


def test_the_published_checksums_are_torchvisions() -> None:
    """Our tables agree with the installed torchvision's."""
    from torchvision.datasets import CIFAR10, MNIST, FashionMNIST

    for table, kind in ((hpo.data.mnist.MNIST_FILES, MNIST), (hpo.data.mnist.FASHION_MNIST_FILES, FashionMNIST)):
        ours = {(Path(file.path).name, file.md5) for files in table.values() for file in files}
        assert ours == set(kind.resources)
    published = {"train": CIFAR10.train_list, "test": CIFAR10.test_list}
    for split, files in hpo.data.cifar.CIFAR10_FILES.items():
        assert [[Path(file.path).name, file.md5] for file in files] == published[split]


def test_the_digits_never_change() -> None:
    """Their split is part of the data set: these checksums hold on every machine and version."""
    no_cache = Folders(source=None, cache=Path("/dev/null/none"))
    assert (
        load("digits", "train", no_cache).checksum == "234ac9c245650b09eb84ee0c88c836d2c37fc656de5543f0529fc4c0982249f6"
    )
    assert (
        load("digits", "test", no_cache).checksum == "5f2bfca7525d57a04407b25e7d1f40475c376e9894c7cfd535809102970506df"
    )


# ---- the cache -----------------------------------------------------------------------------------------------------


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def change_a_pixel(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_text(path: Path) -> None:
    path.write_text("not a tensor")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut_short, change_a_pixel, replace_by_text, empty])
def test_a_damaged_cache_is_made_anew(
    harm: Callable[[Path], None], folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torn or altered, the cached file is noticed and rebuilt from the source."""
    checksum = load("mnist", "train", folders).checksum
    harm(folders.cache / "mnist-train.safetensors")
    assert load("mnist", "train", folders).checksum == checksum
    decoding_fails(monkeypatch)
    assert load("mnist", "train", folders).checksum == checksum


def test_a_cache_of_another_version_is_made_anew(folders: Folders, tiny: Tiny) -> None:
    """What was decoded from other source files is not taken for these."""
    before = load("mnist", "train", folders).checksum
    images, labels = hpo.data.mnist.MNIST_FILES["train"]
    blank = tiny.write(images, idx(np.zeros((20, 28, 28), dtype=np.uint8)))
    tiny.patch.setitem(hpo.data.mnist.MNIST_FILES, "train", (blank, labels))
    after = load("mnist", "train", folders)
    assert after.checksum != before
    assert not after.images.any()


def test_a_cached_data_set_needs_neither_torchvision_nor_sklearn(folders: Folders) -> None:
    """Loading from the cache imports neither: a trainer starts in milliseconds."""
    for name in ("mnist", "digits"):
        load(name, "train", folders)
    program = (
        "import sys; from pathlib import Path; from hpo.data.files import Folders, cached\n"
        f"folders = Folders(None, Path({str(folders.cache)!r}))\n"
        "from hpo.data import digits, mnist, cifar; from hpo.data.load import load_split\n"
        "digits.load('train', folders)\n"
        "from dataclasses import replace\n"
        f"mnist.MNIST_FILES['train'] = tuple(replace(f, md5=m) for f, m in zip(mnist.MNIST_FILES['train'], "
        f"{[file.md5 for file in hpo.data.mnist.MNIST_FILES['train']]!r}))\n"
        "mnist.load_mnist('train', folders)\n"
        "assert not {'torchvision', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


def test_two_workers_decode_once(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first at the lock and then reads the cache."""
    decodings: list[int] = []
    decode, both = read_sources, threading.Barrier(2)

    def counted(*arguments: Any) -> list[bytes]:
        decodings.append(1)
        return decode(*arguments)

    def work() -> None:
        both.wait()
        load("mnist", "train", folders)

    monkeypatch.setattr("hpo.data.mnist.read_sources", counted)
    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(decodings) == 1


def test_a_cache_that_cannot_be_made_costs_speed_only(folders: Folders, tmp_path: Path) -> None:
    """A cache path that cannot be a folder: the split is decoded in memory."""
    (tmp_path / "file").write_text("")
    loaded = load("mnist", "train", Folders(folders.source, tmp_path / "file" / "cache"))
    assert loaded.checksum == load("mnist", "train", folders).checksum


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_disk_costs_speed_only(number: int, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the cached file cannot be finished, nothing half-written is left and the images are still there."""

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hpo.data.files.os.replace", fail)
    assert len(load("mnist", "train", folders).labels) == SIZES["train"]
    assert [path.name for path in folders.cache.iterdir() if not path.name.endswith(".lock")] == []


# ---- the source ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_nothing_is_written_to_the_source(name: str, folders: Folders, tiny: Tiny) -> None:
    """HPO_DATA_DIR may be shared and read-only."""
    before = sorted((path, path.stat().st_mtime_ns) for path in tiny.root.rglob("*"))
    load(name, "train", folders)
    load(name, "test", folders)
    assert sorted((path, path.stat().st_mtime_ns) for path in tiny.root.rglob("*")) == before


def test_unpacked_files_are_as_good_as_packed_ones(folders: Folders, tiny: Tiny, tmp_path: Path) -> None:
    """torchvision leaves both forms behind; either alone is enough."""
    packed = load("mnist", "train", folders)
    for path in tiny.root.rglob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    unpacked = load("mnist", "train", Folders(tiny.root, tmp_path / "another"))
    assert unpacked.checksum == packed.checksum


@pytest.mark.parametrize("name", TABLES)
def test_an_altered_source_file_is_named_with_both_checksums(name: str, folders: Folders, tiny: Tiny) -> None:
    """The error names the file, the checksum expected and the one found; nothing is decoded or unpickled."""
    file = TABLES[name]["train"][0]
    path = tiny.root / file.path
    path.write_bytes(b"\x80cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(DataError) as caught:
        load(name, "train", folders)
    text = str(caught.value)
    assert str(path) in text
    assert file.md5 in text
    assert hashlib.md5(path.read_bytes()).hexdigest() in text
    assert "next:" in text


@pytest.mark.parametrize("source", [True, False])
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.usefixtures("offline")
def test_missing_files_without_a_network_say_what_to_do(name: str, source: bool, folders: Folders) -> None:
    """The error names the files, the folder, HPO_DATA_DIR, and the study that needs no download."""
    wanted = Folders(folders.cache.parent / "elsewhere" if source else None, folders.cache)
    with pytest.raises(DataError) as caught:
        load(name, "train", wanted)
    text = str(caught.value)
    for file in TABLES[name]["train"]:
        assert file.path in text
    assert str(wanted.source or wanted.cache) in text
    assert "HPO_DATA_DIR" in text
    assert "mlp_digits" in text
    assert "Network is unreachable" in text


def test_a_download_that_finds_no_room_says_so(folders: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is not reported as a network problem."""

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("torchvision.datasets.utils.download_url", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        load("mnist", "train", Folders(None, folders.cache))
    assert str(folders.cache) in str(caught.value)


def test_missing_files_are_downloaded_into_the_cache(
    folders: Folders, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By torchvision, only the wanted split's files, once; a damaged earlier download is fetched again."""
    fetched = []

    def fetch(url: str, root: str, filename: str, md5: str) -> None:
        if url.startswith("https://ossci"):
            raise RuntimeError("the first mirror is away")
        fetched.append(filename)
        Path(root).mkdir(parents=True, exist_ok=True)
        (Path(root) / filename).write_bytes((tiny.root / "MNIST/raw" / filename).read_bytes())

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetch)
    empty_source = Folders(None, folders.cache)
    torn = folders.cache / hpo.data.mnist.MNIST_FILES["train"][0].path
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"half")
    checksum = load("mnist", "train", empty_source).checksum
    assert fetched == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    (folders.cache / "mnist-train.safetensors").unlink()
    assert load("mnist", "train", empty_source).checksum == checksum
    assert len(fetched) == 2


def test_a_file_that_is_not_idx_is_refused(folders: Folders, tiny: Tiny) -> None:
    """A header that does not fit the content is an error, not a wrong picture."""
    images, labels = hpo.data.mnist.MNIST_FILES["train"]
    for content in (b"", b"\0\0\x08\x03", b"\0\0\x0d\x01" + bytes(40), idx(np.zeros((3, 28, 28), np.uint8))[:-1]):
        tiny.patch.setitem(hpo.data.mnist.MNIST_FILES, "train", (tiny.write(images, content), labels))
        with pytest.raises(DataError, match="not an idx file"):
            load("mnist", "train", folders)


# ---- loaders of others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64)", "images are torch.float32"),
        ("torch.zeros(4, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)", "images are torch.uint8"),
        ("torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)", "labels are torch.int64 [3]"),
        ("torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.full((4,), 10)", "labels run from 10 to 10"),
        ("torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)", "there are no images"),
    ],
)
def test_a_loader_that_breaks_its_rows_promise_is_refused(
    body: str, message: str, tmp_path: Path, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shape, type and label range are checked before any training."""
    imports = "import torch\nfrom hpo.data.files import RawImages\n"
    function = f"def load(split, folders):\n    return RawImages({body}, '')\n"
    (tmp_path / "loader_of_a_user.py").write_text(imports + function)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "loader_of_a_user", raising=False)
    with pytest.raises(DataError) as caught:
        load_split("mine", "loader_of_a_user:load", "train", folders, (1, 8, 8), 10)
    assert message in str(caught.value)


def test_a_loader_that_cannot_be_imported_is_a_study_error(folders: Folders) -> None:
    """The reference is quoted."""
    with pytest.raises(StudyError, match="no_such_loader:load"):
        load_split("mine", "no_such_loader:load", "train", folders, (1, 8, 8), 10)
