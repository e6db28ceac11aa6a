"""Members of zip archives, also of those that are compressed by Zstandard, as inspect_ai writes its logs.

Python's own zipfile reads Zstandard from 3.14 on; before, Arrow's decompressor does.
"""

import struct
import zipfile
import zlib
from pathlib import Path

import pyarrow

ZSTANDARD = 93  # the number of the compression in APPNOTE.TXT, the specification of zip


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a member, at most as many bytes as it declares.

    Raises:
        ValueError, EOFError, OSError, zlib.error, zipfile.BadZipFile: it is damaged or holds more than it declares.
        NotImplementedError: another compression.
    """
    info = archive.getinfo(name)
    with _zstandard(archive, info) if info.compress_type == ZSTANDARD else archive.open(info) as stream:
        content = stream.read(info.file_size + 1)
    if len(content) > info.file_size:
        raise ValueError(f"{name} holds more than it declares")
    if zlib.crc32(content) != info.CRC:
        raise ValueError(f"the checksum of {name} is another")
    return content


def _zstandard(archive: zipfile.ZipFile, info: zipfile.ZipInfo):
    """A stream of what a member holds. Behind a header of 30 bytes stand its name and a field, and then its data."""
    with Path(archive.filename).open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise ValueError(f"{info.filename} has no header")
        file.seek(sum(struct.unpack("<HH", header[26:30])), 1)
        return pyarrow.CompressedInputStream(pyarrow.BufferReader(file.read(info.compress_size)), "zstd")
