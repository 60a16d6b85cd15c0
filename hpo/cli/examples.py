"""What `hpo COMMAND --help` ends with: lines to copy, each with what it is for."""

from __future__ import annotations

__all__ = ["EXAMPLES"]

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("hpo run --study mlp_digits --timeout 2m", "a study that comes with hpo, for two minutes"),
        ("hpo run --study ./mine.py --trials 200", "one of your own, for exactly 200 trials"),
        ("hpo run --study train.py:objective --direction maximize --timeout 3h", "an Optuna objective, as it is"),
    ),
    "worker": (
        (
            "hpo worker --study mlp_mnist --storage postgresql://hpo@db.example.org/hpo",
            "help a study that another machine began",
        ),
        ("hpo worker --study mlp_mnist --timeout 55m", "and leave before a batch job's hour is over"),
    ),
    "studies": (("hpo studies", "what there is to search"), ("hpo studies --json", "the same, for a program")),
    "space": (("hpo space --study mlp_mnist", "its rows, their ranges and conditions, and the baseline"),),
    "check": (
        ("hpo check --study ./mine.py", "would every branch of it train?"),
        ("hpo check --study ./mine.py --timeout 3h", "and how many trials would fit into three hours?"),
    ),
    "status": (
        ("hpo status", "which studies the database holds"),
        ("hpo status --study mlp_mnist --watch", "how far one is, until you press Ctrl-C"),
        ("hpo status --study mlp_mnist --why", "why each trial under way, or paused, was trained last"),
    ),
    "best": (
        ("hpo best --study mlp_mnist", "is it better than the baseline, and with what settings?"),
        ("hpo best --study cnn --storage sqlite:///study.db", "the best of any Optuna study"),
    ),
    "trials": (
        ("hpo trials --study mlp_mnist --top 10", "the ten best"),
        ("hpo trials --study mlp_mnist --state failed", "those that failed, with their tracebacks"),
        ("hpo trials --study mlp_mnist --why 12", "why was trial 12 pruned?"),
    ),
    "report": (
        ("hpo report --study mlp_mnist", "reports/mlp_mnist/index.html, which opens offline"),
        ("hpo report --study mlp_mnist --out /tmp/report --png", "in another folder, with images of the plots"),
    ),
    "compare": (
        ("hpo compare mlp_mnist shallow_mnist", "which found more, and is that beyond chance?"),
        ("hpo compare mlp_mnist shallow_mnist --out compared", "the same as a page, in a folder"),
    ),
    "evaluate": (
        ("hpo evaluate --study mlp_mnist", "the three best and the baseline, five fresh seeds each"),
        ("hpo evaluate --study mlp_mnist --top 1 --seeds 10", "the best alone, measured more finely"),
    ),
    "export": (("hpo export --study mlp_mnist --format onnx", "the winner as a file for other programs"),),
    "compress": (("hpo compress --study squeezenet_cifar10 --ratio 0.3", "the winner with 30 % fewer channels"),),
    "predict": (("hpo predict --study mlp_mnist seven.png", "what the winner sees in an image"),),
    "reproduce": (("hpo reproduce --study mlp_mnist --trial 12", "train trial 12 again, and compare"),),
    "dashboard": (
        ("hpo dashboard", "on http://127.0.0.1:8080, for this machine"),
        ("hpo dashboard --host 0.0.0.0 --auth anna", "for others, behind a password and read-only"),
    ),
    "doctor": (
        ("hpo doctor", "is everything in order?"),
        ("hpo doctor --fix", "and put back the trials of workers that are gone"),
    ),
    "db init": (
        ("hpo db init --storage postgresql://hpo@db.example.org/hpo", "make the tables on a server of yours"),
        ("hpo db init --study mlp_mnist --trials 500", "and a study with its budget, for workers to join"),
    ),
}
"""For each command: what to type, and what that is for."""
