"""Trials and leases that nobody holds any more: find them, and repair them on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine

from hpo.doctor.finding import Finding
from hpo.search.identity import own_identity
from hpo.search.reaper import MAX_HOSTS, Reaper
from hpo.settings import Settings
from hpo.storage import queries
from hpo.storage.moments import seconds_from
from hpo.storage.optuna_schema import RUNNING, STUDIES, TRIALS, WAITING

__all__ = ["examine_trials"]

# RUNNING trials of our studies that no lease protects: it ran out, or there is none. A trial of plain Optuna has no
# lease at all, and nobody can tell whether a process is training it.
_STALE = text(
    "SELECT s.study_name, t.study_id, t.trial_id, t.number, l.expires_at IS NOT NULL AS held,"
    f" {seconds_from('l.expires_at', 'now()')} AS silent, l.host"
    f" FROM {TRIALS} t JOIN hpo_studies h ON h.study_id = t.study_id JOIN {STUDIES} s ON s.study_id = t.study_id"
    " LEFT JOIN hpo_leases l ON l.trial_id = t.trial_id"
    f" WHERE t.state = '{RUNNING}' AND (l.worker_id IS NULL OR l.expires_at < now()) ORDER BY t.trial_id"
)
# Leases on trials that are not running: harmless, but they make a host look busy.
_IDLE = text(
    f"SELECT count(*) FROM hpo_leases l JOIN {TRIALS} t ON t.trial_id = l.trial_id"
    f" WHERE l.worker_id IS NOT NULL AND t.state <> '{RUNNING}' AND l.expires_at < now()"
)
_FREE_IDLE = text(
    f"UPDATE hpo_leases l SET worker_id = NULL, expires_at = NULL FROM {TRIALS} t WHERE t.trial_id = l.trial_id"
    f" AND l.worker_id IS NOT NULL AND t.state <> '{RUNNING}' AND l.expires_at < now()"
)
_REQUEUE = text(
    f"UPDATE {TRIALS} t SET state = '{WAITING}' WHERE t.trial_id = :trial AND t.state = '{RUNNING}' AND NOT EXISTS"
    " (SELECT 1 FROM hpo_leases l WHERE l.trial_id = t.trial_id AND l.worker_id IS NOT NULL)"
)


@dataclass(frozen=True)
class _Stale:
    study: str
    study_id: int
    trial_id: int
    number: int
    held: bool
    silent_seconds: float | None
    host: str | None

    def __str__(self) -> str:
        seconds = f"silent for {self.silent_seconds:.0f} s" if self.silent_seconds is not None else "no lease"
        return f"trial {self.number} of {self.study}  {seconds}" + (f", last on {self.host}" if self.host else "")


def examine_trials(engine: Engine, *, fix: bool) -> Iterator[Finding]:
    """Findings about trials and leases of a database with our tables; with `fix`, stale trials go back to the queue."""
    with engine.begin() as connection:
        freed = _free_the_dead(connection) if fix else 0
        stale = _stale(connection)
        failed = _requeue(connection, stale) if fix else 0
        idle = connection.execute(_FREE_IDLE if fix else _IDLE)
        leases = idle.rowcount if fix else int(idle.scalar_one())
    yield _about_trials(stale, freed, failed, fix)
    yield _about_leases(leases, fix)


def _stale(connection: Connection) -> list[_Stale]:
    return [_Stale(*row) for row in connection.execute(_STALE)]


def _free_the_dead(connection: Connection) -> int:
    """Trials of workers that ran on this machine and no longer exist; their leases may not have run out yet."""
    here, live_seconds = own_identity(), Settings.read().lease_seconds
    studies = sorted({worker.study_id for worker in queries.list_workers(connection)})
    return sum(Reaper(study_id, here, 0.0).free_the_dead(connection, live_seconds) for study_id in studies)


def _requeue(connection: Connection, stale: list[_Stale]) -> int:
    """Put the trials back into the queue. Returns how many had no attempt left and failed instead."""
    failed = 0
    due = {
        lease.trial_id: lease.expires_at
        for study_id in {one.study_id for one in stale}
        for lease in queries.expired(connection, study_id)
    }
    for one in stale:
        if one.trial_id in due:
            failed += queries.reap(connection, one.trial_id, due[one.trial_id], MAX_HOSTS).outcome == "failed"
        else:
            connection.execute(_REQUEUE, {"trial": one.trial_id})
    return failed


def _about_trials(stale: list[_Stale], freed: int, failed: int, fix: bool) -> Finding:
    details = tuple(str(one) for one in stale[:10])
    if not fix and stale:
        return Finding(
            "trials", "warn", f"{len(stale)} stale: RUNNING, and nobody works on them", details,
            _advice(stale),
        )  # fmt: skip
    if fix and (stale or freed):
        fact = f"{len(stale) + freed} stale trials put back into the queue"
        if failed:
            fact += f", {failed} of them failed: {MAX_HOSTS} hosts were lost under each"
        return Finding("trials", "ok", fact, details)
    return Finding("trials", "ok", "none is stale")


def _advice(stale: list[_Stale]) -> str:
    """What puts them back. Nobody can tell whether plain Optuna still trains a trial without a lease."""
    if all(one.held for one in stale):
        return "`hpo doctor --fix` puts them back into the queue; so does the next `hpo run`"
    return (
        "`hpo doctor --fix` puts them back into the queue; `hpo run` leaves those without a lease alone, and waits for "
        "them: a process of plain Optuna may be training them"
    )


def _about_leases(leases: int, fix: bool) -> Finding:
    if leases and not fix:
        return Finding("leases", "warn", f"{leases} are left on trials that do not run", next="`hpo doctor --fix`")
    return Finding("leases", "ok", f"{leases} leftover leases freed" if leases else "none is left over")
