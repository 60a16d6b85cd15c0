"""The checks, one after another. None stops the others: an unreachable database is a finding like any other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from sqlalchemy import text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from hpo.decoding import decoded_or
from hpo.doctor.database import examine_database
from hpo.doctor.devices import examine_data, examine_devices
from hpo.doctor.finding import Finding, failed
from hpo.doctor.machine import examine_checkpoints, examine_disk, examine_environment, examine_versions
from hpo.doctor.stale_trials import examine_trials
from hpo.errors import HpoError
from hpo.settings import Settings
from hpo.storage.engine import open_engine, resolve_url, storage_error
from hpo.storage.journal import orphans
from hpo.storage.schema import schema_state

__all__ = ["checkup"]

STATEMENT_SECONDS = 10.0


def checkup(settings: Settings, *, storage: str | None, devices: str | None, fix: bool) -> Iterator[Finding]:
    """Yield every finding as soon as it is made. With `fix`, stale trials and leases are repaired on the way."""
    uids: set[str] | None = None
    if storage is None and not settings.has_database:
        yield Finding("database", "ok", f"none yet in {settings.home}; the first `hpo run` creates it")
        uids = set()
    else:
        engine = None
        try:
            engine = open_engine(
                resolve_url(settings, storage), application_name="hpo doctor", statement_seconds=STATEMENT_SECONDS
            )
            yield from examine_database(engine)
            state = schema_state(engine)
            if state.version is None:
                uids = set()
            elif state.readable:
                yield from examine_trials(engine, fix=fix)
                uids = _uids(engine)
        except HpoError as error:
            yield failed("database", error)
        except SQLAlchemyError as error:
            assert engine is not None
            yield failed("database", storage_error(error, engine.url.render_as_string(hide_password=False)))
        finally:
            if engine is not None:
                engine.dispose()
    yield from _guarded("journal", _journal(settings, uids, fix=fix))
    yield from _guarded("disk", examine_disk(settings))
    yield from _guarded("checkpoints", (examine_checkpoints(settings, uids) for _ in range(1)))
    yield examine_environment(os.environ, storage)
    yield examine_versions()
    yield from examine_devices(devices or settings.devices)
    yield from _guarded("data", examine_data(settings.data_dir))


def _uids(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return {
            str(decoded_or(facts, {}).get("uid", ""))
            for facts in connection.execute(text("SELECT facts FROM hpo_studies")).scalars()
        }


def _journal(settings: Settings, uids: set[str] | None, *, fix: bool) -> Iterator[Finding]:
    """Results that a process could not save before it had to stop. `uids` None: the database could not be asked.

    With `fix`, those of studies that the database does not have are renamed, so that no command looks at them.
    """
    lost = [] if uids is None else orphans(settings.home, uids)
    names = tuple(path.name for path in lost[:5])
    if lost and fix:
        for path in lost:
            path.rename(path.with_suffix(".orphan"))
        fact = f"set aside as .orphan: {len(lost)} files of studies that this database does not have"
        yield Finding("journal", "ok", fact, names)
    elif lost:
        yield Finding(
            "journal", "warn", f"{len(lost)} files hold outcomes of studies that this database does not have", names,
            "if they belong to another database, give its --storage; else `hpo doctor --fix` sets them aside",
        )  # fmt: skip
    waiting = [path for path in sorted((settings.home / "journal").glob("*.jsonl")) if path not in lost]
    if waiting:
        how_many = "file holds" if len(waiting) == 1 else "files hold"
        yield Finding(
            "journal", "warn", f"{len(waiting)} {how_many} outcomes that the database does not have",
            tuple(path.name for path in waiting[:5]), "`hpo run` saves them as soon as the database answers",
        )  # fmt: skip


def _guarded(check: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    try:
        yield from findings
    except OSError as error:
        yield Finding(check, "fail", f"cannot be checked: {error}")
    except ValueError as error:
        yield Finding(check, "fail", f"cannot be read: {error}")
