"""What a step of the check has found out: a line for each row of the table, which the driver reads from its output."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

__all__ = ["Row", "read_rows", "show", "tell"]

MARK = "ROW "


@dataclass(frozen=True)
class Row:
    """verdict: PASS, FAIL, "NOT RUN", or "" for a figure that nothing is asked of."""

    name: str
    verdict: str
    figure: str


def tell(name: str, passed: bool | None, figure: object = "") -> None:
    """Print a row. passed: None where it is only a figure."""
    verdict = {True: "PASS", False: "FAIL", None: ""}[passed]
    print(MARK + json.dumps(asdict(Row(name, verdict, str(figure)))), flush=True)


def read_rows(output: str) -> list[Row]:
    """The rows in what a step has printed; a line that was cut off is none."""
    rows = []
    for line in output.splitlines():
        if line.startswith(MARK):
            try:
                rows.append(Row(**json.loads(line.removeprefix(MARK))))
            except (ValueError, TypeError):
                continue
    return rows


def show(rows: list[Row]) -> str:
    """The table, with a line that counts the verdicts."""
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{row.name:{width}}  {row.verdict:7}  {row.figure}".rstrip() for row in rows]
    counts = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("PASS", "FAIL", "NOT RUN")}
    return "\n".join([*lines, "", ", ".join(f"{count} {verdict}" for verdict, count in counts.items())])
