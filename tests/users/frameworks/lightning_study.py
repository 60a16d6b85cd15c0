"""A study whose trials are fits of Lightning's, with dropout and a schedule: every random number counts."""

from __future__ import annotations

import time
from typing import Any

from hpo import Float, NoPruner, Random, Run, Study


def network(lr: float) -> Any:
    import torch
    from lightning.pytorch import LightningModule
    from torch import nn

    class Network(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 1))

        def loss(self, batch: Any) -> torch.Tensor:
            return (self.layers(batch[0]) - batch[0].sum(1, keepdim=True)).square().mean()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            time.sleep(0.01)
            return self.loss(batch)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.loss(batch))

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=lr, momentum=0.9)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)]

    return Network()


def train(run: Run) -> None:
    import torch
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader, TensorDataset

    from hpo.integrations.lightning import HpoCallback

    fixed = torch.Generator().manual_seed(1)
    data = DataLoader(TensorDataset(torch.rand(80, 4, generator=fixed)), batch_size=8, shuffle=True)
    validation = DataLoader(TensorDataset(torch.rand(16, 4, generator=fixed)), batch_size=16)
    hook = HpoCallback(run)
    trainer = Trainer(
        max_epochs=run.max_epochs, callbacks=[hook], accelerator="cpu", devices=1, logger=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(network(run.params["lr"]), data, validation, ckpt_path=hook.ckpt_path)


study = Study(
    name="lightning_study",
    train=train,
    objective="val_loss",
    direction="minimize",
    epochs=16,
    space={"lr": Float(1e-4, 1e-2, log=True)},
    baseline={"lr": 1e-3},
    sampler=Random(),
    pruner=NoPruner(),
)
