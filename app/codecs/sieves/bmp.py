"""BMP: as it is, as there is nothing to leave out. https://learn.microsoft.com/windows/win32/gdi/bitmap-storage"""

import struct

from app.codecs.sieves import Check, DamagedError, Sieved

OLD_HEADER_BYTES = 12
HEADERS_BYTES = frozenset({40, 52, 56, 64, 108, 124})
RUN_LENGTHS = frozenset({1, 2})  # compressions


def sieve(data: bytes, check: Check) -> Sieved:
    """Any BMP but run-length encoded ones. Raises DamagedError or struct.error."""
    pixels_at, header = struct.unpack_from("<II", data, 10)
    compression = 0
    if header == OLD_HEADER_BYTES:
        width, height, _, bits = struct.unpack_from("<4H", data, 18)
    elif header in HEADERS_BYTES:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    else:
        raise DamagedError("has a header of no known length")
    rows = abs(height)  # negative: from top to bottom
    check(width, rows)
    if compression in RUN_LENGTHS:
        # Pillow reads them in Python, a run at a time: a few megabytes would keep all other threads waiting for seconds
        raise DamagedError("is run-length encoded, which is not read")
    missing = pixels_at + (width * bits + 31) // 32 * 4 * (rows - 1) + (width * bits + 7) // 8 - len(data)
    if missing > 0:
        raise DamagedError(f"is cut off: {missing} bytes of its pixels are missing")
    return Sieved((width, rows), data)
