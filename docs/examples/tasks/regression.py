"""A quantity from a table: the price of a house, from the columns of houses.csv, which lies beside this file."""

from hpo import Categorical, Float, Int, Study
from hpo.data import CSV

study = Study(
    name="houses",
    task="regression",
    dataset=CSV("houses.csv", target="price", ignore=("number",)),
    model="shallow",
    objective="val_rmse",
    metrics=["val_mae", "val_r2"],
    space={
        "batch_size": 32,
        "hidden_units": Int(8, 128, log=True),
        "loss": Categorical("mse", "huber"),
        "lr": Float(1e-4, 1e-1, log=True),
    },
    epochs=10,
    baseline={"hidden_units": 32, "loss": "mse", "lr": 1e-2},
)
