"""Artifacts as the database has them: an id is the name of a file, and may be nothing else."""

from __future__ import annotations

import json

import pytest
import sqlalchemy

from hpo.storage.evaluations import read_artifacts
from hpo.storage.optuna_internals import artifact_key
from hpo.storage.optuna_schema import STUDIES, STUDY_SYSTEM_ATTRS, metadata, table

ID = "5b1ef0ab-4e1c-4d3a-9b52-2f0a3c7a1d11"


@pytest.mark.parametrize("planted", ["../../outside/kept", "/etc/passwd", ID + "/..", "", ["x"], None, 7])
def test_an_id_that_is_none_of_optunas_is_left_out(planted: object) -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(table(STUDIES).insert().values(study_id=1, study_name="a"))
        for number, one in enumerate((planted, ID)):
            text = json.dumps(json.dumps({"artifact_id": one, "filename": "weights"}))
            attributes = {"study_id": 1, "key": artifact_key(str(number)), "value_json": text}
            connection.execute(table(STUDY_SYSTEM_ATTRS).insert().values(**attributes))
        assert read_artifacts(connection, 1, None) == [(ID, "weights")]
