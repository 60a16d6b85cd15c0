"""Whether test samples are among those trained on, by their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from torch.utils.data import ConcatDataset, Subset

from hpo.data.files import RawImages
from hpo.data.sample_workers import BatchRequest
from hpo.data.samples import Samples, named
from hpo.data.streamed_set import StreamedSet

__all__ = ["overlap"]

MOST = 64
"""So many samples of a torch Dataset, evenly spread over each split, are compared where their files are not known."""

Split = RawImages | Samples | StreamedSet


def overlap(dataset: Mapping[str, Any], train: Split, test: Split) -> str:
    """How many samples of `test` have the inputs of one in `train`, as a sentence; "" for none.

    dataset: of a job. The data sets that come with hpo, folders of images and tables look by themselves.
    """
    if str(dataset["loader"]).startswith("hpo."):
        return ""
    what, of = "test samples", len(test.labels)
    if isinstance(train, StreamedSet) and isinstance(test, StreamedSet):
        there, here = _files(train.plain), _files(test.plain)
        if not there or not here:
            there, here = _some(train), _some(test)
            of = len(here)
            what = "test samples that were compared"
    else:
        there, here = _contents(train), _contents(test)
    known = set(there)
    both = [number for number, content in enumerate(here) if content in known]
    if not both:
        return ""
    first = ", ".join(map(str, both[:3])) + (", ..." if len(both) > 3 else "")
    return (
        f"{len(both):,} of {of:,} {what} of {dataset['name']} are also in the train split ({first}): a test score "
        "will be too good"
    )


def _contents(split: Split) -> list[bytes]:
    """Of each sample."""
    assert not isinstance(split, StreamedSet)
    inputs = named(split.inputs) if isinstance(split, Samples) else {"images": split.images}
    rows = [value.flatten(1) if value.ndim > 1 else value[:, None] for _, value in sorted(inputs.items())]
    arrays = [value.contiguous().cpu().numpy() for value in rows]
    return [b"".join(_digest(array[at].data) for array in arrays) for at in range(len(arrays[0]))]


def _digest(data: Any) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _some(split: StreamedSet) -> list[bytes]:
    """Of a few samples as they are scored."""
    numbers = sorted({len(split) * at // MOST for at in range(MOST)})
    contents = []
    for number in numbers:
        inputs, _ = split.loaded(BatchRequest(False, 0, (number,)))
        tensors = [value.contiguous().cpu() for _, value in sorted(named(inputs).items())]
        contents.append(b"".join(_digest(value.numpy().data) for value in tensors))
    return contents


def _files(samples: Any) -> list[bytes]:
    """The file of each, where the Dataset says it as torchvision's ImageFolder does; else nothing."""
    if isinstance(samples, Subset):
        whole = _files(samples.dataset)
        return [whole[at] for at in samples.indices] if whole else []
    if isinstance(samples, ConcatDataset):
        parts = [_files(one) for one in samples.datasets]
        return [name for part in parts for name in part] if all(parts) else []
    listed = getattr(samples, "samples", None)
    if not isinstance(listed, list) or len(listed) != len(samples):
        return []
    names = [one[0] if isinstance(one, tuple) and one else one for one in listed]
    if not all(isinstance(name, str | os.PathLike) for name in names):
        return []
    return [os.fsencode(os.path.realpath(name)) for name in names]
