"""Which format a caller wants: `?format=`, or the Accept header with its q-values (RFC 9110, section 12.5.1)."""

from dataclasses import dataclass

from app.codecs import CODECS
from app.errors import RequestError

JSON = "json"
JSON_TYPE = "application/json"
VIDEO = ("video/mp4", "mp4")


@dataclass(frozen=True)
class Range:
    """One entry of an Accept header, such as `image/*;q=0.5`."""

    kind: str
    subkind: str
    q: float
    position: int

    def precision(self, media_type: str) -> int:
        """How exactly this range names a media type: 0 not at all, 3 to the letter."""
        kind, _, subkind = media_type.partition("/")
        if (self.kind, self.subkind) == (kind, subkind):
            return 3
        if (self.kind, self.subkind) == (kind, "*"):
            return 2
        return 1 if (self.kind, self.subkind) == ("*", "*") else 0


def offers(*, moving: bool) -> dict[str, str]:
    """Format name → media type of everything that can be answered, the default first."""
    return {JSON: JSON_TYPE} | {c.name: c.media_type for c in CODECS.values() if (c.moving if moving else c.still)}


def parse_accept(header: str) -> list[Range]:
    """The ranges of an Accept header. What is not well-formed is passed over."""
    ranges = []
    for position, item in enumerate(header.split(",")):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        kind, slash, subkind = media.partition("/")
        q = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    q = float(value)
                except ValueError:
                    q = 0.0
        if slash and 0 <= q <= 1:
            ranges.append(Range(kind, subkind, q, position))
    return ranges


def negotiate(wanted: str | None, accept: str | None, offered: dict[str, str]) -> str:
    """The name of the format to answer in. Raises `not-acceptable`, which lists the formats there are."""
    if wanted is not None:
        name = "jpeg" if wanted.lower() == "jpg" else wanted.lower()
        if name in offered:
            return name
        raise _refusal(wanted, offered)
    if accept is None or not accept.strip():
        return JSON
    ranges = parse_accept(accept)
    best: tuple[float, int] | None = None
    chosen = None
    for name, media_type in offered.items():
        matching = [r for r in ranges if r.precision(media_type)]
        if not matching:
            continue
        nearest = max(matching, key=lambda r: r.precision(media_type))  # `image/*, image/png;q=0` means: no PNG
        rank = (nearest.q, -nearest.position)
        if nearest.q > 0 and (best is None or rank > best):
            best, chosen = rank, name
    if chosen is None:
        raise _refusal(accept, offered)
    return chosen


def _refusal(wanted: str, offered: dict[str, str]) -> RequestError:
    if any(v in wanted.lower() for v in VIDEO):
        reason = "this server makes no video; ask for image/webp or image/gif, which move too (on /v1/interpolate)"
    else:
        reason = f"'{wanted[:100]}' can't be had here"
    have = ", ".join(f"{name} ({media})" for name, media in offered.items())
    return RequestError("not-acceptable", f"{reason}; there is: {have}")
