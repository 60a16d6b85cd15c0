"""The script of optuna_script.py as a program: its parameters are arguments, its score is a line in HPO_METRICS."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch
from small_images import macro_f1, small_images
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--units", type=int, nargs="+")
parser.add_argument("--lr", type=float)
parser.add_argument("--optimizer")
parser.add_argument("--momentum", type=float)
parser.add_argument("--checkpoint", type=Path)
arguments = parser.parse_args()

torch.manual_seed(int(os.environ["HPO_TRIAL_NUMBER"]))
inputs, test, targets, test_targets = small_images()

layers: list[nn.Module] = []
width = 64
for hidden in arguments.units:
    layers += [nn.Linear(width, hidden), nn.ReLU()]
    width = hidden
network = nn.Sequential(*layers, nn.Linear(width, 10))

if arguments.optimizer == "sgd":
    optimizer: torch.optim.Optimizer = torch.optim.SGD(
        network.parameters(), lr=arguments.lr, momentum=arguments.momentum
    )
else:
    optimizer = torch.optim.Adam(network.parameters(), lr=arguments.lr)

first = 0
if arguments.checkpoint.exists():
    kept = torch.load(arguments.checkpoint)
    network.load_state_dict(kept["network"])
    optimizer.load_state_dict(kept["optimizer"])
    first = kept["epoch"] + 1

for epoch in range(first, 6):
    for batch in torch.randperm(len(inputs)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs[batch]), targets[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        score = macro_f1(test_targets, network(test).argmax(1))
    with open(os.environ["HPO_METRICS"], "a", encoding="ascii") as file:
        file.write(json.dumps({"epoch": epoch, "macro_f1": score}) + "\n")
    beside = arguments.checkpoint.with_suffix(".new")
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, beside)
    beside.rename(arguments.checkpoint)
    if os.path.exists(os.environ.get("SLOWLY", "")):
        time.sleep(0.4)
