"""Texts and numbers in the place of those that stand in a database, made up or changed in one piece."""

from __future__ import annotations

import json

from hostile import Attack, Column, altered, write
from hypothesis import strategies as st
from sqlalchemy import Connection, text

MADE_UP = st.one_of(
    st.text(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
        max_leaves=10,
    ).map(json.dumps),
)
"""Texts and JSON that nobody thought of."""


CUT = st.tuples(
    st.integers(0, 10_000),
    st.sampled_from(['"', "0", "null", "-1", "{}", "[", "1e999", "\\u0000", ""]),
    st.integers(0, 12),
)
"""Where a piece of a text is replaced, by what, and how long it was."""


def mutate(url: str, columns: list[Column], attack: Attack, data: st.DataObject) -> None:
    with altered(url) as connection:
        for column in data.draw(st.lists(st.sampled_from(columns), min_size=1, max_size=4, unique=True)):
            texts = data.draw(st.lists(MADE_UP | st.sampled_from(attack.texts[:-1]), min_size=1, max_size=6))
            write(connection, column, [*texts, *mutated(connection, column, data)])


def mutated(connection: Connection, column: Column, data: st.DataObject) -> list[str]:
    """What stands in some rows of a column, with a piece of it replaced."""
    query = f'SELECT DISTINCT "{column.name}" FROM {column.table} WHERE "{column.name}" IS NOT NULL ORDER BY 1 LIMIT 8'
    # Drawn without a look at the values: they differ between two runs of the suite, and what is drawn must not.
    cuts = data.draw(st.lists(CUT, min_size=8, max_size=8))
    made = []
    for value, (place, piece, length) in zip(connection.execute(text(query)).scalars(), cuts, strict=False):
        start = place % max(1, len(value))
        made.append(value[:start] + piece + value[start + length :])
    return made
