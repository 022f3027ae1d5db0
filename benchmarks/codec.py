"""What codecs keep, and what they cost: prints the tables of docs/codec.md.

    timbrel prepare render -o runs/valid --count 192 --split valid --seed 2 --synth-share 0.3
    python benchmarks/codec.py default runs/codec/codec --store runs/valid \\
        --recordings /usr/share/sonic-pi/samples

Sounds: held-out renders, mixes of three of them, and CC0 recordings (Debian: sonic-pi-samples).

Metrics, all between a sound and its reconstruction, means over sounds:
    stft: spectral convergence + L1 of natural log-magnitudes, windows of 256 to 4 096 samples.
        Noise is never the original's, so a codec that makes some loses by it, as other noise would.
    mel: mean absolute difference of log10 of 128 mel magnitudes, floor 1e-5.
    si_sdr: scale-invariant signal-to-distortion ratio, dB (low if phase is free).
    cents: median difference of the strongest partial of each note, where notes are known.
    kept: note F1 of the reconstruction's transcription against the original's.
    f1, f1_original: note F1 against the MIDI of the reconstruction and of the original.
    smear: median growth of the time in which a note rises from 10 to 90 % of its peak, ms.
    bandwidth: up to which frequency third octaves are within 6 dB, over where the original ends.
    mel_0.1, mel_0.3, kept_0.1, kept_0.3: with noise of so many standard deviations on the latent.
    pan_lr, pan_ms: how far off the level between left and right is, dB, per mel and frame, if left
        and right, or mid and side, are coded alone (two renders, panned apart).
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from timbrel.audio import Audio
from timbrel.codec.codec import Codec, CodecStream
from timbrel.codec.losses import MultiResolutionStftLoss
from timbrel.data.store import Store
from timbrel.evaluation.mel import mel_filters
from timbrel.evaluation.notes_metrics import note_scores
from timbrel.evaluation.transcriber import transcribe
from timbrel.model import folder_of
from timbrel.notes import Notes
from timbrel.serialize import load_codec

RATE = 44_100
LOUDNESS = -23.0
RECORDINGS = [
    "ambi_choir",
    "ambi_glass_hum",
    "ambi_piano",
    "bass_woodsy_c",
    "drum_roll",
    "elec_chime",
    "guit_e_fifths",
    "guit_e_slide",
    "guit_em9",
    "guit_harmonics",
    "loop_amen",
    "loop_compus",
    "loop_garzul",
    "loop_safari",
    "perc_bell",
    "vinyl_hiss",
]


@dataclass(eq=False)
class Sound:
    """One sound to reconstruct: (samples,) mono at `RATE`, and its notes if they are known."""

    name: str
    samples: np.ndarray
    notes: Notes | None

    @cached_property
    def heard(self) -> Notes:
        """What the transcriber hears in it."""
        return transcribe(self.samples, RATE)


def renders(store: Store, count: int) -> list[Sound]:
    """Items spread evenly over a store, drums left out."""
    pitched = [i for i, item in enumerate(store.items) if not item.drums]
    chosen = [pitched[int(k)] for k in np.linspace(0, len(pitched) - 1, count)]
    return [Sound(f"render {i}", store.audio(i), store.notes(i)) for i in chosen]


def mixes(store: Store, count: int, seed: int = 0) -> list[Sound]:
    """Sums of three items; their notes are not one list of distinct onsets, so unknown."""
    rng = np.random.default_rng(seed)
    sounds = []
    for number in range(count):
        parts = [store.audio(int(i)) for i in rng.choice(len(store), 3, replace=False)]
        total = Audio(sum(parts)[None], RATE).with_loudness(LOUDNESS).samples[0]
        sounds.append(Sound(f"mix {number}", total, None))
    return sounds


def recordings(folder: Path) -> Iterator[Sound]:
    """CC0 recordings, the first 12 s of each."""
    for name in RECORDINGS:
        audio = Audio.read(folder / f"{name}.flac").mono().resample(RATE).with_loudness(LOUDNESS)
        yield Sound(name, audio.samples[0, : 12 * RATE], None)


# ---- distances ---------------------------------------------------------------------------


def log_mel(samples: np.ndarray) -> np.ndarray:
    """(samples,) -> (128, frames), log10 of magnitudes; a full-scale sine has about 0."""
    window = torch.hann_window(2048)
    spectrum = torch.stft(
        torch.from_numpy(samples), 2048, 512, window=window, return_complex=True
    ).abs()
    filters = torch.from_numpy(mel_filters(RATE, 2048, 128))
    filters = filters / filters.sum(1, keepdim=True)
    return torch.log10((filters @ spectrum * (2 / window.sum())).clamp_min(1e-5)).numpy()


def si_sdr(original: np.ndarray, again: np.ndarray) -> float:
    """Le Roux et al., 2019, in dB."""
    target = (again @ original) / max(original @ original, 1e-12) * original
    return 10 * float(np.log10((target @ target + 1e-12) / (np.sum((again - target) ** 2) + 1e-12)))


def strongest_partial(segment: np.ndarray, hz: float) -> float:
    """Frequency of the strongest peak within 60 cents of `hz`, by parabolic interpolation."""
    size = 2**17
    level = np.abs(np.fft.rfft(segment * np.hanning(len(segment)), size))
    low, high = (int(hz * 2 ** (c / 1200) * size / RATE) for c in (-60, 60))
    peak = low + int(level[low : high + 1].argmax())
    a, b, c = np.log(level[peak - 1 : peak + 2] + 1e-9)
    shift = 0.5 * (a - c) / (a - 2 * b + c) if a - 2 * b + c < 0 else 0.0
    return (peak + shift) * RATE / size


def cents(original: np.ndarray, again: np.ndarray, notes: Notes) -> list[float]:
    """Pitch errors of notes of at least 0.25 s, at each note's strongest partial of four."""
    errors = []
    for onset, offset, pitch in zip(notes.onset, notes.offset, notes.pitch, strict=True):
        start, stop = int((onset + 0.05) * RATE), int(min(offset, onset + 0.6) * RATE)
        if stop - start < 0.2 * RATE or stop > len(original):
            continue
        hz = 440 * 2 ** ((int(pitch) - 69) / 12)
        level = np.abs(np.fft.rfft(original[start:stop] * np.hanning(stop - start)))
        bins = [round(k * hz * (stop - start) / RATE) for k in (1, 2, 3, 4)]
        partial = 1 + int(np.argmax([level[b - 1 : b + 2].max() for b in bins if b < len(level)]))
        before, after = (strongest_partial(x[start:stop], partial * hz) for x in (original, again))
        errors.append(1200 * abs(float(np.log2(after / before))))
    return errors


def rise_ms(samples: np.ndarray, onset: float) -> float | None:
    """From 10 to 90 % of the peak of the 2 ms envelope, from 40 ms before an onset to 60 after."""
    start, stop = int((onset - 0.04) * RATE), int((onset + 0.06) * RATE)
    if start < 0 or stop > len(samples):
        return None
    step = RATE // 1000
    power = (samples[start:stop] ** 2)[: (stop - start) // step * step].reshape(-1, step).mean(1)
    envelope = np.sqrt(np.convolve(power, np.ones(2) / 2, "valid"))
    peak = int(envelope.argmax())
    if envelope[:20].max() > 0.2 * envelope[peak]:
        return None  # something else was sounding
    reached = [int(np.argmax(envelope >= share * envelope[peak])) for share in (0.1, 0.9)]
    return float(reached[1] - reached[0])


def smear(original: np.ndarray, again: np.ndarray, notes: Notes) -> list[float]:
    """How much longer each isolated onset takes, ms."""
    grown = []
    for onset in np.unique(notes.onset):
        before, after = rise_ms(original, float(onset)), rise_ms(again, float(onset))
        if before is not None and after is not None:
            grown.append(after - before)
    return grown


def bandwidth_kept(original: np.ndarray, again: np.ndarray) -> float:
    """See the module's list."""
    power = [np.abs(np.fft.rfft(x)) ** 2 for x in (original, again)]
    hz = np.fft.rfftfreq(len(original), 1 / RATE)
    edges = 50 * 2.0 ** (np.arange(27) / 3)
    bands = [slice(*np.searchsorted(hz, edges[k : k + 2])) for k in range(26)]
    level = np.array([[10 * np.log10(p[b].mean() + 1e-12) for b in bands] for p in power])
    heard = level[0] > level[0].max() - 70
    good = np.abs(level[1] - level[0]) < 6
    top = int(np.flatnonzero(heard)[-1])
    reached = top if good[heard].all() else int(np.flatnonzero(heard & good)[-1])
    return float(edges[reached + 1] / edges[top + 1])


# ---- measuring ---------------------------------------------------------------------------


def through(codec: Codec, samples: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """A sound through the codec, with noise on its latent."""
    audio = Audio(samples[None], RATE).resample(codec.rate)
    with torch.inference_mode():
        latent = codec.encode(torch.from_numpy(audio.samples)[None])
        source = torch.Generator().manual_seed(0)
        latent = latent + noise * torch.randn(latent.shape, generator=source)
        again = codec.decode(latent)[0].numpy()
    again = Audio(again, codec.rate).resample(RATE).samples[0, : len(samples)]
    return np.pad(again, (0, len(samples) - len(again)))


def panning(codec: Codec, first: Sound, second: Sound) -> tuple[float, float]:
    """See the module's list: pan_lr, pan_ms."""
    left = first.samples + 0.3 * second.samples
    right = 0.3 * first.samples + second.samples

    def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return 20 * (log_mel(a) - log_mel(b))

    loud = np.maximum(log_mel(left), log_mel(right)) > -3  # 60 dB below full scale
    wanted = difference(left, right)
    apart = difference(through(codec, left), through(codec, right))
    middle, side = (through(codec, x / 2) for x in (left + right, left - right))
    joined = difference(middle + side, middle - side)
    return tuple(float(np.abs(found - wanted)[loud].mean()) for found in (apart, joined))  # type: ignore[return-value]


def measure(codec: Codec, sounds: list[Sound]) -> dict[str, float]:
    """Means of all metrics."""
    found: dict[str, list[float]] = {}
    stft = MultiResolutionStftLoss()

    def note(name: str, *values: float) -> None:
        found.setdefault(name, []).extend(values)

    for sound in sounds:
        again = through(codec, sound.samples)
        with torch.no_grad():
            note(
                "stft",
                float(stft(torch.from_numpy(again)[None], torch.from_numpy(sound.samples)[None])),
            )
        note("mel", float(np.abs(log_mel(again) - log_mel(sound.samples)).mean()))
        note("si_sdr", si_sdr(sound.samples, again))
        heard, heard_again = sound.heard, transcribe(again, RATE)
        if len(heard):
            note("kept", note_scores(heard, heard_again).f1)
        known = heard if sound.notes is None else sound.notes
        if sound.notes is not None:
            note("f1_original", note_scores(sound.notes, heard).f1)
            note("f1", note_scores(sound.notes, heard_again).f1)
        note("cents", *cents(sound.samples, again, known))
        note("smear", *smear(sound.samples, again, known))
        note("bandwidth", bandwidth_kept(sound.samples, again))
        for level in (0.1, 0.3):
            noisy = through(codec, sound.samples, level)
            note(f"mel_{level}", float(np.abs(log_mel(noisy) - log_mel(sound.samples)).mean()))
            if len(heard):
                note(f"kept_{level}", note_scores(heard, transcribe(noisy, RATE)).f1)
    if len(sounds) > 1 and sounds[0].notes is not None:
        for first, second in zip(sounds[:8:2], sounds[1:8:2], strict=True):
            for name, value in zip(
                ("pan_lr", "pan_ms"), panning(codec, first, second), strict=True
            ):
                note(name, value)
    middle = {"cents", "smear"}
    return {
        name: statistics.median(values) if name in middle else statistics.fmean(values)
        for name, values in found.items()
        if values
    }


def seconds_of(work: Callable[[], object], runs: int = 3) -> float:
    """Best CPU time: what it takes on one idle core, however busy the machine is."""
    took = []
    for _ in range(runs):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def stream_through(codec: Codec, pieces: Sequence[torch.Tensor], stream: CodecStream) -> None:
    for latent in pieces:
        codec.decode_stream(latent, stream)


def cost(codec: Codec, seconds: float = 20.0) -> dict[str, float]:
    """Parameters, GFLOP (without FFTs), times real time, load of streaming."""
    audio = torch.randn(
        1, 1, round(seconds * codec.rate), generator=torch.Generator().manual_seed(0)
    )
    audio *= 0.1
    costs: dict[str, float] = {"M parameters": sum(p.numel() for p in codec.parameters()) / 1e6}
    with torch.inference_mode():
        latent = codec.encode(audio)
        for name, work in (
            ("encode", lambda: codec.encode(audio)),
            ("decode", lambda: codec.decode(latent)),
        ):
            with FlopCounterMode(display=False) as counter:
                work()
            costs[f"{name} GFLOP/s"] = counter.get_total_flops() / seconds / 1e9
            costs[f"{name} x real time"] = seconds / seconds_of(work)
        for chunk in (1, 2, 4, 8):
            stream = codec.start_stream(1)
            pieces = latent[:, :, : 8 * 40].split(chunk, 2)
            took = seconds_of(partial(stream_through, codec, pieces, stream))
            costs[f"load, {chunk} frames"] = took / (8 * 40 / codec.frame_rate)
    return costs


def table(rows: dict[str, dict[str, float]]) -> str:
    """Rows by name as Markdown."""
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, row in rows.items():
        cells = [f"{row[c]:.3g}" if c in row else "-" for c in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codecs", nargs="+", help="'default', model folders or codec folders")
    parser.add_argument("--store", type=Path, help="held-out renders")
    parser.add_argument("--recordings", type=Path, help="folder of sonic-pi-samples")
    parser.add_argument("--trust", action="store_true", help="run TorchScript: it is code")
    parser.add_argument("--count", type=int, default=24, help="renders; a third as many mixes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sounds: dict[str, list[Sound]] = {}
    if options.store:
        store = Store.open(options.store)
        sounds["renders"] = renders(store, options.count)
        sounds["mixes"] = mixes(store, max(1, options.count // 3))
    if options.recordings:
        sounds["recordings"] = list(recordings(options.recordings))
    quality: dict[str, dict[str, float]] = {}
    costs: dict[str, dict[str, float]] = {}
    for name in options.codecs:
        codec = load_codec(folder_of(name), options.trust)
        for kind, group in sounds.items():
            quality[f"{kind}: {name}"] = measure(codec, group)
        costs[name] = cost(codec)
    print(table(dict(sorted(quality.items()))))
    print(f"\nOne thread, CPU time:\n\n{table(costs)}")


if __name__ == "__main__":
    main()
