"""The search over program.py, which knows nothing of it."""

from hpo import Command, Float, Int, Study

study = Study(
    name="command",
    command=Command(
        "python program.py --width {width} --dropout {dropout} --lr {lr}",
        metrics=r"epoch (?P<epoch>\d+) +val_accuracy (?P<val_accuracy>\S+)",
    ),
    objective="val_accuracy",
    direction="maximize",
    space={"width": Int(4, 32, log=True), "dropout": Float(0.0, 0.5), "lr": Float(1e-4, 1e-1, log=True)},
    baseline={"width": 16, "dropout": 0.2, "lr": 1e-3},
)
