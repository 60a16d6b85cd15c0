"""Tokens and a number for each sample: Samples and the model are in token_data.py, beside this file."""

from hpo import Float, Int, Study
from hpo.data import Dataset, Tensor
from hpo.models import Model, Reads

study = Study(
    name="sentences",
    dataset=Dataset(
        "token_data:load",
        inputs={"words": Tensor(12, dtype="int64", below=50), "length": Tensor(1)},
        classes=("blame", "praise"),
    ),
    model=Model("token_data:build", reads={"width": Reads(int, low=1, help="numbers for each word")}),
    space={"width": Int(4, 32), "batch_size": 32, "lr": Float(1e-3, 1e-1, log=True)},
    epochs=5,
    baseline={"width": 8, "lr": 1e-2},
)
