"""Figures in Prometheus' own forms, read at most every few seconds however often asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mlops_assets.metrics.figures import Figure

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily

KEPT_SECONDS = 15.0
"""So long figures are given out again: two scrapers, or an impatient one, cost no more than one."""

HANGING_SECONDS = 300.0
"""A read that takes longer does not end by itself; every later one waits for it."""

Source = Callable[[], Sequence[Figure]]


class Exposition:
    """What `prometheus_client` asks for figures.

    A source that fails leaves out its own figures, and says so in `mlops_source_up`.

    Args:
        sources: Where figures come from, by name.
        failures: What counts as a source's failure; anything else is raised.
        tell: Is told in words why a source fails.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        failures: tuple[type[Exception], ...],
        tell: Callable[[str], None],
    ) -> None:
        self._sources = sources
        self._failures = failures
        self._tell = tell
        self._lock = threading.Lock()
        self._figures: list[Figure] = []
        self._read_at = -KEPT_SECONDS
        self._began: float | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The figures, as the registry asks for them."""
        from prometheus_client.core import GaugeMetricFamily

        for figure in self.figures():
            family = GaugeMetricFamily(figure.name, figure.means, labels=figure.labels)
            for of, value in figure.values.items():
                family.add_metric(of, value)
            yield family

    def figures(self) -> list[Figure]:
        """The figures, read anew if they are old."""
        with self._lock:
            if time.monotonic() - self._read_at >= KEPT_SECONDS:
                self._began = time.monotonic()
                try:
                    self._figures = self._read()
                finally:
                    self._began = None
                self._read_at = time.monotonic()
            return self._figures

    def hangs(self) -> bool:
        """Whether a source has been asked for so long that nobody will get figures any more."""
        began = self._began
        return began is not None and time.monotonic() - began > HANGING_SECONDS

    def _read(self) -> list[Figure]:
        up = Figure(
            "mlops_source_up", "Whether the figures of a source could be read.", ("source",)
        )
        took = Figure(
            "mlops_source_read_seconds",
            "How long the figures of a source took to read.",
            ("source",),
        )
        found: list[Figure] = [up, took]
        for name, read in self._sources.items():
            began = time.monotonic()
            try:
                found += read()
            except self._failures as error:
                self._tell(f"{name}: {error}")
                up.add(0, name)
            else:
                up.add(1, name)
            took.add(time.monotonic() - began, name)
        return found
