"""A pod's process, its output, and its end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path


class Process:
    """A command run in a session of its own, whose lines go to a file, each with its time.

    Args:
        command: What to run.
        variables: Its whole environment.
        folder: Where it runs.
        log: The file for what it writes.
        ended: Called on the event loop's thread with the exit code, as a shell counts it, once the
            process and what it left behind are gone.

    Raises:
        OSError: There is no such program or folder.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        log: Path,
        ended: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = ended
        self._output, theirs = os.pipe()
        try:
            # The program is looked up on the container's PATH, not on this process's.
            self._popen = subprocess.Popen(
                command,
                env=dict(variables),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
            )
        except OSError:
            os.close(self._output)
            raise
        finally:
            os.close(theirs)
        self._log = log.open("ab", buffering=0)
        self._line = b""
        self._open = True
        self._lock = threading.Lock()
        self._reaped = False
        os.set_blocking(self._output, False)
        self._loop.add_reader(self._output, self._read)
        threading.Thread(target=self._wait, daemon=True).start()

    def signal(self, number: int) -> None:
        """Signal the process itself, as the kubelet signals PID 1 of a container."""
        with self._lock:
            if not self._reaped:
                os.kill(self._popen.pid, number)

    def kill(self) -> None:
        """Kill the process and its children."""
        with self._lock:
            if not self._reaped:
                os.killpg(self._popen.pid, signal.SIGKILL)

    def _wait(self) -> None:
        # Until it is reaped its number cannot become another process's, so that comes last.
        os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
        self.kill()
        with self._lock:
            code = self._popen.wait()
            self._reaped = True
        with suppress(RuntimeError):  # the loop is closed: the stand-in is gone
            self._loop.call_soon_threadsafe(self._end, 128 - code if code < 0 else code)

    def _end(self, code: int) -> None:
        while self._open and self._read():
            pass
        self._close()
        self._ended(code)

    def _close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._loop.remove_reader(self._output)
        os.close(self._output)
        if self._line:  # it was not ended
            self._log.write(_now() + b" " + self._line)
        self._log.close()

    def _read(self) -> bool:
        """Take what was written; False if nothing is there."""
        try:
            written = os.read(self._output, 1 << 16)
        except BlockingIOError:
            return False
        if not written:
            self._close()
            return False
        *whole, self._line = (self._line + written).split(b"\n")
        self._write(whole)
        return True

    def _write(self, lines: list[bytes]) -> None:
        now = _now()
        self._log.write(b"".join(now + b" " + line + b"\n" for line in lines))


def _now() -> bytes:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
