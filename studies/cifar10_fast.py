"""CIFAR-10 with ResNet-9 in 24 epochs: the recipe of a known fast training, and what lies around it.

The baseline is D. Page's recipe (https://myrtle.ai/learn/how-to-train-your-resnet), whose network reaches 94 % of the
test images: large batches, Nesterov momentum, a short warm-up, crop, flip, cutout, smoothed labels. Flips alternate
between epochs and both ways count in scoring (K. Jordan: 94% on CIFAR-10 in 3.29 seconds on a single A100,
2024, arXiv:2404.00498). The search asks for more within the same epochs. It wants a GPU.
"""

from hpo import TPE, Categorical, Float, MedianPruner, Study

study = Study(
    name="cifar10_fast",
    description=__doc__,
    dataset="cifar10",
    model="resnet9",
    space={
        "batch_size": Categorical(256, 512, 1024),
        "lr": Float(0.05, 2.0, log=True),
        "weight_decay": Float(1e-4, 2e-3, log=True),
        "label_smoothing": Float(0.0, 0.3),
        "logit_scale": Float(0.05, 0.5, log=True),
        "warmup_epochs": Float(1.0, 8.0),
        "optimizer": "sgd",
        "momentum": 0.9,
        "nesterov": True,
        "schedule": "cosine",
        "crop_padding": 4,
        "flip": True,
        "alternating_flip": True,
        "test_flip": True,
        "cutout": 8,
        "channels_last": True,
        "precision": "bf16",
    },
    objective="val_accuracy",
    epochs=24,
    sampler=TPE(),
    pruner=MedianPruner(warmup_epochs=5),
    baseline={
        "batch_size": 512,
        "lr": 0.4,
        "weight_decay": 5e-4,
        "label_smoothing": 0.2,
        "logit_scale": 0.125,
        "warmup_epochs": 5.0,
    },
)
