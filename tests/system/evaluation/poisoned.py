"""scikit-learn's digits with a test split that does what the environment variable POISON says.

raise: opening it is an error; negative: its images are inverted; anything else: it is as it should be
"""

import os
from dataclasses import replace

from hpo.data import digits
from hpo.data.files import Folders, RawImages, Split


def load(split: Split, folders: Folders) -> RawImages:
    poison = os.environ.get("POISON") if split == "test" else None
    if poison == "raise":
        raise RuntimeError("the test split was opened")
    found = digits.load(split, folders)
    return replace(found, images=255 - found.images) if poison == "negative" else found
