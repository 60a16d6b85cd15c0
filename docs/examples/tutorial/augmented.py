"""The bundled digits, with augmentation to choose from."""

from hpo import Categorical, Float, Int, Study

study = Study(
    name="augmented",
    dataset="digits",
    model="shallow",
    space={
        "hidden_units": 64,
        "batch_size": 64,
        "lr": Float(1e-4, 1e-1, log=True),
        "rotation": Float(0.0, 15.0),  # searched: degrees
        "crop_padding": Int(0, 1),  # searched: pixels
        "flip": Categorical(False, True),  # searched; it should not help with digits
        "mixup_alpha": 0.0,  # fixed: off
    },
    epochs=5,
    baseline={"lr": 1e-2, "rotation": 0.0, "crop_padding": 0, "flip": False},
)
