"""Restore what a user's function may change in the trainer's process: every trial starts the same."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import torch

__all__ = ["undisturbed"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)


@contextmanager
def undisturbed(seed: int, arguments: list[str]) -> Iterator[None]:
    """Seed a block with `seed` and give it the script's `arguments`; then restore folder, signals, torch's settings."""
    folder, argv, path, environ = os.getcwd(), sys.argv, list(sys.path), dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    threads, grad, dtype = torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype()
    deterministic = torch.are_deterministic_algorithms_enabled()
    sys.argv = arguments
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    try:
        yield
    finally:
        signal.alarm(0)
        for number, handler in handlers.items():
            if handler is not None:  # None: set by no Python code, which cannot be put back
                signal.signal(number, handler)
        with suppress(OSError):
            os.chdir(folder)
        sys.argv = argv
        sys.path[:] = path
        if dict(os.environ) != environ:
            os.environ.clear()
            os.environ.update(environ)
        torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        if torch.are_deterministic_algorithms_enabled() != deterministic:  # to be told, torch imports its compiler
            torch.use_deterministic_algorithms(deterministic)
