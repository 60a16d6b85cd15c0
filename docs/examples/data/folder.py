"""Your own photographs, in a folder for each class: photos/cat/1.jpg, photos/dog/7.png, ..."""

from hpo import Categorical, Float, Study
from hpo.data import ImageFolder

study = Study(
    name="photos",
    dataset=ImageFolder("photos", size=32, test=0.2),
    model="lenet",
    space={
        "batch_size": Categorical(16, 32, 64),
        "lr": Float(1e-4, 1e-2, log=True),
        "flip": Categorical(False, True),
    },
    epochs=10,
    baseline={"batch_size": 32, "lr": 1e-3, "flip": False},
)
