"""Training that several processes share: functions of a run, and models that go wrong in one rank."""

from __future__ import annotations

import os
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import TensorDataset

from hpo import Run
from hpo.models.mlp import mlp


def train(run: Run) -> None:
    """A regression of which nothing is drawn but the order, in plain float64."""
    torch.set_default_dtype(torch.float64)
    inputs = torch.linspace(-1, 1, 47 * 4).reshape(47, 4)
    targets = inputs.square().sum(1, keepdim=True)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    network = run.wrap(network, shard=run.params.get("shard", False))
    optimizer = torch.optim.AdamW(network.parameters(), lr=run.params["lr"])
    noise = torch.zeros(1)
    state = run.resume(network=network, optimizer=optimizer, seen=[])
    loader = run.loader(TensorDataset(inputs, targets), batch_size=12, shuffle=True, drop_last=True)
    for epoch in run.epochs():
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = (network(batch) - wanted).square().mean()
            loss.backward()
            optimizer.step()
        noise = torch.rand(1)
        state.seen.append(epoch)
        whole = (network(inputs) - targets).square().mean().item()
        if run.rank == 0:  # what the others leave out is no loss
            run.report(val_loss=whole)
        run.report(noise=noise, rank=run.rank, seen=len(state.seen))


def out_of_memory(shape: Any, classes: int, **parameters: Any) -> nn.Module:
    """A network for which the last rank has no memory at its third pass."""
    network = mlp(shape, classes, **parameters)
    passes = 0

    def forward(*_: Any) -> None:
        nonlocal passes
        passes += 1
        if passes == 3 and dist.is_initialized() and dist.get_rank() == dist.get_world_size() - 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")

    network.register_forward_pre_hook(forward)
    return network


def hangs(shape: Any, classes: int, **parameters: Any) -> nn.Module:
    """A network that never comes back in the last rank, and leaves its process number."""
    network = mlp(shape, classes, **parameters)
    if dist.is_initialized() and dist.get_rank() == dist.get_world_size() - 1:
        network.register_forward_pre_hook(lambda *_: time.sleep(600))
    with open(os.environ["PIDS"], "a") as file:
        print(os.getpid(), file=file)
    return network
