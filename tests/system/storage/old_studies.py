"""The studies of the dumps in schemas/, as they were declared then."""

from hpo import Float, Int, MedianPruner, Random, Study


def _study(name: str, epochs: int) -> Study:
    return Study(
        name=name,
        dataset="digits",
        model="mlp",
        space={
            "batch_size": 64,
            "layers": Int(1, 2),
            "hidden_units": Int(8, 16).per("layers"),
            "optimizer": "adam",
            "lr": Float(1e-3, 1e-2, log=True),
        },
        epochs=epochs,
        sampler=Random(),
        pruner=MedianPruner(warmup_epochs=1),
        baseline={"layers": 1, "hidden_units": [8], "lr": 1e-3},
    )


finished = _study("old_finished", 2)
unfinished = _study("old_unfinished", 200)
