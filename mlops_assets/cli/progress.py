"""How long work shows how far it is: a bar on a terminal, elsewhere a line a finished step."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


class Progress(AbstractContextManager["Progress"], Protocol):
    """What the main job reports while it runs."""

    def begin(self, title: str) -> None:
        """A run of a job begins."""

    def advance(self, doing: str, done: int, total: int | None) -> None:
        """The run does `doing` now; `done` of `total` partitions are recorded."""

    def step_done(self, step: str, seconds: float, partitions: int) -> None:
        """A step ended well, having published so many partitions of its assets."""


class Lines:
    """One line a finished step, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def begin(self, title: str) -> None:
        """Announce the run."""
        self._say(title)

    def advance(self, doing: str, done: int, total: int | None) -> None:
        """Say nothing: a line for each would drown the log."""

    def step_done(self, step: str, seconds: float, partitions: int) -> None:
        """Say what was done, and in what time."""
        self._say(step_line(step, seconds, partitions))

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class Bar:
    """A bar that moves, above it a line a finished step."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar: RichProgress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[doing]}", markup=False),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
            # What steps print goes to the log; rich would put it on the terminal instead.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, title: str) -> None:
        """Start the bar anew."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(title, total=None, doing="")

    def advance(self, doing: str, done: int, total: int | None) -> None:
        """Move the bar."""
        if self._task is not None:
            count = f" {done}/{total}" if total and total > 1 else ""
            self._bar.update(self._task, completed=done, total=total, doing=f"{doing}{count}")

    def step_done(self, step: str, seconds: float, partitions: int) -> None:
        """Leave a line above the bar."""
        line = step_line(step, seconds, partitions)
        self._bar.console.print(line, markup=False, highlight=False)


def step_line(step: str, seconds: float, partitions: int) -> str:
    """The line of a finished step."""
    return (
        f"  {step:<32} {partitions:>5} partition{'s' if partitions != 1 else ' '} {seconds:>7.1f} s"
    )


def progress_on(stream: TextIO, *, lines_only: bool = False) -> Progress:
    """The progress that suits a stream: a bar only where a person looks at it."""
    return Bar(stream) if stream.isatty() and not lines_only else Lines(stream)
