"""`timbrel reconstruct`: a file through the codec and back, to hear and measure what it keeps."""

import math
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress

from timbrel.cli.options import Trust
from timbrel.errors import InputError


def reconstruct(
    source: Annotated[Path, typer.Argument(help="Audio of any length, rate and channels.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Audio to write: .wav or .flac.")],
    codec: Annotated[
        str,
        typer.Option(
            "--codec",
            "--model",
            help="'default' (packaged), a model or codec folder, a TorchScript export of RAVE or "
            "AFTER, a folder or hub name of EnCodec or DAC.",
        ),
    ] = "default",
    trust: Trust = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps.")] = "auto",
) -> None:
    """Encode SOURCE and decode it again, in bounded memory; every channel alone."""
    import soundfile

    from timbrel.audio import check_writable, unreadable, unwritable
    from timbrel.codec.blocks import read_blocks, reconstruct_blocks
    from timbrel.data.files import appearing

    check_writable(output, (source,))
    info = _info(source)
    from timbrel.model import folder_of, pick_device
    from timbrel.serialize import load_codec

    coder = load_codec(folder_of(codec), trust).to(pick_device(device))
    console = Console(stderr=True)
    if info.samplerate != coder.rate:
        console.print(f"resampled from {info.samplerate} Hz to the codec's {coder.rate} Hz")
    squares, counted, written, peak = 0.0, 0, 0, 0.0
    began = time.monotonic()
    length = math.ceil(info.duration * coder.rate)
    try:
        with (
            Progress(console=console, transient=True) as bar,
            appearing(output) as temporary,
            _writer(temporary, output, coder.rate, info.channels, length) as file,
        ):
            task = bar.add_task("reconstructing", total=info.duration)
            for original, again in reconstruct_blocks(coder, read_blocks(source, coder.rate)):
                try:
                    file.write(np.clip(again.T, -1, 1))
                except soundfile.LibsndfileError as full:
                    raise unwritable(output, full) from full
                written += again.shape[1]
                peak = max(peak, float(np.abs(again).max(initial=0)))
                off, frames = _spectral_error(original, again)
                squares, counted = squares + off, counted + frames
                bar.update(task, completed=written / coder.rate)
    except soundfile.LibsndfileError as error:
        raise unreadable(source) from error
    took = time.monotonic() - began
    seconds = written / coder.rate
    console.print(
        f"{output}: {seconds:.1f} s in {took:.1f} s ({seconds / max(took, 1e-9):.0f} times real "
        f"time), {math.sqrt(squares / max(counted, 1)):.2f} dB log-mel distance, "
        f"{coder.channels} numbers at {coder.frame_rate:.1f} Hz a channel, peak {peak:.2f}",
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
    )


def _writer(temporary: Path, output: Path, rate: int, channels: int, length: int) -> Any:
    """A 24-bit sound file to be written.

    Raises:
        InputError: its format cannot hold so many channels.
    """
    import soundfile

    from timbrel.audio import container, native

    kind = container(output, channels, length)
    try:
        return soundfile.SoundFile(native(temporary), "w", rate, channels, "PCM_24", format=kind)
    except soundfile.LibsndfileError as error:
        raise InputError(
            f"{output} cannot be written: {kind} cannot hold {channels} channels at {rate} Hz "
            f"({error})"
        ) from error


def _info(source: Path) -> Any:
    """Rate, channels and length of a file.

    Raises:
        InputError: missing, a folder, empty, not audio, no samples, or not all of them.
    """
    import soundfile

    from timbrel.audio import check_file, native, unreadable
    from timbrel.whole import check_whole

    check_file(source)
    try:
        info = soundfile.info(native(source))
    except soundfile.LibsndfileError as error:
        raise unreadable(source) from error
    if info.frames == 0:
        raise InputError(f"{source} holds no samples, or is cut short; give a longer recording")
    check_whole(source, info.frames)
    return info


def _spectral_error(original: np.ndarray, again: np.ndarray) -> tuple[float, int]:
    """Sum of squared log-mel distances in dB over frames, and the number of frames."""
    from timbrel.evaluation.likeness import HOP, log_mel_db, log_mel_distance

    frames = original.shape[1] // HOP
    if frames == 0:
        return 0.0, 0
    errors = [
        log_mel_distance(log_mel_db(a), log_mel_db(b)) ** 2
        for a, b in zip(original, again, strict=True)
    ]
    return float(np.mean(errors)) * frames, frames
