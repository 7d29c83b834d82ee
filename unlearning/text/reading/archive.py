"""Zip files from strangers: broken, locked, or made to fill the memory."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from typing import IO

from unlearning.errors import DocumentError

CHUNK = 1 << 16
RATIO = 200  # unpacked to packed size of one member; XML of a real book stays below 30
RATIO_FROM = 2_000_000  # small members may be as repetitive as they like
MOST_MEMBERS = 20_000


class Archive:
    """The members of a zip file, read with limits.

    Sizes are counted while unpacking: what the archive's own directory says cannot be trusted.

    Args:
        data: The zip file.
        name: What to call it in an error.
        max_unpacked: Most bytes that all members read may have together.

    Raises:
        DocumentError: it is no zip file, or a damaged one.
    """

    def __init__(self, data: bytes, name: str, max_unpacked: int) -> None:
        self.name, self.left, self.max_unpacked = name, max_unpacked, max_unpacked
        if data.startswith(b"\xd0\xcf\x11\xe0"):
            raise DocumentError(
                f"'{name}' is protected by a password, or an old Office file under a new suffix.",
                "Open it, remove the password and save it again as .docx.",
            )
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            raise self._broken() from None
        if len(self._zip.infolist()) > MOST_MEMBERS:
            raise DocumentError(f"'{name}' holds more than {MOST_MEMBERS:,} files.", "Give a smaller archive.")
        self._members = {member.filename: member for member in self._zip.infolist()}

    def __contains__(self, path: str) -> bool:
        return path in self._members

    def read(self, path: str) -> bytes:
        """The bytes of one member.

        Raises:
            DocumentError: it is missing, damaged, locked, or unpacks to more than is allowed.
        """
        member = self._members.get(path)
        if member is None:
            raise DocumentError(f"'{self.name}' lacks its part '{path}'.", "Save or download it again.")
        if member.flag_bits & 1:
            raise DocumentError(f"'{self.name}' is protected by a password.", "Remove the password and save it again.")
        try:
            with self._zip.open(member) as stream:
                return self._unpack(stream, member)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, NotImplementedError):
            raise self._broken() from None

    def _unpack(self, stream: IO[bytes], member: zipfile.ZipInfo) -> bytes:
        chunks, size = [], 0
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            self.left -= len(chunk)
            if self.left < 0 or (size > RATIO_FROM and size > RATIO * max(1, member.compress_size)):
                raise DocumentError(
                    f"'{self.name}' is a zip bomb, or far too large: its part '{member.filename}' unpacks to more than "
                    f"{size / 1e6:,.0f} MB (limits: {self.max_unpacked / 1e6:,.0f} MB in all, {RATIO} times packed).",
                    "Give the plain text of it.",
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _broken(self) -> DocumentError:
        return DocumentError(f"'{self.name}' is a broken zip file.", "Download or save it again.")
