"""`hpo reproduce`: train one trial again in a new trainer. Nothing is written anywhere."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from hpo.errors import DataError, DeviceError, StudyError
from hpo.messages import Epoch, Finished, Ready, Stop
from hpo.own_messages import Answer, Question
from hpo.reproduction.comparing import Change, Mismatch, changed_rows, changes, mismatches
from hpo.reproduction.record import Record, read_record
from hpo.results.reading import open_for_reading, stored_name
from hpo.search.code import code_facts, source_digests
from hpo.settings import Settings
from hpo.study.discovery import FoundStudy, as_stored, find_again
from hpo.study.doors import check_stored_training
from hpo.study.function import shown_reference
from hpo.study.own import foreign_parts, is_own_builder, is_own_loader, shown_parts, todays_name
from hpo.trainers.devices import find_slots
from hpo.trainers.gpus import visible_gpus
from hpo.trainers.jobs import study_job
from hpo.trainers.process import TrainerProcess, next_after
from hpo.wording import shortened

__all__ = ["Reproduction", "reproduce"]

_FIXED = ("parameters", "macs")
"""Numbers that a trial records at its end and that depend neither on the clock nor on the curve."""


@dataclass(frozen=True)
class Reproduction:
    """The result of a reproduction. `same`: every compared number is the same, bit for bit, and so is the ending.

    compared:   epochs compared; then_epochs: epochs that the trial recorded
    ending:     how it ended this time; "" where it was stopped after the last epoch to compare
    changes:    what differs around the training (code, versions, device, data), whether or not a number changed
    notes:      why something could not be compared
    """

    study: str
    trial: int
    same: bool
    then_ending: str
    ending: str
    then_epochs: int
    compared: int
    device: str
    mismatches: tuple[Mismatch, ...]
    changes: tuple[Change, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def reproduce(
    reference: str,
    number: int,
    *,
    name: str | None = None,
    storage: str | None,
    device: str | None,
    settings: Settings,
    on_epoch: Callable[[Epoch, bool, int], None] = lambda epoch, same, epochs: None,
) -> Reproduction:
    """Train trial `number` of the study that `reference` names again, on `device` or on the kind it was trained on.

    name: the name under which the study is stored, where its declaration has another
    on_epoch: called with each epoch, whether it is the same, and how many epochs the trial had
    Raises StudyError for a trial that cannot be reproduced, DataError and DeviceError where it cannot be trained here.
    """
    engine = open_for_reading(storage, settings)
    try:
        record = read_record(engine, name or stored_name(engine, reference), number)
    finally:
        engine.dispose()
    found, notes = _declared(reference, record)
    if found is not None and found.study.own is not None:
        record = _own_record(found, record)
    elif found is not None:
        record = _from_here(found, record)
    wanted = device or _device_like(str(record.facts.get("device") or "cpu"), os.environ)
    spec = find_slots(wanted, trainers=1, trainers_per_gpu=1, environ=os.environ)[0]
    process = TrainerProcess(spec.device, arguments=spec.arguments, environ=os.environ)
    try:
        retraining = _Retraining(record, process, on_epoch)
        retraining.run(found.sys_path if found else ())
    finally:
        process.kill()
    return _result(record, retraining, spec.device, found, notes)


def _device_like(then: str, environ: Mapping[str, str]) -> str:
    """The device that a trial was trained on, the first of several; any GPU where this host has fewer of them."""
    then = then.partition(",")[0]
    numbered = re.fullmatch(r"cuda:(\d{1,3})", then)
    return "cuda" if numbered and int(numbered[1]) >= len(visible_gpus(environ)) else then


class _Retraining:
    """A conversation with one trainer about one trial."""

    def __init__(self, record: Record, process: TrainerProcess, on_epoch: Callable[[Epoch, bool, int], None]) -> None:
        self.ready: Ready | None = None
        self.finished: Finished | None = None
        self.compared = 0
        self.found: list[Mismatch] = []
        self.cut = False
        self._record = record
        self._process = process
        self._on_epoch = on_epoch
        # If the trial ran out of time, its last epoch depends on how fast the machine was.
        self.epochs = len(record.curve) - int(record.cut_by_the_clock)

    def run(self, sys_path: Any) -> None:
        record = self._record
        protocol = replace(record.job.protocol, max_seconds=None)
        self._process.send(replace(record.job, protocol=protocol, sys_path=list(sys_path)))
        if self.epochs == 0 and record.curve:
            self._stop()
        while self.finished is None:
            message = self._process.receive()
            if message is None:
                how = self._process.close()
                raise DeviceError(f"the trainer ended ({how})", evidence=["see its output above"], next=next_after(how))
            if isinstance(message, Ready):
                self.ready = message
            elif isinstance(message, Epoch) and not self.cut:
                self._epoch(message)
            elif isinstance(message, Question) and not self.cut:
                self._process.send(Answer(message.trial_id, message.number, True))  # to go on
            elif isinstance(message, Finished):
                self.finished = message
        if self.finished.outcome == "bad_data":
            raise DataError(self.finished.reason, evidence=self.finished.details)

    def _epoch(self, message: Epoch) -> None:
        curve = self._record.curve
        if message.epoch > len(curve):  # it continues after the trial's last epoch
            self._stop()
            return
        then = curve[message.epoch - 1]
        own = then.get("metrics") or {}
        new = mismatches(message.epoch, then, message.metrics)
        new += mismatches(message.epoch, own, message.own, list(dict.fromkeys([*own, *message.own])))
        self.found += new
        self.compared = message.epoch
        self._on_epoch(message, not new, self.epochs)
        goes_on = self._record.ending == "pruned" or self._record.cut_by_the_clock
        if goes_on and message.epoch >= self.epochs:
            self._stop()

    def _stop(self) -> None:
        self.cut = True
        self._process.send(Stop(self._record.job.trial_id, keep=False))


def _declared(reference: str, record: Record) -> tuple[FoundStudy | None, list[str]]:
    """The study's declaration as it is now: its modules' folders are needed, and its changes are shown.

    Raises StudyError where the trial's model or data set is code that neither comes with hpo nor is named by that
    declaration, because the database may name anything.
    """
    builder, loader = str(record.job.model.get("builder")), str(record.job.dataset.get("loader"))
    own = is_own_builder(builder) and is_own_loader(loader) and not foreign_parts(record.job.parts)
    check_stored_training("reproduce", record.declaration, record.study)
    try:
        found = find_again(reference, record.study, record.source)
        if found.study.define_by_run or found.study.program is not None:
            found.study.check_trained_here("reproduce")
        found = as_stored(found, record.study, record.declaration)
    except StudyError as error:
        if not own:
            raise
        return None, [f"the study's declaration was not found again, so it was not compared: {error.fact}"]
    if found.study.own is not None:
        return found, []
    named = found.study.model_row.builder, found.study.dataset_row.loader
    parts_then, parts_now = (shown_parts(parts) for parts in (record.job.parts, found.study.parts.as_job()))
    if own or ((builder, loader) == named and parts_then == parts_now):
        return found, []
    if named == (todays_name(builder) or builder, todays_name(loader) or loader):
        raise StudyError(
            f"trial {record.number} was trained by an earlier hpo, under names that hpo's own code no longer has",
            evidence=[f"{old} is now {now}" for old, now in zip((builder, loader), named, strict=True) if old != now],
            next="`hpo run` the study under another --name and reproduce a trial of that one",
        )
    then, now = (
        ", ".join([f"model {model}, data set {dataset}", *parts])
        for (model, dataset), parts in (((builder, loader), parts_then), (named, parts_now))
    )
    raise StudyError(
        f"trial {record.number} was trained by code that the study's file does not name",
        evidence=[f"the database says  {shortened(then, 200)}", f"{found.source} says  {now}"],
        next="restore the file as it was; code that only the database names is not run",
    )


def _own_record(found: FoundStudy, record: Record) -> Record:
    """The record with the function that the study's file names. StudyError where the trial was trained by another."""
    own = found.study.own
    assert own is not None
    then = record.job.own
    if then is None or then.define_by_run or shown_reference(then.function) != own.shown:
        what = "a model that hpo trains" if then is None else shortened(shown_reference(then.function), 200)
        raise StudyError(
            f"trial {record.number} was trained by code that the study's file does not name",
            evidence=[f"the database says  {what}", f"{found.source} says  {own.shown}"],
            next="restore the file as it was; code that only the database names is not run",
        )
    return replace(record, job=replace(record.job, own=study_job(found, {}).own))


def _from_here(found: FoundStudy, record: Record) -> Record:
    """The record with the files that the study names here: the database's word for a file or a folder is not taken."""
    job = record.job
    if job.parts:
        job = replace(job, parts=found.study.parts.as_job())
    if found.dataset.get("place"):
        job = replace(job, dataset=found.dataset)
    return replace(record, job=job)


def _result(record: Record, done: _Retraining, device: str, found: FoundStudy | None, notes: list[str]) -> Reproduction:
    assert done.ready is not None
    assert done.finished is not None
    ending = "" if done.cut else done.finished.outcome
    differing = [*done.found, *_end(record, done)]
    went_on = done.cut and record.ending not in ("pruned",) and not record.cut_by_the_clock
    now = {**code_facts(), **asdict(done.ready), **_checksum(done.finished)}
    changed = changes(record, {**now, "device": device}, source_digests(found.study) if found else {})
    if found is None:
        changed = [change for change in changed if not change.what.startswith("source file")]
    else:
        changed += changed_rows(record.declaration, found.study.declaration())
    return Reproduction(
        study=record.study,
        trial=record.number,
        same=not differing and not went_on and done.compared == done.epochs and ending in ("", record.ending),
        then_ending=record.ending,
        ending=ending,
        then_epochs=len(record.curve),
        compared=done.compared,
        device=f"{device} {done.ready.device_name}".strip(),
        mismatches=tuple(differing),
        changes=tuple(changed),
        notes=(*notes, *_notes(record, done, went_on)),
    )


def _end(record: Record, done: _Retraining) -> list[Mismatch]:
    """What differs at the end of a trial that ended by itself both times."""
    assert done.finished is not None
    then = record.facts.get("metrics")
    if done.cut or not isinstance(then, Mapping) or record.ending != "complete":
        return []
    return mismatches(0, then, done.finished.metrics, [name for name in then if name in _FIXED])


def _checksum(finished: Finished) -> dict[str, Any]:
    return {name: finished.facts.get(name) for name in ("data_checksum", "kernels")}


def _notes(record: Record, done: _Retraining, went_on: bool) -> list[str]:
    notes = []
    if went_on:
        notes.append(f"this time it continued after epoch {len(record.curve)}, where the trial had ended")
    if record.cut_by_the_clock:
        limit = shortened(str(record.job.protocol.max_seconds))
        notes.append(f"epoch {len(record.curve)} was cut short by max_seconds={limit} and is not compared")
    if not record.job.config.get("deterministic") and done.ready is not None and done.ready.device != "cpu":
        notes.append('the trial did not set "deterministic", so a GPU may sum in a different order each time')
    if (many := str(record.facts.get("device")).count(",") + 1) > 1:
        notes.append(f"the trial was trained on {many} devices together; one has the same curve only within rounding")
    if int(record.facts.get("attempt") or 1) > 1:
        notes.append(f"the trial took {record.facts['attempt']} attempts; its curve is of all of them together")
    return notes
