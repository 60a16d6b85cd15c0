"""Fashion-MNIST with LeNet-5 and a wide table: distorted images, smoothed labels, a schedule, an average.

The same table as `cnn_mnist_wide`, for images that differ in texture and not in strokes. The mirror image of a coat is
a coat, so `flip` is searched beside small turns, shifts and missing squares.
"""

from hpo import TPE, Categorical, Float, Int, MedianPruner, Study

study = Study(
    name="cnn_fashion_mnist_wide",
    description=__doc__,
    dataset="fashion_mnist",
    model="lenet",
    space={
        "epochs": Int(15, 60, prior=40),
        "batch_size": Int(32, 256, log=True),
        "optimizer": Categorical("adamw", "sgd", prior="adamw"),
        "lr": Float(1e-4, 1e-1, log=True, prior=2e-3),
        "momentum": Float(0.8, 0.99).when(optimizer="sgd"),
        "nesterov": Categorical(True, False).when(optimizer="sgd"),
        "weight_decay": Float(1e-6, 1e-1, log=True),
        "schedule": Categorical("none", "cosine", "one_cycle", prior={"cosine": 1, "one_cycle": 1}),
        "warmup_epochs": Float(0.0, 3.0).when(schedule=("none", "cosine")),
        "label_smoothing": Float(0.0, 0.1),
        "flip": Categorical(True, False),
        "rotation": Float(0.0, 15.0),
        "zoom": Float(0.0, 0.3),
        "crop_padding": Int(0, 3),
        "elastic": Float(0.0, 2.0),
        "cutout": Int(0, 12),
        "ema_decay": Categorical(0.0, 0.99, 0.999),
    },
    objective="val_accuracy",
    epochs=60,
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=4),
    baseline={
        "epochs": 20,
        "batch_size": 64,
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 1e-6,
        "schedule": "none",
        "warmup_epochs": 0.0,
        "label_smoothing": 0.0,
        "flip": False,
        "rotation": 0.0,
        "zoom": 0.0,
        "crop_padding": 0,
        "elastic": 0.0,
        "cutout": 0,
        "ema_decay": 0.999,
    },
)
