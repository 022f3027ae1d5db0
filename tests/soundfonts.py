"""Writes a minimal sound font: one looped sine sample, two presets and a kit."""

import struct
from pathlib import Path

import numpy as np

RATE, ROOT = 44_100, 69
LOOP_START, LOOP_END = 4_410, 39_690


def chunk(name: bytes, data: bytes) -> bytes:
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def generators(*pairs: tuple[int, int]) -> list[bytes]:
    return [struct.pack("<HH", kind, value & 0xFFFF) for kind, value in pairs]


def write_font(
    path: Path, low: int = 30, high: int = 100, gain: float = 1.0, cents: int = 0
) -> None:
    """A4 = 440 Hz; presets 0 and 1 of bank 0 sound from `low` to `high`; preset 0 of bank 128.

    A sine, clipped if `gain` is more than 1, and `cents` off.
    """
    time = np.arange(RATE) / RATE
    sine = np.clip(gain * np.sin(2 * np.pi * 440 * time), -1, 1)
    wave = (12_000 * sine).astype("<i2").tobytes() + bytes(92)
    # keys, loop, coarse and fine tuning, sample
    tuning = (51, round(cents / 100)), (52, cents - 100 * round(cents / 100))
    zone = generators((43, low | high << 8), (54, 1), *tuning, (53, 0))
    presets = [(0, 0, b"sine"), (1, 0, b"sine two"), (0, 128, b"kit")]
    phdr = b"".join(
        struct.pack("<20sHHHIII", name, program, bank, i, 0, 0, 0)
        for i, (program, bank, name) in enumerate(presets)
    ) + struct.pack("<20sHHHIII", b"EOP", 0, 0, len(presets), 0, 0, 0)
    pbag = b"".join(struct.pack("<HH", i, 0) for i in range(len(presets) + 1))
    pgen = b"".join(generators((41, 0)) * len(presets)) + bytes(4)
    inst = struct.pack("<20sH", b"sine", 0) + struct.pack("<20sH", b"EOI", 1)
    ibag = struct.pack("<HHHH", 0, 0, len(zone), 0)
    shdr = struct.pack("<20sIIIIIBbHH", b"sine", 0, RATE, LOOP_START, LOOP_END, RATE, ROOT, 0, 0, 1)
    shdr += struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    pdta = b"pdta" + chunk(b"phdr", phdr) + chunk(b"pbag", pbag) + chunk(b"pmod", bytes(10))
    pdta += chunk(b"pgen", pgen) + chunk(b"inst", inst) + chunk(b"ibag", ibag)
    pdta += (
        chunk(b"imod", bytes(10)) + chunk(b"igen", b"".join(zone) + bytes(4)) + chunk(b"shdr", shdr)
    )
    info = b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 1)) + chunk(b"isng", b"EMU8000\0")
    body = b"sfbk" + chunk(b"LIST", info) + chunk(b"LIST", b"sdta" + chunk(b"smpl", wave))
    path.write_bytes(chunk(b"RIFF", body + chunk(b"LIST", pdta)))
