"""A task of one's own: in which direction from the middle something is."""

from hpo import Float, Metric, Study, Task
from hpo.data import Dataset, Tensor

direction = Task(
    "direction",
    loss="angle_task:loss",
    metrics={"degrees_off": Metric("angle_task:degrees_off", direction="minimize")},
    outputs=(2,),  # of the network for one image: cosine and sine
    check="angle_task:check",
    predict="angle_task:say",
)

study = Study(
    name="angle",
    task=direction,
    dataset=Dataset("angle_task:load", shape=(1, 16, 16), targets=Tensor(1), classes=("degrees",)),
    model="shallow",
    objective="degrees_off",
    space={"hidden_units": 32, "batch_size": 32, "lr": Float(1e-4, 1e-1, log=True)},
    epochs=5,
    baseline={"lr": 1e-2},
)
