"""My own network on the bundled digits: how wide, how much dropout, which learning rate."""

from hpo import Categorical, EarlyStopping, Float, Int, Study
from hpo.models import Model, Reads

study = Study(
    name="my_net",
    dataset="digits",
    model=Model(
        "my_models:build",
        reads={
            "width": Reads(int, low=1, help="channels of the first layer"),
            "dropout": Reads(float, 0.0, low=0.0, high=1.0, open_high=True, help="share of the features left out"),
        },
    ),
    space={
        "width": Int(8, 32),
        "dropout": Float(0.0, 0.5),
        "batch_size": Categorical(32, 64, 128),
        "lr": Float(1e-4, 1e-1, log=True),
    },
    epochs=10,
    early_stopping=EarlyStopping(patience=3),
    baseline={"width": 16, "dropout": 0.0, "batch_size": 64, "lr": 1e-2},
)
