"""What a host without anything to train says: what it waits for, and what would end it."""

from __future__ import annotations

import optuna
from optuna.study import StudyDirection
from sqlalchemy import Engine, text

from hpo.search.waiting import AGAIN_SECONDS, FIRST_SECONDS, IdleNotice
from hpo.storage import queries


def test_it_is_said_after_a_while_then_every_minute_and_from_the_start_after_there_was_work(
    engine: Engine, database_url: str
) -> None:
    now = [0.0]
    with engine.begin() as c:
        study_id = queries.create_study(c, "s", (StudyDirection.MAXIMIZE,))
        queries.register(c, study_id, fingerprint="f", declaration={}, source="s", seed=0, facts={"uid": "u"})
    idle = IdleNotice(study_id, "w", lambda: now[0])

    def said(at: float) -> str:
        now[0] = at
        with engine.begin() as c:
            return idle.sentence(c)

    assert said(0.0) == ""
    assert said(FIRST_SECONDS - 0.1) == ""
    assert said(FIRST_SECONDS).startswith("nothing to train: 0 trials are finished")
    with engine.begin() as c:
        queries.claim(c, study_id, "w", "here", 30, 1)
        queries.claim(c, study_id, "other", "there", 30, 6)
    optuna.load_study(study_name="s", storage=database_url).ask()
    assert said(FIRST_SECONDS + AGAIN_SECONDS - 0.1) == ""
    sentence = said(FIRST_SECONDS + AGAIN_SECONDS)
    assert "waiting for 6 trials of other workers (1 on there, 2 on there," in sentence
    assert "5 on there, ...)" in sentence
    assert "waiting for 1 trial that plain Optuna began and did not finish (7)" in sentence
    assert "`hpo doctor --fix`" in sentence
    idle.busy()
    assert said(1000.0) == ""
    assert said(1000.0 + FIRST_SECONDS)
    with engine.begin() as c:
        c.execute(text("UPDATE trials SET state = 'FAIL' WHERE number > 0"))
    assert said(2000.0).startswith("nothing to train: 7 trials are finished")
