"""A table in a CSV file beside this one, flowers.csv: numbers and a category, and the column `species` to tell."""

from hpo import Float, Int, Study
from hpo.data import CSV

study = Study(
    name="flowers",
    dataset=CSV("flowers.csv", target="species", ignore=("number",), missing="fill"),
    model="shallow",
    space={"batch_size": 16, "hidden_units": Int(4, 64), "lr": Float(1e-3, 1e-1, log=True)},
    epochs=10,
    baseline={"hidden_units": 16, "lr": 1e-2},
)
