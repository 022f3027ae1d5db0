"""Whether a sound file is whole, and all of it can be read: libsndfile reads what it finds first.

Every check reads the headers of a file, and decodes nothing.
"""

import re
from pathlib import Path
from typing import BinaryIO, Literal

from timbrel.errors import InputError

UNKNOWN_LENGTH = 2**62  # frames: a FLAC that was written to a pipe claims more, and its end is lost
UNKNOWN_BYTES = 2**31 - 2**16  # of a WAV that was written to a pipe: it claims this or more
LONGEST_PAGE = 27 + 255 + 255 * 255  # bytes of Ogg
FARTHEST = 2**18  # bytes beyond the end of a page, in which another is looked for
# kbit/s of an MP3 frame by its index, of MPEG-1 and of the later ones
BITRATES = (
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
RATES = (44_100, 48_000, 32_000)  # Hz by its index, of MPEG-1; of 2 half of it, of 2.5 a quarter
FRAME = 1_152  # samples of an MPEG-1 frame
DELAYS = 3 * FRAME  # encoders' and decoders', which are cut off, are shorter; and a header's frame


def check_whole(path: Path, frames: int) -> None:
    """Refuse a sound file whose end is lost, or is not read.

    Args:
        path: of the file.
        frames: that libsndfile says it has.

    Raises:
        InputError: it is, or more is in there than libsndfile reads.
    """
    if frames > UNKNOWN_LENGTH:
        raise InputError(f"{path} does not say how long it is; save it anew")
    if missing := missing_share(path):
        raise InputError(f"{path} is cut short: {missing:.0%} of it is missing; copy it again")
    if ends_amid_page(path):
        raise InputError(f"{path} is cut short: it ends amid an Ogg page; copy it again")
    if holds_more(path, frames):
        raise InputError(
            f"{path} holds more sound than is read of it: it was joined of several files, or cut "
            "out of one, and its header was not mended; save it anew"
        )


def missing_share(path: Path) -> float:
    """Of a WAV, AIFF or MP3 file, what it counts and ends before; 0 of other files.

    libsndfile takes what is there for all of it. What hardly matters, a hundredth, is no loss.
    """
    return _missing_share_of_samples(path) or _missing_share_of_mp3(path)


def _missing_share_of_samples(path: Path) -> float:
    """Of a WAV or AIFF file's samples."""
    with open(path, "rb") as file:
        kind, long = file.read(4), 0
        if kind not in (b"RIFF", b"RF64", b"FORM"):
            return 0.0
        order: Literal["big", "little"] = "big" if kind == b"FORM" else "little"
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            size, start = int.from_bytes(chunk[4:], order), file.tell()
            if chunk[:4] == b"ds64":  # sizes that 32 bits cannot hold: of all, then of the samples
                long = int.from_bytes(file.read(16)[8:], "little")
            if chunk[:4] in (b"data", b"SSND"):
                size = long or size
                there = path.stat().st_size - start
                # written to a pipe, nothing or the largest number stands there
                lost = 1 - there / size if long or 0 < size < UNKNOWN_BYTES else 0.0
                return lost if lost > 0.01 else 0.0
            file.seek(start + size + size % 2)
    return 0.0


def ends_amid_page(path: Path) -> bool:
    """Whether an Ogg file (Vorbis, Opus, FLAC) has lost its end; False of other files.

    libsndfile takes the whole pages that are there for all of it. Encoders write whole pages, so a
    last page that promises more bytes than follow (RFC 3533, section 6) has lost some. Other bytes
    may follow a whole page, as tags of other formats do. Whether the last page is marked as the end
    of its stream says nothing: recorders of live streams never mark one, and players take such
    files for whole. So a file that was cut exactly between two pages is not found, nor one whose
    lost end is filled with zeros.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"OggS":
            return False
        # a whole page and one that is cut fit in there
        file.seek(max(0, path.stat().st_size - 2 * LONGEST_PAGE))
        tail = file.read()
    starts = [found.start() for found in re.finditer(rb"OggS(?:\0|\Z)", tail)]
    if not starts:  # more than that follows the last page
        return False
    page = tail[starts[-1] :]
    if len(page) < 27:
        return True
    lacing = page[27 : 27 + page[26]]  # the sizes of what it holds
    rest = page[27 + page[26] + sum(lacing) :]
    lost = 27 + page[26] + sum(lacing) > len(page)
    return lost or rest in (b"O", b"Og", b"Ogg")  # of the next page's first bytes


def _missing_share_of_mp3(path: Path) -> float:
    """Of an MP3 that counts its bytes, as those of usual encoders do, in Xing's header."""
    with open(path, "rb") as file:
        start = _after_tag(file, 0)
        file.seek(start)
        frame = file.read(64)
    if frame[:1] != b"\xff" or not (found := re.search(rb"Xing|Info", frame)):
        return 0.0
    flags = int.from_bytes(frame[found.end() :][:4])
    place = found.end() + (8 if flags & 1 else 4)  # after the number of frames, if it is there
    size = int.from_bytes(frame[place : place + 4]) if flags & 2 else 0
    lost = 1 - (path.stat().st_size - start) / size if size else 0.0
    return lost if lost > 0.01 else 0.0


def holds_more(path: Path, frames: int) -> bool:
    """Whether an Ogg or MP3 file holds more sound than libsndfile says.

    Of an Ogg it reads the first of several streams; of an MP3 as many frames as the header of the
    first file says, if it was joined of several, or as the first frames' bit rate lets expect, if
    it has no such header.

    Args:
        path: of the file.
        frames: that libsndfile says it has.
    """
    with open(path, "rb") as file:
        if file.read(4) == b"OggS":
            return _has_several_streams(file)
    return _mp3_frames(path) > max(1.01 * frames, frames + DELAYS)


def least_frames(path: Path, frames: int) -> int:
    """How many frames must be read of a file that is whole.

    Of an MP3 that does not say how long it is libsndfile may expect more than there are.

    Args:
        path: of the file.
        frames: that libsndfile says it has.
    """
    counted = _mp3_frames(path)
    return min(frames, max(0, counted - DELAYS)) if counted else frames


def _has_several_streams(file: BinaryIO) -> bool:
    """Whether a stream begins in an Ogg file after pages of another (RFC 3533, section 4)."""
    start, began = 0, False
    while True:
        file.seek(start)
        head = file.read(27)
        if head[:5] != b"OggS\0":  # tags of other formats may lie between
            start += max(0, (head + file.read(FARTHEST)).find(b"OggS\0"))
            file.seek(start)
            head = file.read(27)
        if len(head) < 27 or head[:5] != b"OggS\0":
            return False
        first = bool(head[5] & 2)
        if first and began:
            return True
        began = began or not first
        start += 27 + head[26] + sum(file.read(head[26]))


def _mp3_frames(path: Path) -> int:
    """Samples of all frames of an MP3, tags between them left out; 0 of other files."""
    total = start = 0
    with open(path, "rb") as file:
        while True:
            start = _after_tag(file, start)
            file.seek(start)
            found = _frame(file.read(4))
            if found is None:
                return total
            size, samples = found
            total, start = total + samples, start + size


def _after_tag(file: BinaryIO, start: int) -> int:
    """Where an MP3 goes on after the tags that are there: ID3 of both kinds, APE."""
    while True:
        file.seek(start)
        tag = file.read(16)
        if tag[:3] == b"ID3" and len(tag) >= 10:  # its size is in 7 bits of each byte
            footer = 10 if tag[5] & 0x10 else 0
            start += 10 + sum(byte << 7 * place for place, byte in enumerate(tag[9:5:-1])) + footer
        elif tag[:8] == b"APETAGEX":
            start += 32 + int.from_bytes(tag[12:16], "little")
        elif tag[:3] == b"TAG":
            start += 128
        else:
            return start


def _frame(head: bytes) -> tuple[int, int] | None:
    """Bytes and samples of an MPEG audio frame of layer III (ISO 11172-3, 2.4.1.3), by its header.

    None: it is no such header.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, index, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or index in (0, 15) or rate == 3:
        return None
    later = version != 3
    hz = RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    samples = FRAME >> later
    size = samples // 8 * BITRATES[later][index - 1] * 1000 // hz + (head[2] >> 1 & 1)
    return size, samples
