"""The command line. Only this package prints or exits, and `main` does both last.

Each command imports what it needs when it runs, so that `hpo --help` loads neither torch nor optuna.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback

from hpo.cli.output import silence_stdout
from hpo.disk import is_full
from hpo.errors import DeviceError, HpoError
from hpo.signals import leave_on, signals_to_leave
from hpo.wording import shortened

__all__ = ["main", "run_command"]

BUG = 70
INTERRUPTED = 130


def main() -> None:
    """Run the command in sys.argv and exit with a documented code (see `hpo --help`)."""
    # numpy's threads would take from the trainers' cores and save a sampler no time: its matrices are too small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for number in signals_to_leave():  # an ordinary exit stops an embedded server that nobody else uses
        signal.signal(number, leave_on)
    code = run_command()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # this process is already ending as fast as it can
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = silence_stdout()
    except OSError as error:
        code = _show_full(error) if is_full(error) else _show_unexpected(error)
    sys.exit(code)


def run_command(args: list[str] | None = None) -> int:
    """The exit code of one command. A user's mistake is shown as such; only a bug in hpo shows a traceback."""
    from hpo.cli.app import command_line

    try:
        code = command_line()(args, standalone_mode=False, prog_name="hpo")
    except HpoError as error:
        show_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as leaving:  # typer exits so when the program reading stdout closed the pipe
        return leaving.code if isinstance(leaving.code, int) else BUG
    except OSError as error:
        if not is_full(error):
            return _show_unexpected(error)
        return _show_full(error)
    except Exception as error:  # noqa: BLE001 - the last line of defence: everything else is a bug in hpo
        return _show_unexpected(error)
    return code if isinstance(code, int) else 0


def show_error(error: HpoError) -> None:
    """Fact, evidence and next action on stderr."""
    print(f"error: {error}", file=sys.stderr)


def _show_full(error: OSError) -> int:
    place = error.filename if error.filename is not None else "what this command writes to"
    full = DeviceError(f"the disk of {place} is full", next="make room there, then run it again")
    show_error(full)
    silence_stdout()  # the rest of its buffer would fail again at exit
    return full.exit_code


def _show_unexpected(error: Exception) -> int:
    message = getattr(error, "format_message", None)
    if message is None:
        traceback.print_exception(error, file=sys.stderr)
        print("error: this is a bug in hpo; please report the lines above", file=sys.stderr)
        return BUG
    # typer's own errors about the command line. Its exception classes have moved between versions; these two
    # attributes have not.
    text = _with_value(str(message()).strip(), error.__cause__)
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "hpo") or "hpo"
    if text:
        print(f"error: {text[0].lower()}{text[1:].rstrip('.')}\nnext: `{command} --help`", file=sys.stderr)
    else:  # `hpo` alone: the help was shown
        print(getattr(context, "get_help", str)() if context else "", file=sys.stderr)
    return int(getattr(error, "exit_code", 2))


def _with_value(text: str, cause: BaseException | None) -> str:
    """What typer says of a value, with that value: its validation says only what it should be."""
    errors = getattr(cause, "errors", None)
    given = errors()[0].get("input") if callable(errors) else None
    if not isinstance(given, str):
        return text
    return f"{text.partition(', unable to parse')[0].replace('Input should', 'it should')}, not {shortened(given)}"
