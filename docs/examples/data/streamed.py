"""Samples that need not fit into memory: the Datasets and the model are in streamed_data.py, beside this file."""

from hpo import Float, Int, Study
from hpo.data import Tensor, Torch
from hpo.models import Model, Reads

study = Study(
    name="squares",
    dataset=Torch("streamed_data:datasets", inputs=Tensor(3, 16, 16), classes=("left", "right"), workers=2),
    model=Model("streamed_data:build", reads={"width": Reads(int, low=1, help="channels")}),
    space={"width": Int(2, 8), "batch_size": 32, "lr": Float(1e-3, 1e-1, log=True)},
    epochs=2,
    baseline={"width": 4, "lr": 1e-2},
)
