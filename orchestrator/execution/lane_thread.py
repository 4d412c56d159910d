"""What every kind of lane is to its driver: a thread that ends by itself or with an error."""

from __future__ import annotations

import abc
import threading


class LaneThread(abc.ABC):
    """A lane whose ``_serve`` runs in a thread of this process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """Why the lane ended, None while it runs and where it ended by itself."""
        return self._error

    def join(self, timeout_s: float | None = None) -> None:
        self._thread.join(timeout_s)

    @abc.abstractmethod
    def _serve(self) -> None:
        """Serve the queue until it is closed and empty."""

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            self._error = error
