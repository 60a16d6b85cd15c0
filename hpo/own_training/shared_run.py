"""A run of the user's own training that several processes share: one rank of it, and what they decide together."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import RandomSampler, SequentialSampler

from hpo.messages import Job, Message
from hpo.own_training.keeping import Keeping
from hpo.own_training.link import LONGEST_PAUSE, Link, Paused
from hpo.own_training.loader import EpochLoader, RankBatches, loader_seed
from hpo.own_training.run import Run
from hpo.own_training.sharded import spread, whole
from hpo.training.checkpoint import TrainingSnapshot
from hpo.training.object_state import generators, restore, state_of, value_of
from hpo.training.ranks import Ranks

__all__ = ["SharedLink", "SharedRun"]

GO_ON, PAUSE, LEAVE = range(3)
"""What a rank wishes at a batch. The largest wish is what all do."""


class SharedLink(Link):
    """A link that ends the trial only where its run says so: that is agreed with the other ranks before."""

    def tell(self, message: Message) -> None:
        self.send(message)


class SharedRun(Run):
    """As Run, in one of several processes. Ranks that leave their loops at different places lose each other."""

    def __init__(
        self,
        ranks: Ranks,
        job: Job,
        link: Link,
        device: torch.device,
        warn: Callable[[str], None],
        *,
        fresh: bool = False,
    ) -> None:
        self._ranks, self._drawn_apart, self._left = ranks, False, False
        super().__init__(job, link, device, warn, fresh=fresh)
        self._keeping = SharedKeeping(ranks, job, warn, load=not fresh)
        self.rank, self.world_size = ranks.rank, ranks.size

    def wrap(self, model: nn.Module, *, shard: bool = False) -> nn.Module:
        model = model.to(self.device)
        if shard:
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard  # a second to import

            fully_shard(model, mesh=init_device_mesh(self.device.type, (self.world_size,)))
            return model
        # This keeps its buckets as they are made. Else it makes others after the first step, which add up in another
        # order: a trial that goes on would differ in the last bit.
        on = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=on, find_unused_parameters=True)

    def loader(self, dataset: Any, *, split: bool = True, **options: Any) -> EpochLoader:
        """As Run.loader, where each rank gets its part of every batch of `batch_size`. If the last one cannot be
        divided, it is filled with the first ones of the pass again.

        split: False gives every rank all batches; a trial that was pruned then ends with the epoch
        """
        if not split:
            loader = super().loader(dataset, **options)
            loader.look = lambda: None
            return loader
        order = torch.Generator()
        sampler, shuffle = options.pop("sampler", None), options.pop("shuffle", False)
        if sampler is None:
            sampler = RandomSampler(dataset, generator=order) if shuffle else SequentialSampler(dataset)
        size, drop_last = options.pop("batch_size", 1), options.pop("drop_last", False)
        batches = RankBatches(sampler, size, drop_last=drop_last, rank=self.rank, ranks=self.world_size)
        return super().loader(dataset, batch_sampler=batches, order=order, **options)

    def resume(self, **objects: Any) -> Any:
        state = super().resume(**objects)
        self._ranks.check_same("the epoch that training begins with", self._done)
        return state

    def begin_epoch(self) -> None:
        """From the first epoch on each rank draws its own numbers: the weights are made by then, alike on all."""
        if not self._drawn_apart and self._random is None and self._done == 0 and self.rank:
            seed = loader_seed(self.seed, self.rank)
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
        self._drawn_apart = True
        super().begin_epoch()

    def begin_batch(self) -> None:
        wish, now = GO_ON, time.perf_counter()
        if self._link.stopping:
            if not self._stopping:
                self._stopping, self._stopping_since = True, now
            wish = PAUSE if now - self._stopping_since > LONGEST_PAUSE else GO_ON
            wish = wish if self._link.keep else LEAVE
        if self._ranks.agree(wish) != GO_ON:
            self._link.pause()

    def end_epoch(self, *, checkpoint: bool | None = None) -> None:
        self._in_epoch = False
        self._done += 1
        sent = self._send()
        if sent and self.rank == 0:
            with suppress(Paused):  # all of them leave below
                self._link.ask("go_on")
        first, stop, keep = self._votes()
        limit = self._job.protocol.max_seconds
        if stop:
            if keep and checkpoint is not False:
                self._save()
            self._link.pause()
        if self._waits_after(self._done) and self.curve and checkpoint is not False and self._save():
            self._link.pause()
        if limit is not None and self.phase == "search" and first["seconds"] >= limit:
            self._end("complete", "max_seconds")
        if checkpoint or (checkpoint is None and first["due"]):
            self._save()

    def save_checkpoint(self) -> None:
        self._save()
        if self._votes()[1]:
            self._link.pause()

    def report(self, **metrics: float) -> None:
        """As Run.report. What ranks report of an epoch is averaged over those that do; outside run.epochs all do."""
        self._take(metrics)
        if not self._in_epoch:
            self.end_epoch()
            self._passes, self._since = 0, time.perf_counter()

    def close(self) -> None:
        if not self._left:
            self._done += 1  # reported after the loop, if anything was
        self._send()

    def _left_loop(self) -> None:
        """Nothing is agreed here: the function may have left by an error of this rank. `close` sends what is left."""
        self._done += 1
        self._left = True

    def _send(self) -> bool:
        reports = self._ranks.share(self._reported)
        names = dict.fromkeys(name for report in reports for name in report)
        self._reported = {name: fmean(report[name] for report in reports if name in report) for name in names}
        for name in self._job.protocol.objectives:
            if not math.isfinite(self._reported.get(name, 0.0)):
                self._end("diverged", f"{name} is {self._reported.pop(name)} in epoch {self._done}")
        return super()._send()

    def _votes(self) -> tuple[dict[str, Any], bool, bool]:
        """(what rank 0 says; whether any rank is to stop; whether the trial then goes on later)."""
        mine = {"stop": self._link.stopping, "keep": self._link.keep}
        every = self._ranks.share({**mine, "seconds": self.seconds, "due": self._keeping.due})
        stopping = [vote for vote in every if vote["stop"]]
        return every[0], bool(stopping), all(vote["keep"] for vote in stopping)


class SharedKeeping(Keeping):
    """Rank 0 writes what all need: its own state, spread tensors whole, and the random generators of every rank."""

    def __init__(self, ranks: Ranks, job: Job, warn: Callable[[str], None], *, load: bool) -> None:
        super().__init__(job, warn, load=load)
        self._ranks, self._warn = ranks, warn

    def _state_of(self, value: Any) -> Any:
        return whole(state_of(value))

    def _restored(self, value: Any, state: Any) -> Any:
        return restore(value, spread(value, state))

    def _random(self) -> dict[str, Any]:
        return {"random": generators(), "random_of_ranks": self._ranks.share(generators())}

    def _random_of(self, snapshot: TrainingSnapshot) -> Any:
        tree = snapshot.progress.get("random_of_ranks", ["list", []])
        every = value_of(tree, snapshot.tensors)
        if len(every) == self._ranks.size:
            return every[self._ranks.rank]
        self._warn(f"the last checkpoint is not of {self._ranks.size} devices; other random numbers are drawn")
        stored = super()._random_of(snapshot)
        if self._ranks.rank:
            seed = loader_seed(self._ranks.rank, *stored["torch"].tolist()[:64])
            stored = {**stored, "torch": torch.Generator().manual_seed(seed).get_state()}
        return stored

    def _write(self, snapshot: TrainingSnapshot, begun: float) -> bool:
        saved = self._ranks.rank == 0 and super()._write(snapshot, begun)
        return bool(self._ranks.share(saved)[0])
