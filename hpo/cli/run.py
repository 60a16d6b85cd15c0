"""`hpo run` and `hpo worker`: run a search, show its progress, print its result."""

from __future__ import annotations

from typing import Annotated

import typer

from hpo.cli.options import (
    ChangedCodeOption,
    DeviceOption,
    DirectionOption,
    DirectionsOption,
    MetricOption,
    NameOption,
    NotifyOption,
    PrunerOption,
    QuietOption,
    SamplerOption,
    StorageOption,
    StudyOption,
    SubsetOption,
    TensorBoardOption,
    TrackerOption,
    TrainersOption,
    TrainersPerGpuOrAutoOption,
    found_study,
    objective_options,
    timeout_option,
    trials_option,
    typed_options,
)
from hpo.errors import UsageError

__all__ = ["run", "worker"]

DEBUGGED = {"study", "storage", "device", "subset", "name", "changed_code", "direction", "directions", "metric",
            "sampler", "pruner", "debug", "quiet"}  # fmt: skip
"""The options that go together with --debug."""


BudgetOption = Annotated[
    str | None,
    timeout_option(
        "Wall-clock budget of the whole study: 90s, 10m, 3h, 1h30m. Unfinished trials resume next time.",
        envvar="HPO_TIMEOUT",
    ),
]
LeaveOption = Annotated[
    str | None,
    timeout_option(
        "Leave after this long, as a batch job must, while the study continues. Default: when the study is over."
    ),
]
TrialsOption = Annotated[int | None, trials_option("Finish exactly N trials in total, however many workers take part.")]
DevicesPerTrialOption = Annotated[
    int | None,
    typer.Option(
        "--devices-per-trial",
        metavar="N",
        min=1,
        max=1024,
        envvar="HPO_DEVICES_PER_TRIAL",
        help="Train each trial on N GPUs, or cores, together. Default: the study's devices_per_trial.",
        show_default=False,
    ),
]
EnqueueKnownOption = Annotated[
    bool,
    typer.Option("--enqueue-known", help="After the baseline, try the configurations that the study lists as known."),
]
RetryFailedOption = Annotated[
    bool, typer.Option("--retry-failed", help="Try failed trials again, once the bug that failed them is fixed.")
]
EvolveOption = Annotated[
    bool,
    typer.Option(
        "--evolve", help="Go on although the study's table has widened: a range, a choice, a new row, more epochs."
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Search on every node of this Ray cluster; local starts one here. Needs pip install ray.",
        show_default=False,
    ),
]
VerboseOption = Annotated[
    bool,
    typer.Option("--verbose", "-v", help="No live display: a line for each trial, every 10 seconds how far each is."),
]
LogJsonOption = Annotated[
    bool, typer.Option("--log-json", help="No live display: each line on stderr is a JSON object, for log collectors.")
]
DebugOption = Annotated[
    bool,
    typer.Option(
        "--debug", help="Train one trial in this process, on this terminal: breakpoint(), pdb and print work."
    ),
]


def run(
    context: typer.Context,
    study: StudyOption,
    timeout: BudgetOption = None,
    trials: TrialsOption = None,
    storage: StorageOption = None,
    device: DeviceOption = None,
    trainers: TrainersOption = None,
    trainers_per_gpu: TrainersPerGpuOrAutoOption = 1,
    devices_per_trial: DevicesPerTrialOption = None,
    enqueue_known: EnqueueKnownOption = False,
    tensorboard: TensorBoardOption = None,
    tracker: TrackerOption = None,
    notify: NotifyOption = None,
    subset: SubsetOption = None,
    name: NameOption = None,
    changed_code: ChangedCodeOption = False,
    retry_failed: RetryFailedOption = False,
    evolve: EvolveOption = False,
    ray: RayOption = None,
    direction: DirectionOption = None,
    directions: DirectionsOption = None,
    metric: MetricOption = None,
    sampler: SamplerOption = None,
    pruner: PrunerOption = None,
    debug: DebugOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    log_json: LogJsonOption = False,
) -> int:
    """Search until the budget is used up or you press Ctrl-C. Run the same command again to resume.

    Without `--timeout` and `--trials` it runs until Ctrl-C, or until every point of a grid is done. If a run of the
    study is already active, the new one joins it: a larger budget extends both, a smaller one ends only the new run.
    """
    from hpo import api
    from hpo.cli.heartbeat import beating
    from hpo.cli.summary import emit_summary
    from hpo.cli.watching import watcher
    from hpo.duration import parse_duration

    seconds = parse_duration(timeout) if timeout is not None else None
    found = found_study(study, objective_options(direction, directions, metric, sampler, pruner))
    if debug:
        from hpo.cli import debug as debugging

        _check_debugged(context)
        return debugging.debug(
            found, storage=storage, devices=device, name=name, subset=subset, changed_code=changed_code
        )
    with watcher(quiet=quiet, verbose=verbose, log_json=log_json, storage=storage) as display:
        result = api.run(
            found,
            timeout=seconds,
            trials=trials,
            storage=storage,
            devices=device,
            trainers=trainers,
            trainers_per_gpu=trainers_per_gpu,
            devices_per_trial=devices_per_trial,
            enqueue_known=enqueue_known,
            tensorboard=tensorboard,
            tracker=tracker,
            notify=notify or (),
            subset=subset,
            name=name,
            changed_code=changed_code,
            retry_failed=retry_failed,
            evolve=evolve,
            ray=ray,
            on_snapshot=beating(display.snapshot),
            on_notice=display.notice,
            on_phase=display.phase,
        )
    emit_summary(result, found.study, reference=study, name=name or found.study.name, storage=storage)
    return result.exit_code


def _check_debugged(context: typer.Context) -> None:
    """Raise UsageError for options that say nothing to one trial on this terminal."""
    said = [option for name, option in typed_options(context).items() if name not in DEBUGGED]
    if said:
        raise UsageError(
            f"--debug trains one trial on this terminal, which {', '.join(said)} would not change",
            next=f"leave {' and '.join(said)} out, or --debug",
        )


def worker(
    study: StudyOption,
    timeout: LeaveOption = None,
    storage: StorageOption = None,
    device: DeviceOption = None,
    trainers: TrainersOption = None,
    trainers_per_gpu: TrainersPerGpuOrAutoOption = 1,
    devices_per_trial: DevicesPerTrialOption = None,
    subset: SubsetOption = None,
    name: NameOption = None,
    changed_code: ChangedCodeOption = False,
    direction: DirectionOption = None,
    directions: DirectionsOption = None,
    metric: MetricOption = None,
    sampler: SamplerOption = None,
    pruner: PrunerOption = None,
    tracker: TrackerOption = None,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
    log_json: LogJsonOption = False,
) -> int:
    """Join a study from another process or host, within the budget that `hpo run` gave it.

    Any number of workers may join and leave. All need the same declaration and a database that each of them can reach.
    """
    from hpo import api
    from hpo.cli.heartbeat import beating
    from hpo.cli.output import notice
    from hpo.cli.states import counts_text
    from hpo.cli.watching import watcher
    from hpo.duration import parse_duration

    found = found_study(study, objective_options(direction, directions, metric, sampler, pruner))
    with watcher(quiet=quiet, verbose=verbose, log_json=log_json, storage=storage) as display:
        result = api.run(
            found,
            timeout=parse_duration(timeout) if timeout is not None else None,
            storage=storage,
            devices=device,
            trainers=trainers,
            trainers_per_gpu=trainers_per_gpu,
            devices_per_trial=devices_per_trial,
            subset=subset,
            name=name,
            changed_code=changed_code,
            tracker=tracker,
            worker=True,
            on_snapshot=beating(display.snapshot),
            on_notice=display.notice,
            on_phase=display.phase,
        )
    notice(f"worker done ({result.stopped}): {counts_text(result.counts)}")
    return result.exit_code
