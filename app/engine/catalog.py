"""What the zoo holds, kept in step with the folder: new versions appear, deleted ones go, broken ones say why.

Reading and loading happen in one background thread; the event loop only ever reads an immutable snapshot.
"""

import functools
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from app.engine.errors import ModelUnavailableError, UnknownModelError
from models.checkpoint import MANIFEST_FILE, SAMPLES_FILE
from models.errors import ModelError
from models.family import HParams, LatentHParams
from models.manifest import Manifest
from models.tasks import Task

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")

Key = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Served:
    """A healthy zoo entry: it was verified, and drew what its manifest promises."""

    folder: Path
    manifest: Manifest
    hparams: HParams

    @functools.cached_property
    def codes(self) -> int:
        """How many of the last numbers of its latents mean something."""
        return len(self.manifest.codes)

    @functools.cached_property
    def z_dim(self) -> int:
        """Of a model that draws from latents; 0 of others."""
        return self.hparams.z_dim if isinstance(self.hparams, LatentHParams) else 0

    @functools.cached_property
    def key(self) -> Key:
        """Name and version."""
        return self.manifest.name, self.manifest.version

    @functools.cached_property
    def pixels(self) -> int:
        """Pixels of one picture."""
        return self.manifest.output.height * self.manifest.output.width

    @functools.cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the pictures that a model draws from latents, px, ascending; none of other models."""
        return self.hparams.resolutions if isinstance(self.hparams, LatentHParams) else ()

    @functools.cached_property
    def samples(self) -> Path:
        """The sheet of samples made when the model was published."""
        return self.folder / SAMPLES_FILE


@dataclass(frozen=True)
class Broken:
    """A zoo entry that is not served, and why."""

    name: str
    version: int
    reason: str
    stamp: tuple[object, ...] = field(repr=False)  # when it changes on disk, it is tried again


Snapshot = Mapping[Key, Served | Broken]


def parse_reference(reference: str) -> tuple[str, int | None]:
    """`name` or `name@version` → its parts. Raises `UnknownModelError`: nothing else can be in a zoo."""
    name, at, version = reference.partition("@")
    if not NAME.fullmatch(name) or (at and not VERSION.fullmatch(version)):
        raise UnknownModelError("a model is asked for as `name` or `name@version`, such as `fashion` or `fashion@1`")
    return name, int(version) if at else None


class Catalog:
    """The zoo as it is served. `load` verifies a folder and makes it a `Served`, or raises `ModelError`."""

    def __init__(self, zoo: Path, default: str, load: Callable[[Path], Served]) -> None:
        self._zoo = zoo
        self._preferred = default
        self._load = load
        self._entries: Snapshot = MappingProxyType({})
        self._by_reference: dict[str, Served | Broken] = {}
        self._names: frozenset[str] = frozenset()  # of folders, loaded or not
        self._scanned = False
        self._complaint = ""
        self._stopped = False

    @property
    def entries(self) -> Snapshot:
        """Every entry by name and version; never changes under the reader, a rescan puts another one in its place."""
        return self._entries

    @property
    def scanned(self) -> bool:
        """Whether the whole folder has been gone through once."""
        return self._scanned

    def stop(self) -> None:
        """Makes a rescan that is under way end after the model it is loading."""
        self._stopped = True

    def rescan(self) -> None:
        """Brings the catalog in step with the folder. Blocks while new models load; call it from one thread only."""
        found = dict(self._folders())
        self._names = frozenset(name for name, _ in found)
        for key in self._entries.keys() - found.keys():
            log.info("model %s@%d was removed from the zoo", *key)
        kept = {key: entry for key, entry in self._entries.items() if key in found}
        self._show(kept)
        for key, folder in sorted(found.items(), key=lambda item: (item[0][0] != self._preferred, item[0][0], -item[0][1])):
            if self._stopped:
                return
            known = kept.get(key)
            # a healthy version is never read again: versions are not edited, and a seed's picture must not change
            if isinstance(known, Served) or (known is not None and known.stamp == _stamp(folder)):
                continue
            kept = {**kept, key: self._read(key, folder)}
            self._show(kept)  # one by one: the default serves while the last still loads
        self._scanned = True

    def _show(self, entries: Mapping[Key, Served | Broken]) -> None:
        """Puts another snapshot in the place of the last, with everything that a request may call its entries."""
        by_reference: dict[str, Served | Broken] = {}
        # the bare name means the newest healthy version, or the newest if none is
        for key in sorted(entries, key=lambda key: (isinstance(entries[key], Served), key[1])):
            by_reference[key[0]] = by_reference[f"{key[0]}@{key[1]}"] = entries[key]
        self._entries, self._by_reference = MappingProxyType(dict(entries)), by_reference

    def _folders(self) -> Iterable[tuple[Key, Path]]:
        try:
            names = [p for p in self._zoo.iterdir() if NAME.fullmatch(p.name) and p.is_dir()]
            for name in names:
                for folder in name.iterdir():
                    if VERSION.fullmatch(folder.name) and folder.is_dir():
                        yield (name.name, int(folder.name)), folder
        except OSError as error:  # gone between two looks, or not readable: the next look will tell
            if str(error) != self._complaint:  # once, and not at every look
                log.warning("the zoo can't be read in full: %s", error)
            self._complaint = str(error)

    def _read(self, key: Key, folder: Path) -> Served | Broken:
        stamp = _stamp(folder)  # before reading: a change while reading shows as a new stamp
        try:
            served = self._load(folder)
        except ModelError as error:
            log.error("model not served: %s", error)
            return Broken(*key, str(error), stamp)
        except Exception:
            log.exception("model not served: %s@%d failed to load", *key)
            return Broken(*key, f"{key[0]}/{key[1]}: it failed to load; the server's log says why", stamp)
        log.info("model %s@%d is ready", *key)
        return served

    def healthy(self) -> list[Served]:
        """What can be served, by name, newest version first."""
        served = [e for e in self._entries.values() if isinstance(e, Served)]
        return sorted(served, key=lambda s: (s.manifest.name, -s.manifest.version))

    def default(self) -> Served | None:
        """The default model: the configured one, or, where the zoo has none of that name, the first by name."""
        healthy = self.healthy()
        if self._preferred in self._names:
            return next((s for s in healthy if s.manifest.name == self._preferred), None)
        return healthy[0] if healthy else None

    def find(self, reference: str) -> Served:
        """The entry of `name` (newest healthy version) or `name@version`.

        Raises `UnknownModelError`, or `ModelUnavailableError` with the reason.
        """
        entry = self.entry(reference)
        if isinstance(entry, Broken):
            raise ModelUnavailableError(entry.reason)
        return entry

    def entry(self, reference: str) -> Served | Broken:
        """As `find`, but hands out broken entries too. Raises `UnknownModelError`."""
        found = self._by_reference.get(reference)
        if found is not None:
            return found
        name, version = parse_reference(reference)
        versions = sorted((v for n, v in self._entries if n == name), reverse=True)
        if versions:
            raise UnknownModelError(f"'{name}' has no version {version}; it has: {', '.join(map(str, versions))}")
        if not self._scanned and (name in self._names or not self._names):
            raise ModelUnavailableError(f"the model '{name}' is still being loaded")
        known = ", ".join(sorted({n for n, _ in self._entries})) or "none at all"
        raise UnknownModelError(f"there is no model '{name}'; this server has: {known}")

    def first_for(self, tasks: Collection[Task]) -> Served:
        """The default model if it does one of `tasks`, else the first by name that does. Raises as `find` does."""
        default = self.default()
        for served in [default, *self.healthy()] if default else self.healthy():
            if served.manifest.task in tasks:
                return served
        if not self._scanned:
            raise ModelUnavailableError("the models are still being loaded")
        raise UnknownModelError(f"this server has no {' or '.join(tasks)} model; GET /v1/models lists what it has")


def _stamp(folder: Path) -> tuple[object, ...]:
    """Changes whenever somebody touches the entry's files."""
    marks: list[object] = []
    for path in (folder, folder / MANIFEST_FILE, *sorted(folder.glob("*.safetensors"))):
        try:
            status = path.stat()
        except OSError:
            marks.append(None)
        else:
            marks.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(marks)
