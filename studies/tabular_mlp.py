"""A table: 30 measurements of 569 tumours, malignant or benign (scikit-learn's bundled breast cancer data).

The baseline is two layers of 32 at Adam's usual learning rate. With 364 rows to train on, what helps is what keeps a
network from learning them by heart: fewer units, dropout, weight decay. The validation part has 91 rows, so one of them
is 1.1 %; the loss tells configurations apart that have the same accuracy, and is searched for.
For a CSV file of your own: dataset=CSV("rows.csv", target="class"), from hpo.data.
"""

from hpo import EarlyStopping, Float, Int, Study
from hpo.data import Dataset, Tensor

study = Study(
    name="tabular_mlp",
    description="breast cancer measurements with a multilayer perceptron",
    dataset=Dataset(
        "hpo.data.breast_cancer:load",
        inputs=Tensor(30, normalise=True),
        classes=("malignant", "benign"),
        download=False,
        help="scikit-learn's bundled breast cancer measurements, 455 + 114",
    ),
    model="mlp",
    objective="val_loss",
    space={
        "batch_size": Int(16, 128),
        "layers": Int(1, 3),
        "hidden_units": Int(8, 128).per("layers"),
        "dropout": Float(0.0, 0.6),
        "lr": Float(1e-4, 1e-1, log=True),
        "weight_decay": Float(1e-6, 1e-1, log=True),
    },
    epochs=40,
    early_stopping=EarlyStopping(patience=8, monitor="val_loss"),
    baseline={
        "batch_size": 32,
        "layers": 2,
        "hidden_units": [32, 32],
        "dropout": 0.0,
        "lr": 1e-3,
        "weight_decay": 1e-6,
    },
)
