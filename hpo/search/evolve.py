"""A study goes on under a table that widened (`hpo run --evolve`): what is checked first, and what then changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from sqlalchemy.engine import Connection

from hpo.errors import DeclarationChanged
from hpo.sampling.distributions import distribution
from hpo.sampling.intake import Intake
from hpo.search.retry import check_alone
from hpo.storage import evolving, queries
from hpo.storage.evolving import Added
from hpo.storage.optuna_schema import distribution_from, distribution_text
from hpo.study.declaration import changed_lines, check_same_declaration
from hpo.study.discovery import FoundStudy
from hpo.study.evolving import TableChange, compared
from hpo.study.parameters import Categorical, Parameter
from hpo.study.space import Space
from hpo.study.study import Study
from hpo.trainers.jobs import study_job
from hpo.wording import shortened

__all__ = ["check_table", "evolve"]


def check_table(study: Study, stored: queries.RegisteredStudy, finished: int) -> None:
    """Raise DeclarationChanged unless the study's table is the stored one. The error says whether --evolve helps."""
    _check_not_earlier(study, stored)
    check_same_declaration(study, stored.declaration, finished)


def evolve(
    connection: Connection,
    found: FoundStudy,
    study_id: int,
    stored: queries.RegisteredStudy,
    others: Sequence[queries.WorkerRow],
) -> tuple[str, ...]:
    """Give the stored study the table of `found`, and its trials their place in it. Returns lines for the user; none
    where the table is the stored one.

    Everything happens in the caller's transaction. `others`: who works on the study, read under the lock of its budget.
    Raises DeclarationChanged for a table under which a trial would mean something else, StudyError while others work.
    """
    study = found.study
    _check_not_earlier(study, stored)
    if study.declaration() == stored.declaration:
        return ()
    counts = queries.counts(connection, study_id)
    difference = compared(study, stored.declaration)
    _check_kept(study, difference, sum(number for state, number in counts.items() if state.is_finished()))
    check_alone(study, others, "its table cannot change", "--evolve")
    for worker in queries.list_workers(connection, study_id):
        if worker.state != "gone":  # silent for a whole lease: should it come back, it has no trial any more
            queries.sign_off(connection, worker.worker_id)
    _Rewriting(connection, study, study_id, difference).rewrite()
    again = 0
    if difference.epochs is not None:
        evolving.note_epochs(connection, study_id, difference.epochs)
        again = evolving.begin_again(connection, study_id)
    trials = sum(counts.values())
    _record(connection, found, study_id, stored, difference, trials)
    return _said(study, difference, trials, again)


def _check_not_earlier(study: Study, stored: queries.RegisteredStudy) -> None:
    """Raise DeclarationChanged on a host that still has a table from before the study evolved."""
    tables = stored.facts.get("tables")
    earlier = [each for each in tables if isinstance(each, Mapping)] if isinstance(tables, list) else []
    mine = study.fingerprint()
    found = [each for each in earlier if each.get("fingerprint") == mine and mine != stored.fingerprint]
    if found:
        raise DeclarationChanged(
            f'study "{study.name}" has evolved since ({shortened(str(found[-1].get("at", "")), 30)}), and this is its'
            " table from before",
            evidence=changed_lines(stored.declaration, study.declaration()),
            next="bring the study's file up to date here, or give this study a new name (--name)",
        )


def _check_kept(study: Study, difference: TableChange, finished: int) -> None:
    lost = difference.lost
    if lost:
        trials = f"{finished} finished trial{'s' if finished != 1 else ''}"
        raise DeclarationChanged(
            f'study "{study.name}" cannot go on with this table ({trials})',
            evidence=[f"{change}   {change.why}" for change in lost],
            next=f"restore the row{'s' if len(lost) > 1 else ''} above, or give the study a new name (--name)",
        )


class _Rewriting:
    """The parameters of the trials, from one table to the next."""

    def __init__(self, connection: Connection, study: Study, study_id: int, difference: TableChange) -> None:
        self._connection, self._study, self._study_id, self._difference = connection, study, study_id, difference
        self._rows: Space = study.rows
        self._intake = Intake(study.rows)

    def rewrite(self) -> None:
        changed = {change.row for change in self._difference.changes} - set(self._difference.added)
        for name, stored in evolving.parameters_stored(self._connection, self._study_id):
            found = self._intake.row_of(name)
            if found is not None and found[0] in changed:
                self._rewrite(name, stored, found[1])
        for name in self._rows.order:
            if name in self._difference.added:
                for added in self._added(name, self._rows.rows[name]):
                    evolving.add_parameter(self._connection, self._study_id, added)
        self._fill_queue()

    def _rewrite(self, name: str, stored: str, row: Parameter) -> None:
        try:
            before: BaseDistribution = distribution_from(stored)
        except Exception:  # noqa: BLE001  # Optuna's reader, given a text that may be anything
            return
        now = distribution(row)
        text, place = distribution_text(now), (self._connection, self._study_id, name, stored)
        if isinstance(before, CategoricalDistribution) and isinstance(row, Categorical):
            evolving.rewrite_choices(*place, text, self._places(name, stored, before, row))
        elif type(before) is type(now) and not isinstance(row, Categorical):
            evolving.rewrite_range(*place, text, now.low, now.high)  # type: ignore[attr-defined]

    def _places(self, name: str, stored: str, before: CategoricalDistribution, row: Categorical) -> dict[float, int]:
        """Where each choice that a trial has stands now. Values that others gave, and that fit no row, stay."""
        places = {}
        for number in evolving.values_stored(self._connection, self._study_id, name, stored):
            if not 0 <= number < len(before.choices):
                continue
            choice = before.choices[int(number)]
            alike = [index for index, each in enumerate(row.choices) if each == choice and type(each) is type(choice)]
            if alike:
                places[number] = alike[0]
            elif str(choice) in map(str, row.choices):
                raise DeclarationChanged(
                    f'study "{self._study.name}" cannot go on with this table',
                    evidence=[f"{name}: trials have {choice!r}, a {type(choice).__name__}, and now it is another type"],
                    next="restore the row above, or give the study a new name (--name)",
                )
        return places

    def _added(self, name: str, row: Parameter) -> list[Added]:
        """One for each parameter of a new row; none where the row cannot be active in an earlier trial."""
        conditions = []
        for other, values in row.conditions:
            target = self._rows.rows[other]
            if isinstance(target, Parameter):
                kind = distribution(target)
                conditions.append((other, [kind.to_internal_repr(value) for value in values if target.contains(value)]))
            elif target not in values:
                return []
        kind, text = distribution(row), distribution_text(distribution(row))
        if row.repeat is None:
            number = kind.to_internal_repr(self._difference.added[name])
            return [Added(name, number, text, conditions)]
        count = self._rows.rows[row.repeat]
        most = count.high if isinstance(count, Parameter) else count  # type: ignore[attr-defined]
        return [
            Added(
                f"{name}_{index}",
                kind.to_internal_repr(self._value(name, index)),
                text,
                conditions,
                (row.repeat, index) if isinstance(count, Parameter) else None,
            )
            for index in range(most)
            if self._value(name, index) is not None
        ]

    def _value(self, name: str, index: int) -> Any:
        value = self._difference.added[name]
        if not isinstance(value, list | tuple):
            return value
        return value[index] if index < len(value) else None

    def _fill_queue(self) -> None:
        """A configuration in the queue that named every row names the new ones, too; the sampler fills the others."""
        filled = {}
        for trial_id, params in evolving.queued_params(self._connection, self._study_id).items():
            full = dict(params)

            def given(name: str, _row: Parameter, full: dict[str, Any] = full) -> Any:
                found = self._intake.row_of(name)
                if name not in full and found is not None and found[0] in self._difference.added:
                    place = int(name.rpartition("_")[2]) if found[1].repeat else 0
                    full[name] = self._value(found[0], place)
                return full[name]

            try:
                self._rows.sample(given)
            except (KeyError, TypeError):
                continue
            if full != params:
                filled[trial_id] = full
        evolving.set_queued_params(self._connection, filled)


def _record(
    connection: Connection,
    found: FoundStudy,
    study_id: int,
    stored: queries.RegisteredStudy,
    difference: TableChange,
    trials: int,
) -> None:
    attributes, _ = queries.study_attrs(connection, study_id)
    tables, earlier = stored.facts.get("tables"), attributes.get("hpo:table_changes")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    table = {"fingerprint": stored.fingerprint, "trials": trials, "at": now}
    changes = [
        {"trials": trials, "row": change.row, "before": change.before, "now": change.now}
        for change in difference.changes
    ]
    evolving.redeclare(
        connection,
        study_id,
        fingerprint=found.study.fingerprint(),
        declaration=found.study.declaration(),
        facts={
            **stored.facts,
            "job": asdict(study_job(found, {})),
            "tables": [*(tables if isinstance(tables, list) else []), table],
        },
        history=[*(earlier if isinstance(earlier, list) else []), *changes],
    )


def _said(study: Study, difference: TableChange, trials: int, again: int) -> tuple[str, ...]:
    kept = f"{trials} trial{'s' if trials != 1 else ''} so far"
    lines = [f'study "{study.name}" goes on with another table; it keeps {kept}']
    for change in difference.changes:
        value = difference.added.get(change.row)
        lines.append(f"  {change}" + (f"   ({kept} have {value!r})" if change.row in difference.added else ""))
    if difference.epochs is not None:
        begins = f", and {again} unfinished begin again" if again else ""
        lines.append(f"  finished trials stay as they are, trained for {difference.epochs} epochs{begins}")
    return tuple(lines)
