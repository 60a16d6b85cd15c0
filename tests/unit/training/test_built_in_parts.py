"""Losses, metrics and optimizers that come with hpo, against scikit-learn, torch, or by hand."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics as sklearns
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from hpo import Categorical, Float, Study
from hpo.errors import StudyError
from hpo.training import built_in_metrics
from hpo.training.configuration import Recipe
from hpo.training.fast_paths import fused
from hpo.training.lion import Lion
from hpo.training.losses import balanced_weights, cross_entropy, focal
from hpo.training.muon import MuonWithAdamW
from hpo.training.optimizers import build_optimizer
from hpo.training.step import Step

pytestmark = pytest.mark.numeric
CPU = torch.device("cpu")


def guesses(classes: int, absent: int | None = None) -> tuple[Tensor, Tensor]:
    """Logits with ties and labels [200] of unequal classes, one of which may have no image."""
    random = torch.Generator().manual_seed(classes)
    labels = torch.randint(0, classes, (200,), generator=random) * torch.randint(0, 2, (200,), generator=random)
    if absent is not None:
        labels[labels == absent] = 0
    logits = (F.one_hot(labels, classes) + torch.randn(200, classes, generator=random)).mul(4).round().div(4)
    return logits, labels


@pytest.mark.parametrize(("classes", "absent"), [(2, None), (7, None), (7, 3)])
def test_a_metric_is_what_scikit_learn_computes(classes: int, absent: int | None) -> None:
    logits, labels = guesses(classes, absent)
    shares, predicted = torch.softmax(logits.double(), 1), logits.argmax(1)
    f1 = sklearns.f1_score(labels, predicted, average="macro", labels=range(classes), zero_division=0)
    assert built_in_metrics.macro_f1(logits, labels) == pytest.approx(f1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class that is predicted and has no label
        balanced = sklearns.balanced_accuracy_score(labels, predicted)
    assert built_in_metrics.balanced_accuracy(logits, labels) == pytest.approx(balanced)
    areas = [sklearns.roc_auc_score(labels == label, shares[:, label]) for label in labels.unique()]
    assert built_in_metrics.auroc(logits, labels) == pytest.approx(sum(areas) / len(areas))
    if absent is None and classes > 2:
        area = sklearns.roc_auc_score(labels, shares, multi_class="ovr", average="macro")
        assert built_in_metrics.auroc(logits, labels) == pytest.approx(area)
        with torch.random.fork_rng([]):
            apart = logits + 1e-6 * torch.rand_like(logits)  # scikit-learn counts ties by their order
        top = sklearns.top_k_accuracy_score(labels, apart, k=5, labels=range(classes))
        assert built_in_metrics.top5(apart, labels) == pytest.approx(top)


def test_a_metric_that_can_have_no_value_says_why() -> None:
    with pytest.raises(StudyError, match="val_auroc has no value: all 4 labels are of one class"):
        built_in_metrics.auroc(torch.randn(4, 3), torch.ones(4, dtype=torch.int64))
    with pytest.raises(StudyError, match="val_top5 is always 1 with 3 classes"):
        built_in_metrics.top5(torch.randn(4, 3), torch.ones(4, dtype=torch.int64))


def test_classes_are_weighed_as_scikit_learn_does() -> None:
    _, labels = guesses(5)
    expected = compute_class_weight("balanced", classes=labels.unique().numpy(), y=labels.numpy())
    assert balanced_weights(labels, 5).tolist() == pytest.approx(expected.tolist())
    assert balanced_weights(labels, 6)[5] == 0.0


def test_the_focal_loss_is_its_formula_and_without_gamma_the_cross_entropy() -> None:
    logits, labels = guesses(5)
    weight = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    for weights in (None, weight):
        assert focal(logits, labels, 0.0, weights) == pytest.approx(F.cross_entropy(logits, labels, weight=weights))
    share = torch.softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    assert focal(logits, labels, 2.0) == pytest.approx(float((-((1 - share) ** 2) * share.log()).mean()))


def test_lion_steps_as_its_paper_says() -> None:
    """Two steps by hand: lr 0.1, betas 0.9 and 0.99, weight decay 0.5."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    lion = Lion([weight], lr=0.1, weight_decay=0.5)
    weight.grad = torch.tensor([1.0, -1.0])
    lion.step()  # 0.95 w - 0.1 sign(0.1 g); m = 0.01 g
    assert weight.tolist() == pytest.approx([0.85, -1.8])
    weight.grad = torch.tensor([-0.05, 1.0])
    lion.step()  # sign(0.9 m + 0.1 g) = sign(0.009 - 0.005), sign(-0.009 + 0.1)
    assert weight.tolist() == pytest.approx([0.95 * 0.85 - 0.1, 0.95 * -1.8 - 0.1])


def test_muon_is_torchs_for_hidden_matrices_and_adamw_for_the_rest() -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))

    ours, plain = network(), network()
    recipe = Recipe.read({"batch_size": 4, "lr": 0.1, "optimizer": "muon", "weight_decay": 0.01})
    optimizer = build_optimizer(ours, recipe, CPU)
    assert isinstance(optimizer, MuonWithAdamW)
    hidden = [plain[0].weight, plain[2].weight]  # type: ignore[index]
    others = [one for one in plain.parameters() if not any(one is matrix for matrix in hidden)]
    torchs = [
        torch.optim.Muon(hidden, lr=0.1, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=0.1, weight_decay=0.01, foreach=False),
    ]
    for step in range(4):
        images = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        for model in (ours, plain):
            model(images).square().mean().backward()
        for each in (optimizer, *torchs):
            each.step()
            each.zero_grad()
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_batches_that_add_up_are_one_large_batch() -> None:
    """Gradients of parts weigh by their images; the last step of an epoch is smaller."""
    data = torch.randn(21, 6, generator=torch.Generator().manual_seed(0)), torch.arange(21) % 3

    def trained(**settings: int) -> tuple[nn.Module, float, float]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
        recipe = Recipe.read({"lr": 0.1, "optimizer": "sgd", "label_smoothing": 0.1, **settings})
        step = Step(
            model, lambda index: (data[0][index], data[1][index]), build_optimizer(model, recipe, CPU), recipe, CPU
        )
        for index in torch.arange(21).split(recipe.batch_images):
            step(index)
        return model, *step.running.read()

    (parts, *seen), (whole, *expected) = trained(batch_size=4, accumulate=3), trained(batch_size=12)
    assert seen == pytest.approx(expected)
    for mine, theirs in zip(parts.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_only_what_the_faster_ways_know_goes_by_them(make_job: Any) -> None:
    """Everything else goes by autograd, which is their specification."""
    shape = (1, 8, 8)
    for settings in ({"loss": "focal"}, {"class_weights": "balanced"}, {"accumulate": 2}):
        recipe = Recipe.read({"batch_size": 4, "lr": 0.1, **settings})
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        assert not recipe.plain
        assert fused(model, shape, build_optimizer(model, recipe, CPU), recipe, CPU) is None
    assert Recipe.read({"batch_size": 4, "lr": 0.1, "label_smoothing": 0.1}).plain
    assert cross_entropy(Recipe.read({"batch_size": 4, "lr": 0.1})).func is F.cross_entropy  # type: ignore[attr-defined]


def study(**changes: Any) -> Study:
    space = {"hidden_units": 8, "batch_size": 64, "lr": Float(1e-4, 1e-1, log=True), **changes.pop("rows", {})}
    given = {"name": "tiny", "dataset": "digits", "model": "shallow", "space": space, "baseline": {"lr": 1e-2}}
    return Study(**{**given, **changes})


def test_a_study_computes_the_metrics_that_it_names_and_no_others() -> None:
    assert "metrics" not in study().parts.as_job()
    assert list(study(objective="val_auroc").parts.as_job()["metrics"]) == ["val_auroc"]
    assert list(study(metrics=["val_top5"]).parts.as_job()["metrics"]) == ["val_top5"]
    plateau = study(rows={"schedule": "plateau", "schedule_metric": "val_macro_f1"})
    assert list(plateau.parts.as_job()["metrics"]) == ["val_macro_f1"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"metrics": ["val_f1"]}, 'did you mean "val_macro_f1"'),
        ({"rows": {"betas": (0.9, 0.99)}}, 'did you mean "beta'),
        ({"rows": {"focal_gamma": Float(0.0, 5.0)}, "baseline": {"lr": 0.1, "focal_gamma": 2.0}}, "nothing reads"),
        (
            {
                "rows": {"loss": Categorical("focal", "cross_entropy")},
                "baseline": {"lr": 0.1, "loss": "focal"},
                "objective": "val_loss",
            },
            "another measure in each trial, as loss is searched",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StudyError, match=complaint):
        study(**changes)
