"""The networks in memory. When the budget is spent, the one that was used least recently makes room.

A network that is put out lives on until the last job that holds it is done: nobody's pictures are lost.
"""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from app.engine.catalog import Key
from app.engine.device import Network
from app.telemetry import Metrics

log = logging.getLogger(__name__)

Blend = Callable[[float], Network]  # fidelity 0 … 1 → the network that lies there


@dataclass(frozen=True)
class Resident:
    """An entry's networks, and the bytes of their weights."""

    network: Network  # its generator, for what it is asked most
    size: int
    loose: Mapping[str, Network] = field(default_factory=dict)  # by name, for rows of any shape: "" is the generator
    blend: Blend | None = None  # of models that have a faithful and a sharp generator
    parts: Mapping[str, Network] = field(default_factory=dict)  # by name, those that were made when somebody asked for them


class Residents:
    """Networks by model and version, used least recently first. From any thread."""

    def __init__(self, budget_bytes: int | None, metrics: Metrics) -> None:
        self._budget = budget_bytes
        self._metrics = metrics
        self._lock = threading.Lock()
        self._residents: OrderedDict[Key, Resident] = OrderedDict()

    def get(self, key: Key) -> Resident | None:
        """The entry's networks, if they are in memory; they count as used just now."""
        with self._lock:
            resident = self._residents.get(key)
            if resident is None:
                return None
            self._residents.move_to_end(key)
            return resident

    def fits(self, size: int) -> bool:
        """Whether a network of this size may ever be in memory."""
        return self._budget is None or size <= self._budget

    def admit(self, key: Key, resident: Resident, *, make_room: bool) -> None:
        """Keeps a network: if `make_room`, in place of others; else only if there is room."""
        with self._lock:
            self._residents.pop(key, None)  # what it replaces takes no room
            free = None if self._budget is None else self._budget - sum(r.size for r in self._residents.values())
            while free is not None and free < resident.size:
                if not make_room or not self._residents:
                    return
                oldest, gone = self._residents.popitem(last=False)
                free += gone.size
                self._metrics.model_bytes.labels(oldest[0], str(oldest[1])).set(0)
                self._metrics.model_evictions.inc()
                log.info("model %s@%d makes room for %s@%d", *oldest, *key)
            self._residents[key] = resident
            self._metrics.model_bytes.labels(key[0], str(key[1])).set(resident.size)

    def keep_only(self, keys: Collection[Key]) -> None:
        """Lets go of every other network."""
        with self._lock:
            for key in self._residents.keys() - set(keys):
                del self._residents[key]
                self._metrics.model_bytes.labels(key[0], str(key[1])).set(0)
