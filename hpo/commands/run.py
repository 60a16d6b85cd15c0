"""One trial of a program: started, listened to, ended; what the coordinator is told of it."""

from __future__ import annotations

import json
import os
import queue
import re
import select
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from hpo.commands.history import History
from hpo.commands.lines import Lines
from hpo.commands.memory import kernel_kills, ran_out_of_memory, sign_of
from hpo.commands.output import Output
from hpo.commands.program import Program, how_it_ended
from hpo.commands.values import Values, json_records, pattern_records
from hpo.errors import near_miss
from hpo.messages import Finished, Job, Message
from hpo.own_messages import Answer, Question, Report
from hpo.ownership import links_below
from hpo.training.progress import StopRequest

__all__ = ["GIVEN", "CommandRun"]

GIVEN = ("HPO_METRICS", "HPO_TRIAL_NUMBER", "HPO_SEED", "HPO_CHECKPOINT_DIR", "HPO_PARAMS")
"""Environment variables that a program finds its trial in."""

LOOK_SECONDS = 0.1
"""How often a program that says nothing is looked at."""
CHUNK_BYTES = 2**18
FAILURE_LINES = 20
"""Of its output, in the reason of a failure. OOM_LINES are searched for a sign of memory that ran out."""
OOM_LINES = 60


class CommandRun:
    """A job's program, from its start to its end. `run` is called once.

    pipe: where to make the named pipe that HPO_METRICS names: any language can open it and write lines, none waits long
    """

    def __init__(
        self,
        job: Job,
        send: Callable[[Message], None],
        stop: StopRequest,
        answers: queue.SimpleQueue[Answer],
        environ: Mapping[str, str],
        pipe: Path,
    ) -> None:
        assert job.command is not None
        self._job, self._command = job, job.command
        self._send, self._stop, self._answers = send, stop, answers
        self._environ, self._pipe = environ, pipe
        self._patterns = [re.compile(pattern) for pattern in self._command.patterns]
        self._values = Values(self._command.objectives, self._command.maximize)
        folder = _own_folder(Path(job.checkpoint))
        self._history = History(Path(self._command.history), goes_on=any(folder.iterdir()))
        self._reported_at = perf_counter()
        self._questions = 0
        self._prune = False
        self._printed, self._written = Lines(), Lines()

    def run(self) -> Finished:
        started, kills = perf_counter(), kernel_kills()
        output = Output(Path(self._command.output) if self._command.output else None, "the trial goes on here")
        metrics = self._open_pipe()
        try:
            program = Program(self._command.argv, self._command.folder, self._environment())
        except (OSError, ValueError) as error:
            os.close(metrics)
            return self._ended(Finished(self._job.trial_id, "failed", reason=f"it did not start: {error}"), started)
        try:
            self._report(self._taken(self._history.earlier))
            self._follow(program, metrics, output)
            code = program.finish()
            self._drain(program, metrics, output)
        finally:
            program.close()
            os.close(metrics)
            output.write(now=True)
        return self._ended(self._outcome(code, output, kernel_kills() - kills), started)

    # While it runs ------------------------------------------------------------------------------------------------

    def _follow(self, program: Program, metrics: int, output: Output) -> None:
        sources = {program.printed, metrics}
        while not program.ended:
            ready, _, _ = select.select(list(sources), [], [], LOOK_SECONDS)
            for source in ready:
                if self._read(source, metrics, output) == b"" and source != metrics:
                    sources.discard(source)  # it has closed its output, and goes on
            if self._stop.asked or self._to_be_pruned():
                program.ask_to_end()
            output.write()

    def _read(self, source: int, metrics: int, output: Output) -> bytes | None:
        try:
            chunk = os.read(source, CHUNK_BYTES)
        except BlockingIOError:
            return None
        if source == metrics:
            self._take_lines(self._written.feed(chunk), [])
        else:
            output.add(chunk)
            if self._patterns:
                self._take_lines([], self._printed.feed(chunk))
        return chunk

    def _drain(self, program: Program, metrics: int, output: Output) -> None:
        """What it left in the pipes, which nobody writes to any more."""
        for source in (program.printed, metrics):
            while self._read(source, metrics, output):
                pass
        self._take_lines(self._written.last(), self._printed.last() if self._patterns else [])

    def _take_lines(self, written: list[str], printed: list[str]) -> None:
        records = [record for line in written for record in json_records(line)]
        records += [record for line in printed for record in pattern_records(self._patterns, line)]
        self._history.add(records)
        reports = self._taken(records)
        if not self._prune and not self._stop.asked:  # else the coordinator no longer listens
            self._report(reports)

    def _taken(self, records: Sequence[Mapping[str, float]]) -> list[tuple[int, dict[str, float]]]:
        return [report for record in records if (report := self._values.take(record)) is not None]

    def _report(self, reports: Sequence[tuple[int, dict[str, float]]]) -> None:
        """Tell the coordinator of each, and ask it once whether to go on."""
        for step, metrics in reports:
            now = perf_counter()
            self._send(Report(self._job.trial_id, step, metrics, now - self._reported_at))
            self._reported_at = now
        if any(self._command.objectives[0] in metrics for _, metrics in reports):
            self._questions += 1
            self._send(Question(self._job.trial_id, self._questions, "should_prune"))

    def _to_be_pruned(self) -> bool:
        with suppress(queue.Empty):
            while True:
                self._prune |= self._answers.get_nowait().value is True
        return self._prune

    # Before and after ---------------------------------------------------------------------------------------------

    def _outcome(self, code: int, output: Output, kills: int) -> Finished:
        trial_id, lines = self._job.trial_id, output.last_lines(OOM_LINES)
        if self._stop.asked:
            return Finished(trial_id, "stopped")
        if self._prune:
            return Finished(trial_id, "pruned")
        how = how_it_ended(code)
        if ran_out_of_memory(code, lines, kills):
            said = sign_of(lines) or "the kernel killed it for want of memory"
            return Finished(trial_id, "out_of_memory", reason=f"{how}; {said}")
        if code != 0:
            reason = f"{how}: {lines[-1]}" if lines else how
            return Finished(trial_id, "failed", reason=reason, details=lines[-FAILURE_LINES:])
        result = self._values.result(best=self._command.keep_best)
        if result is None:
            return Finished(trial_id, "failed", reason=self._silence(), details=lines[-FAILURE_LINES:])
        return Finished(trial_id, "complete", metrics=dict(result))

    def _silence(self) -> str:
        """What a program did in place of reporting its objective."""
        missing = next(name for name in self._command.objectives if name not in self._values.last)
        said = f"it ended with exit code 0 and reported no {missing}"
        if self._values.names:
            return f"{said}, but {', '.join(self._values.names[:5])} ({near_miss(missing, self._values.names)})"
        with suppress(OSError):
            if not stat.S_ISFIFO(self._pipe.stat().st_mode):
                return f"{said}: it put a file in place of the pipe that HPO_METRICS names; append to that"
        return said

    def _ended(self, finished: Finished, started: float) -> Finished:
        facts = {"train_seconds": perf_counter() - started, "warnings": [], "command": self._command.shown}
        return replace(finished, epoch=len(self._values.reported), facts=facts)

    def _environment(self) -> dict[str, str]:
        job = self._job
        given = (str(self._pipe), str(job.number), str(job.seed), job.checkpoint, json.dumps(job.config))
        return {
            "PYTHONUNBUFFERED": "1",  # else what Python prints comes in blocks, and too late to prune by
            **self._environ,
            **dict(zip(GIVEN, given, strict=True)),
        }

    def _open_pipe(self) -> int:
        """A new pipe for each trial, so that no word of the one before is heard. Both ends, so that it never ends."""
        self._pipe.unlink(missing_ok=True)
        os.mkfifo(self._pipe, 0o600)
        return os.open(self._pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _own_folder(folder: Path) -> Path:
    """Make the folder that a trial's program may keep something in. OSError for one behind a link."""
    if links_below(folder, folder.parents[1]):
        raise OSError(f"{folder} leads elsewhere by a link, and hpo keeps nothing behind one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
