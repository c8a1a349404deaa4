"""The way to an MLflow registry: quiet, impatient, one writer at a time on this machine."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from mlflow import MlflowClient

UI_HOST, UI_PORT = "127.0.0.1", 5000
"""Where MLflow's UI of the registry in the state directory is served."""

# MLflow reads these when it is imported or called. Nothing is sent to its makers; no line of its
# own comes between ours, which for a server would be its address with the password; and a registry
# that is down costs seconds: left to itself MLflow waits 120 s for an answer, and asks eight times.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}

# A range of months meets the registry dozens of times; one that is down is not asked each time.
SILENT_SECONDS = 60


class TrackingError(Exception):
    """MLflow could not be reached or refused; the lake is whole, and the sentence says so."""


@dataclass
class Registry:
    """One MLflow registry, reached when it is first needed.

    Attributes:
        uri: Its address, as MLflow takes it; None for a database in `folder`.
        folder: Holds what is needed on this machine: the lock, and the database and artefacts where
            `uri` is None or names a database, which MLflow would put where the process started.
    """

    uri: str | None
    folder: Path
    _experiments: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _silent_until: float = field(default=0.0, init=False, repr=False)
    _last_words: str = field(default="", init=False, repr=False)

    @property
    def address(self) -> str:
        """What MLflow is to connect to."""
        return self.uri or f"sqlite:///{self._database}"

    @property
    def _database(self) -> Path:
        return self.folder / "mlflow.db"

    @property
    def exists(self) -> bool:
        """Whether anything can be in it: its own database is made when it is first opened."""
        return self.uri is not None or self._database.exists()

    @property
    def shown(self) -> str:
        """The address without a password, for people."""
        return _without_password(self.address)

    @property
    def ui(self) -> str | None:
        """Where the registry's UI answers; None where that is not known."""
        if self.uri is None:
            return f"http://{UI_HOST}:{UI_PORT}"
        return self.shown.rstrip("/") if self._is_served else None

    def page(self, path: str) -> str | None:
        """The address of a page of the UI, as it shows trained models; None without a UI."""
        return self.ui and f"{self.ui}/#/{path}?workflowType=machine_learning"

    @property
    def _is_served(self) -> bool:
        return urlsplit(self.address).scheme in ("http", "https")

    @property
    def artifacts(self) -> str | None:
        """Where a new experiment keeps its artefacts; None where the server decides."""
        return None if self._is_served else (self.folder / "artifacts").as_uri()

    @property
    def environment(self) -> dict[str, str]:
        """What MLflow is to find in its environment, as far as somebody set nothing else."""
        return {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()}

    @cached_property
    def _client(self) -> MlflowClient:
        os.environ.update(self.environment)
        from mlflow import MlflowClient

        return MlflowClient(self.address, self.address)

    @contextmanager
    def opened(self) -> Iterator[MlflowClient]:
        """MLflow's client, while no other process of this machine writes.

        MLflow has no key that two processes could not both create, nor can two of them make the
        database at once.

        Raises:
            TrackingError: The registry does not answer, or refuses; or it did not a moment ago.
        """
        if time.monotonic() < self._silent_until:
            raise TrackingError(self._last_words)
        with self._failures(), self._locked():
            yield self._client

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what MLflow raises into a sentence with the way out."""
        try:
            yield
        except Exception as error:
            if not _is_mlflows(error):
                raise
            reason = self._reason(error)
            self._last_words = (
                f"MLflow at {self.shown} did not take what the lake holds ({reason}); the lake is "
                "whole: put that right or correct MLFLOW_TRACKING_URI, then run "
                "`mlops-assets doctor`, which fills in what MLflow lacks."
            )
            self._silent_until = time.monotonic() + SILENT_SECONDS
            # What MLflow raises can repeat the address with its password.
            known = None if self.shown != self.address else error
            raise TrackingError(self._last_words) from known

    def _reason(self, error: Exception) -> str:
        """What kept the registry from answering, or else the first line of what MLflow says."""
        chain: list[BaseException] = [error]
        while (before := chain[-1].__cause__ or chain[-1].__context__) and before not in chain:
            chain.append(before)
        root = next((link for link in reversed(chain) if isinstance(link, OSError)), error)
        first, *_ = str(root).splitlines() or [type(root).__name__]
        return first.replace(self.address, self.shown).rstrip(".")

    def experiment(self, name: str) -> str:
        """The id of the experiment of that name, made or brought back where it is missing.

        Raises:
            TrackingError: The artefacts of this database lie in another folder: it was moved.
        """
        if name not in self._experiments:
            self._experiments[name] = self._open_experiment(name)
        return self._experiments[name]

    def _open_experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return self._client.create_experiment(name, artifact_location=self.artifacts)
        if self.uri is None and found.artifact_location != self.artifacts:
            raise TrackingError(
                f"{self.folder} was moved: its database names {found.artifact_location}. Move it "
                "back, or delete it and run `mlops-assets doctor`, which fills it in again."
            )
        if found.lifecycle_stage != "active":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)


def _is_mlflows(error: Exception) -> bool:
    """Whether the registry failed, or the way to it, a database's driver among it."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, MlflowException | SQLAlchemyError | ImportError | OSError)


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    if "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
