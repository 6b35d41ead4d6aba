"""Runs a script as `__main__` in a fresh namespace and puts everything back that it may have changed."""

import builtins
import contextlib
import io
import logging
import os
import random
import signal
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


class Stage:
    """Where one script is run over and over: each time with its own arguments, folder, input, output and modules.

    Its own modules are imported anew each time: they may hold state.
    """

    def __init__(self, seed: int) -> None:
        """seed: of the generators that the script may draw from without seeding them itself."""
        self._seed = seed
        self._runs = 0
        self._code: dict[tuple[str, int, int], types.CodeType] = {}
        self._libraries: set[str] = set()
        self._path = list(sys.path)
        self._environment = dict(os.environ)
        self._filters = list(warnings.filters)
        self._signals = {number: signal.getsignal(number) for number in _SIGNALS}

    def run(self, command: Sequence[str], cwd: str, folder: str, stdin: str, printed: str, errors: str) -> int:
        """Run `command`, the script's path and its arguments, in `cwd`; returns the exit status of a process.

        folder: holds the script's own modules. printed, errors: files that take its standard output and error.
        """
        os.chdir(cwd)
        script = os.path.abspath(command[0])
        sys.argv = list(command)
        sys.path[:] = [os.path.dirname(script), *self._path]
        self._seed_generators()
        real, threads = (sys.stdin, sys.stdout, sys.stderr), set(threading.enumerate())
        _direct(1, printed)
        _direct(2, errors)
        sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()), encoding="utf-8")
        sys.stdout, sys.stderr = own = _stream(1), _stream(2)
        try:
            status = self._perform(script)
            for thread in set(threading.enumerate()) - threads:
                if not thread.daemon:
                    thread.join()
            # As at the end of a process: what the script still holds goes, and files that it left open are written.
            vars(sys.modules["__main__"]).clear()
            for stream in (sys.stdout, sys.stderr, *own):
                with contextlib.suppress(Exception):  # the script's own stream may be anything
                    stream.flush()
        finally:
            sys.stdin, sys.stdout, sys.stderr = real
            self._clear(cwd, folder + os.sep)
            _forget_handlers(own)
        return status

    def seed_libraries(self) -> None:
        """Seed TensorFlow and torch where they are loaded: once, as TensorFlow forgets its compiled kernels each time."""
        if "tensorflow" in sys.modules:
            sys.modules["tensorflow"].random.set_seed(self._seed)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(self._seed)

    def _perform(self, script: str) -> int:
        main = types.ModuleType("__main__")
        main.__dict__.update(__file__=script, __builtins__=builtins, __cached__=None)
        sys.modules["__main__"] = main
        try:
            exec(self._compiled(script), main.__dict__)  # noqa: S102 - running the script is what this is for
        except SystemExit as exit_:
            return _exit_status(exit_.code)
        except BaseException as error:  # noqa: BLE001 - as the interpreter itself: print it and end with 1
            trace = error.__traceback__.tb_next if error.__traceback__ else None
            traceback.print_exception(type(error), error, trace)
            return 1
        return 0

    def _compiled(self, script: str) -> types.CodeType:
        status = os.stat(script)
        key = (script, status.st_mtime_ns, status.st_size)
        if key not in self._code:
            self._code[key] = compile(Path(script).read_bytes(), script, "exec", dont_inherit=True)
        return self._code[key]

    def _seed_generators(self) -> None:
        self._runs += 1
        random.seed(f"{self._seed} {self._runs}")
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed((self._seed + self._runs) % 2**32)

    def _clear(self, cwd: str, folder: str) -> None:
        """Undo what the script did to the process: a process of its own would have ended."""
        os.chdir(cwd)
        for name in sys.modules.keys() - self._libraries - {"__main__"}:
            module = sys.modules[name]
            # a folder of modules without an __init__.py has a path only
            places = [getattr(module, "__file__", None), *list(getattr(module, "__path__", []))[:1]]
            if any(place and os.path.abspath(place).startswith(folder) for place in places):
                del sys.modules[name]
            else:
                self._libraries.add(name)
        if dict(os.environ) != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        warnings.filters[:] = self._filters  # type: ignore[index]
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        signal.alarm(0)
        if numpy := sys.modules.get("numpy"):
            _as_new(numpy)
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


def _as_new(numpy: Any) -> None:
    numpy.set_printoptions(
        precision=8, threshold=1000, edgeitems=3, linewidth=75, suppress=False, nanstr="nan", infstr="inf", formatter=None,
        sign="-", floatmode="maxprec", legacy=False,
    )  # fmt: skip
    numpy.seterr(divide="warn", over="warn", under="ignore", invalid="warn")


def _forget_handlers(streams: tuple[io.TextIOWrapper, ...]) -> None:
    """Take away what the run had logged to: its own output, which is another one in the next run, and files."""
    loggers = [logging.root, *(it for it in logging.root.manager.loggerDict.values() if isinstance(it, logging.Logger))]
    for logger in loggers:
        for handler in list(logger.handlers):
            mine = isinstance(handler, logging.StreamHandler) and handler.stream in streams
            if mine or isinstance(handler, logging.FileHandler):
                logger.removeHandler(handler)
                handler.close()
    logging.root.setLevel(logging.WARNING)


def _stream(descriptor: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.FileIO(descriptor, "w", closefd=False), "utf-8", "replace", write_through=descriptor == 2
    )


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _direct(descriptor: int, path: str) -> None:
    """Have everything that is written to a descriptor go to a file, C libraries and other processes included."""
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(opened, descriptor)
    os.close(opened)
