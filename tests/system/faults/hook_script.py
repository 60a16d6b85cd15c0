"""The script of optuna_script.py in Lightning's loop, by its hook: the rows and network of train_script.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from small_images import macro_f1, small_images
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from train_script import network_of
from train_script import study as declared

from hpo import Run


def train(run: Run) -> None:
    from lightning.pytorch import LightningModule, Trainer

    from hpo.integrations.lightning import HpoCallback

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network_of(run.params)

        def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.network(batch[0]), batch[1])

        def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
            self.log("macro_f1", macro_f1(batch[1], self.network(batch[0]).argmax(1)))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            if run.params["optimizer"] == "sgd":
                return torch.optim.SGD(self.parameters(), lr=run.params["lr"], momentum=run.params["momentum"])
            return torch.optim.Adam(self.parameters(), lr=run.params["lr"])

    inputs, test, targets, test_targets = small_images()
    network = Classifier()
    run.log(weights=sum(parameter.numel() for parameter in network.parameters()))
    hook = HpoCallback(run)
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=run.max_epochs, callbacks=[hook], accelerator="cpu", devices=1, **quiet)
    trainer.fit(
        network,
        DataLoader(TensorDataset(inputs, targets), batch_size=64, shuffle=True),
        DataLoader(TensorDataset(test, test_targets), batch_size=len(test)),
        ckpt_path=hook.ckpt_path,
    )


study = replace(declared, name="hook_script", train=train, final=None)
