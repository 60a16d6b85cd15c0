"""A model with everything that changes while it trains, so that all of it can be saved and restored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hpo.data.augment import AlternatingFlip
from hpo.data.streamed_set import ReadAhead
from hpo.messages import Job
from hpo.models.build import build_model
from hpo.models.inputs import shape_of
from hpo.training.augmenting import mixer, training_batch
from hpo.training.average import WeightAverage
from hpo.training.checkpoint import TrainingSnapshot
from hpo.training.configuration import Recipe, derive_seed
from hpo.training.fast_paths import Fused, fused
from hpo.training.graphs import may_record
from hpo.training.losses import losses
from hpo.training.metrics import MetricSet
from hpo.training.object_state import tree_of, value_of
from hpo.training.optimizers import RECORDED, build_optimizer, join_late, optimizer_tensors, restore_optimizer, set_lr
from hpo.training.own_parts import own_part
from hpo.training.ranks import Ranks
from hpo.training.schedules import LearningRate, TrainLength
from hpo.training.scoring import ImagesAtOnce, score
from hpo.training.shared_step import SharedStep
from hpo.training.step import Batch, Step, turns
from hpo.training.stopping import Stopping
from hpo.training.tasks import count_for, no_hits, output_shape, task_of
from hpo.training.train_val_split import TrainValSplit

__all__ = ["TrainState", "build_network", "model_parameters"]


class TrainState:
    """One model on one fold, starting from its initial weights, or from those of `network` on the device.

    record: whether its steps may be recorded (hpo.training.graphs)
    ranks:  trains it with other processes, each on its part of every batch
    """

    def __init__(
        self,
        job: Job,
        recipe: Recipe,
        parts: TrainValSplit,
        device: torch.device,
        fold: int,
        *,
        network: nn.Module | None = None,
        record: bool = True,
        ranks: Ranks | None = None,
    ) -> None:
        self.recipe, self.parts, self.device, self._ranks, self._kernels = recipe, parts, device, ranks, job.kernels
        torch.manual_seed(derive_seed(job.seed, "weights", fold))
        self._at_once: ImagesAtOnce | None = None
        self._order_seed = derive_seed(job.seed, "order", fold)
        self.model = network if network is not None else build_network(job, recipe, device)
        own_optimizer = own_part(job, "optimizer")
        self._own_optimizer = own_optimizer is not None
        self.optimizer = build_optimizer(self.model, recipe, device, own_optimizer)
        self.average = WeightAverage(self.model, recipe.ema_decay) if recipe.ema_decay > 0 else None
        self.generator = torch.Generator(device).manual_seed(derive_seed(job.seed, "augmentation", fold))
        self._flips = self._alternating(derive_seed(job.seed, "flips", fold)) if recipe.alternating_flip else None
        self.losses = losses(job, recipe, device, parts.images.labels[parts.train])
        self.metrics, self.count = MetricSet(job, device), count_for(task_of(job))
        self.stopping = Stopping(job.protocol, self.metrics.directions)
        self.steps_per_epoch = len(self.batches(0))
        length = TrainLength(self.steps_per_epoch, job.protocol.epochs)
        self.schedule = LearningRate(
            recipe, length, own_part(job, "schedule"), maximize=self.stopping.maximizes(recipe.schedule_metric)
        )
        self._batch = training_batch(parts.images, recipe, self.generator, self._flips)
        make_step = Step if ranks is None else partial(SharedStep, ranks)
        self.step: Step = make_step(
            self.model,
            self._batch,
            self.optimizer,
            recipe,
            device,
            loss=self.losses.train,
            count=self.count or no_hits,
            mixup=mixer(recipe, self.generator),
            average=self.average,
            chain=_chain(job, self.model, self.optimizer, recipe, device) if ranks is None else None,
            graphs=record and may_record(job, device) and recipe.plain and recipe.optimizer in RECORDED,
            generators=[self.generator],
            kernels=job.kernels,
        )
        self._best: dict[str, Tensor] = {}
        self._frozen = _body(self.model) if recipe.freeze_epochs else []
        self._released: bool | None = None
        self._lr = recipe.lr

    def batches(self, epoch: int) -> tuple[Tensor, ...]:
        """The indices of every step of `epoch` (from 0), int64 [batch_images] each; the last one may be shorter.

        The order depends only on the seed and the epoch. A last batch of one image is left out: batch normalisation
        cannot train on it.
        """
        generator = torch.Generator().manual_seed(derive_seed(self._order_seed, epoch))
        train, size = self.parts.train, self.recipe.batch_images
        order = train[torch.randperm(len(train), generator=generator).to(train.device)]
        batches: tuple[Tensor, ...] = order.split(size)
        return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 < size else batches

    def begin_epoch(self, epoch: int, coming: Sequence[Tensor] = ()) -> None:
        """Freeze or release the body of the model, as `freeze_epochs` says for `epoch` (from 0); turn the images.

        coming: the batches of the epoch that are still to be trained on, as `batches` gives them
        """
        if self._ranks is not None:
            coming = [part for index in coming if len(part := self._ranks.part(index))]
        if isinstance(self._batch, ReadAhead):
            parts = [part for index in coming for part in turns(index, self.recipe.batch_size)]
            self._batch.expect(parts, derive_seed(self._order_seed, "transforms", epoch))
        if self._flips is not None:
            self._flips.begin_epoch(epoch)
        released = epoch >= self.recipe.freeze_epochs
        if self._frozen and released is not self._released:
            self._released = released
            for parameter in self._frozen:
                parameter.requires_grad_(released)
            if released:
                join_late(self.optimizer, self._frozen)
            self.step.changed()

    def _alternating(self, seed: int) -> AlternatingFlip:
        return AlternatingFlip(len(self.parts.images), torch.Generator().manual_seed(seed), self.device)

    def set_lr(self, step: int) -> None:
        """The scheduled learning rate of `step`, counted from 0 over all epochs."""
        lr = self.schedule.lr(step)
        if lr != self._lr:
            set_lr(self.optimizer, lr)
            self._lr = lr

    @contextmanager
    def eval_weights(self) -> Iterator[nn.Module]:
        """The model with its weights for evaluation: their average where the recipe keeps one."""
        if self.average is None:
            yield self.model
            return
        with self.average.in_place():
            yield self.model

    def score(
        self, batch: Batch, interrupted: Callable[[], bool], index: Tensor | None = None
    ) -> dict[str, float] | None:
        """val_loss, val_accuracy and other metrics of the validation part, or of `index`; None when `interrupted`."""
        self._at_once = self._at_once or ImagesAtOnce(batch, self.parts.validation, self.device)
        with self.eval_weights() as model:
            return score(
                model,
                batch,
                self.parts.validation if index is None else index,
                self.recipe,
                self.device,
                interrupted,
                logits_of=self.step.logits,
                loss=self.losses.validation,
                metrics=self.metrics,
                at_once=self._at_once,
                count=self.count,
            )

    def keep_weights(self) -> None:
        """Remember its current weights for evaluation as the best."""
        with self.eval_weights() as model, torch.no_grad():
            for name, value in model.state_dict().items():
                if name in self._best:
                    self._best[name].copy_(value)
                else:
                    self._best[name] = value.clone()

    def restore_best(self) -> None:
        """Restore what `keep_weights` remembered last; then `eval_weights` gives the same weights."""
        if self._best:
            self.model.load_state_dict(self._best)
            self.average = None

    def adopt_average(self) -> None:
        """Make the averaged weights the model's own."""
        if self.average is not None:
            self.average.adopt()
            self.average = None

    def size_bytes(self) -> int:
        """The approximate size of a snapshot."""
        weights: int = sum(value.nbytes for value in self.model.state_dict().values())
        state: int = sum(value.nbytes for value in optimizer_tensors(self.optimizer).values())
        return weights * (1 + bool(self._best) + (self.average is not None)) + state

    def snapshot(self) -> TrainingSnapshot:
        own: dict[str, Tensor] = {}
        own_state = tree_of(self.optimizer.state_dict(), own, "own_optimizer") if self._own_optimizer else None
        tensors = {
            **_named("model", self.model.state_dict()),
            **(own if self._own_optimizer else _named("optimizer", optimizer_tensors(self.optimizer))),
            **_named("average", self.average.tensors() if self.average else {}),
            **_named("best", self._best),
            "sums.loss": self.step.running.loss,
            "sums.hits": self.step.running.hits,
            "random.cpu": torch.get_rng_state(),
            "random.augmentation": self.generator.get_state(),
        }
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        return TrainingSnapshot(
            {
                "device": self.device.type,
                "kernels": self._kernels,
                "stopping": self.stopping.state_dict(),
                "schedule": self.schedule.state_dict(),
                **({"own_optimizer": own_state} if self._own_optimizer else {}),
                "average_updates": self.average.updates if self.average else 0,
                "sum_images": self.step.running.images,
            },
            tensors,
        )

    def load(self, snapshot: TrainingSnapshot) -> bool:
        """Restore `snapshot`, which was taken of the same job and fold.

        False where it was taken on another kind of device: the generators of the two have nothing in common, so the
        trial goes on with other random numbers.
        """
        tensors, progress = snapshot.tensors, snapshot.progress
        self.model.load_state_dict(_under("model", tensors))
        if self._own_optimizer:
            self.optimizer.load_state_dict(value_of(progress["own_optimizer"], tensors))
        else:
            restore_optimizer(self.optimizer, _under("optimizer", tensors))
        if self.average is not None:
            self.average.load(_under("average", tensors), progress["average_updates"])
        self._best = {name: value.to(self.device) for name, value in _under("best", tensors).items()}
        self.step.running.loss.copy_(tensors["sums.loss"])
        self.step.running.hits.copy_(tensors["sums.hits"])
        self.step.running.images = progress["sum_images"]
        self.stopping.load_state_dict(progress["stopping"])
        self.schedule.load_state_dict(progress["schedule"])
        torch.set_rng_state(tensors["random.cpu"])
        then = progress.get("device", "cuda" if "random.cuda" in tensors else "cpu")  # earlier versions did not say
        if then != self.device.type:
            seed = derive_seed(self._order_seed, "resumed", tensors["random.augmentation"].tolist())
            self.generator.manual_seed(seed)
            if self.device.type == "cuda":
                torch.cuda.manual_seed(seed)
            return False
        self.generator.set_state(tensors["random.augmentation"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        return True


def model_parameters(job: Job) -> dict[str, Any]:
    """The parameters in the configuration that the model's builder reads."""
    return {name: job.config[name] for name in job.model["reads"] if name in job.config}


def build_network(job: Job, recipe: Recipe, device: torch.device) -> nn.Module:
    """The network of the job's configuration, on the device and in the recipe's memory format."""
    model = build_model(job.model["builder"], shape_of(job.dataset), output_shape(job)[0], model_parameters(job))
    model = model.to(device)
    return model.to(memory_format=torch.channels_last) if recipe.channels_last else model


def _chain(job: Job, model: nn.Module, optimizer: Optimizer, recipe: Recipe, device: torch.device) -> Fused | None:
    """A faster way to train on images and their classes; other inputs and targets go by autograd."""
    if "dtype" in job.dataset or task_of(job) != "classification":
        return None
    channels, height, width = job.dataset["shape"]
    return fused(model, (channels, height, width), optimizer, recipe, device, job.kernels)


def _body(model: nn.Module) -> list[nn.Parameter]:
    """All parameters except the head's: the module called `head` or `classifier`, else the last linear layer."""
    head = getattr(model, "head", None) or getattr(model, "classifier", None)
    if not isinstance(head, nn.Module):
        head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    kept = {id(parameter) for parameter in head.parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) not in kept]


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
