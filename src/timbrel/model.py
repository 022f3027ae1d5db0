"""The critical path: notes or audio -> structure; audio -> timbre; noise -> latent -> audio."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from timbrel.audio import Audio
from timbrel.codec.codec import Codec
from timbrel.conditions.background import without_background
from timbrel.conditions.listener import Listener, Progress, hear
from timbrel.conditions.structure import RollEncoder
from timbrel.conditions.timbre import Timbre
from timbrel.errors import InputError, ModelError
from timbrel.generate.windows import (
    Sampling,
    StructureBetween,
    generate,
    sampling_of,
    structure_of_audio,
    structure_of_notes,
)
from timbrel.midi import is_midi
from timbrel.network import Network
from timbrel.notes import Notes
from timbrel.roll import roll
from timbrel.serialize import load_codec, load_listener, load_network, read_config

DEFAULT = Path(__file__).parent / "weights" / "default"
LOUDNESS = -20.0  # LUFS of everything that is rendered
EXAMPLE_LOUDNESS = -23.0  # LUFS at which timbre examples were heard in training
TAIL_SECONDS = 1.5  # rendered after the last note: decay and room
LONGEST_EXAMPLE = 20.0  # seconds of a timbre example that are used
LEAST_EXAMPLE = 1.0  # seconds
LONGEST = 24 * 3600.0  # seconds that are rendered
FADE_SECONDS = 0.01  # at the end of a length that was asked for, which may lie within a note

Structure = str | Path | Notes | Audio
Example = str | Path | Audio


def load(model: str | Path = "default", device: str = "auto", trust: bool = False) -> "Timbrel":
    """Load a model.

    Args:
        model: "default" (in the package) or a model folder.
        device: "auto", "cpu", "cuda", "mps" or any torch device.
        trust: run the TorchScript codec that the model was trained with, if it was: it is code.

    Raises:
        ModelError: the folder is missing, incomplete, damaged or of a newer version.
        InputError: the device is not there.
    """
    folder = folder_of(model)
    config = read_config(folder)
    codec, network = load_codec(folder, trust), load_network(folder)
    listener = None
    if "listener" in config:
        listener = load_listener(folder)
    return Timbrel(codec, network, listener, config.get("about", {}), pick_device(device))


def folder_of(model: str | Path) -> Path:
    """Where a model lies; "default" is in the package."""
    return DEFAULT if str(model) == "default" else Path(model)


def pick_device(name: str) -> torch.device:
    """ "auto" is the GPU if there is one."""
    if name == "auto":
        local = os.environ.get("LOCAL_RANK", "0")  # torchrun starts one process per GPU
        name = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # some can hold nothing
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise InputError(f"device '{name}' cannot be used ({first}); try --device cpu") from error
    return device


class Timbrel:
    """A codec, its encoders and a denoiser, ready to play.

    Attributes:
        codec: audio <-> latent.
        network: encoders E_T and E_S, denoiser D_theta.
        listener: hears notes in audio, or None.
        about: name, licence, training, scores.
    """

    def __init__(
        self,
        codec: Codec,
        network: Network,
        listener: Listener | None,
        about: dict[str, Any],
        device: torch.device,
    ) -> None:
        self.codec, self.network = codec.to(device).eval(), network.to(device).eval()
        self.listener = None if listener is None else listener.to(device).eval()
        self.about, self.device = about, device

    @property
    def reads_notes(self) -> bool:
        """Whether structure is notes, written or heard; else it is learned from audio."""
        return isinstance(self.network.structure_encoder, RollEncoder)

    def render(
        self,
        structure: Structure,
        timbre: Example,
        *,
        steps: int | None = None,
        guidance_structure: float | None = None,
        guidance_timbre: float | None = None,
        seed: int = 0,
        sampler: str | None = None,
        temperature: float | None = None,
        texture: float | None = None,
        octave: str = "keep",
        keep_noise: bool = False,
        length: float | None = None,
        progress: Progress | None = None,
    ) -> Audio:
        """Play the notes of `structure` with the sound of `timbre`.

        Args:
            structure: a MIDI or audio file (told apart by content), notes, or audio.
            timbre: an audio file or audio, 1 s or longer; of more than 20 s the loudest are used.
            steps: evaluations of the denoiser, at least 1.
            guidance_structure: how strongly notes steer; 1 as trained.
            guidance_timbre: how strongly the example steers; 1 as trained.
            seed: of the noise; equal seeds give equal audio.
            sampler: "euler", "heun" or "multistep"; None: the model's own.
            temperature: how much chance there is in what lasts, from 0 to 2; 1 as trained. Less
                is clearer and nearer to the example, more is livelier (docs/decisions/0018).
            texture: likewise in what changes within 0.1 s; less is duller, more rougher (0037).
            octave: "keep" plays notes where they are written, "fit" moves them by whole
                octaves towards the register heard in the example.
            keep_noise: whether steady noise in the example is part of its sound, and played.
            length: seconds; default is the last note's end and its tail.
            progress: called with the share that is done.

        Returns:
            Mono audio at the codec's rate, -20 LUFS, peak at most 0.97.

        Raises:
            InputError: a file or an option that cannot be used.
        """
        sampling = self.sampling(
            steps, guidance_structure, guidance_timbre, seed, sampler, temperature, texture
        )
        if octave not in ("keep", "fit"):
            raise InputError(f"octave is '{octave}'; it can be keep or fit")
        if length is not None and not 1 / self.codec.rate <= length <= LONGEST:
            raise InputError(f"length is {length}; give seconds, from one sample to a day")
        example = self._example(timbre, keep_noise)
        if self.reads_notes:
            notes = self.notes(structure)
            if length is not None and notes.onset[0] >= length:
                raise InputError(
                    f"the first note of {_name(structure)} begins at {notes.onset[0]:.2f} s, and "
                    f"length is {length:g} s: nothing would be heard; give a greater length"
                )
            if octave == "fit":
                notes = notes.transpose(12 * self._octaves_apart(notes, example))
            between = structure_of_notes(self.network, notes, self.codec.frame_rate)
            end = notes.seconds
        elif octave == "fit":
            raise InputError("this model does not read notes, so it cannot move them by octaves")
        else:
            between, end = self._structure_of_audio(structure)
        seconds = end + TAIL_SECONDS if length is None else length
        if seconds > LONGEST:
            raise InputError(
                f"{_name(structure)} lasts {seconds / 3600:.1f} hours, and a day at most is "
                "rendered; cut it, or give a length"
            )
        audio = self._play(between, self._timbre(example), seconds, sampling, progress)
        return (audio if length is None else audio.faded_out(FADE_SECONDS)).with_loudness(LOUDNESS)

    def timbre(self, example: Example, keep_noise: bool = False) -> Timbre:
        """The sound of an example: one vector, and a memory of its notes."""
        return self._timbre(self._example(example, keep_noise))

    def is_noisy(self, example: Example) -> bool:
        """Whether an example holds steady noise, which `render` takes out."""
        audio = self._example(example, keep_noise=True)
        samples = audio.samples[0]
        return without_background(samples, audio.rate) is not samples

    def notes(self, structure: Structure) -> Notes:
        """The notes of a MIDI file, or those heard in audio.

        Tracks on the drum channel are left out, unless there is nothing else.

        Raises:
            InputError: not MIDI, not audio, or without any note after 0 s.
        """
        if isinstance(structure, Notes):
            notes = structure
        elif isinstance(structure, Audio):
            notes = self.listen(structure)
        elif is_midi(structure):
            notes = Notes.read(structure)
        else:
            notes = self.listen(Audio.read(structure, minimum_seconds=0.1, reject_silence=True))
        if len(notes) == 0:
            raise InputError(f"no note was found in {_name(structure)}; is it silent or noise?")
        if notes.seconds <= 0:
            raise InputError(f"all notes of {_name(structure)} are over before 0 s; shift them")
        pitched = notes.pitched()
        return pitched if len(pitched) else notes

    def listen(self, audio: Audio, progress: Progress | None = None) -> Notes:
        """Hear the notes in audio of any length, or the strokes of a drum kit.

        Args:
            audio: at any rate and level.
            progress: called with the share that is heard.

        Raises:
            InputError: samples that are not finite.
            ModelError: the model has no listener.
        """
        if self.listener is None:
            reads = "MIDI only: give a MIDI file" if self.reads_notes else "audio, not by notes"
            raise ModelError(f"this model takes structure from {reads}")
        audio.check_finite("the recording to listen to")
        samples = self._tensor(_levelled(audio.mono()), self.listener.config.rate)
        return hear(self.listener, samples, progress)

    def sampling(
        self,
        steps: int | None = None,
        guidance_structure: float | None = None,
        guidance_timbre: float | None = None,
        seed: int = 0,
        sampler: str | None = None,
        temperature: float | None = None,
        texture: float | None = None,
    ) -> Sampling:
        """The options of `render` with the model's defaults filled in.

        Raises:
            InputError: an option that this model cannot do.
        """
        given = {
            "steps": steps,
            "structure": guidance_structure,
            "timbre": guidance_timbre,
            "sampler": sampler,
            "temperature": temperature,
            "texture": texture,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        most_steps = self.network.config.denoiser.most_steps
        return sampling_of({**self.about.get("sampling", {}), **chosen}, most_steps, seed)

    def info(self) -> dict[str, Any]:
        """Parameters, rates, and what the model card says in short."""
        parts = {"codec": self.codec, "network": self.network, "listener": self.listener}
        counts = {
            name: sum(p.numel() for p in part.parameters())
            for name, part in parts.items()
            if part is not None
        }
        return {
            **self.about,
            "parameters": counts,
            "rate": self.codec.rate,
            "frame_rate": round(self.codec.frame_rate, 3),
            "latent_channels": self.codec.channels,
            "structure": self._structure_kinds(),
        }

    # ---- steps ---------------------------------------------------------------------------

    def _structure_kinds(self) -> str:
        """From what structure can be taken."""
        if not self.reads_notes:
            return "audio"
        return "MIDI and audio" if self.listener is not None else "MIDI"

    def _structure_of_audio(self, structure: Structure) -> tuple[StructureBetween, float]:
        """Structure of a recording between two frames, and its length in seconds."""
        if isinstance(structure, Notes) or (
            not isinstance(structure, Audio) and is_midi(structure)
        ):
            raise InputError(
                f"this model takes structure from audio, and {_name(structure)} is notes; give a "
                "recording, or a model that reads notes"
            )
        if not isinstance(structure, Audio):
            structure = Audio.read(structure, minimum_seconds=0.1, reject_silence=True)
        structure.check_finite("the recording that gives the structure")
        samples = self._tensor(_levelled(structure.mono()), self.codec.rate)
        return structure_of_audio(self.network, samples), structure.seconds

    def _timbre(self, audio: Audio) -> Timbre:
        """The sound of what `_example` returned."""
        with torch.inference_mode():
            latent = self.codec.encode(self._tensor(audio, self.codec.rate)[:, None])
            heard = None
            if self.network.recall is not None and self.listener is not None:
                notes = self.listen(audio).pitched()  # strokes are not looked up
                frames = latent.shape[2]
                heard = torch.from_numpy(roll(notes, self.codec.frame_rate, frames))[None]
                heard = heard.to(self.device)
            return self.network.timbre(latent, heard)

    def _play(
        self,
        between: StructureBetween,
        timbre: Timbre,
        seconds: float,
        sampling: Sampling,
        progress: Progress | None,
    ) -> Audio:
        """Structure and timbre -> audio of exactly `seconds`."""
        codec = self.codec
        samples = round(seconds * codec.rate)
        frames = -(-(samples + codec.delay) // codec.hop)
        stream = codec.start_stream(1)
        pieces, done = [], 0
        with torch.inference_mode():
            for latent in generate(self.network, between, frames, timbre, sampling):
                pieces.append(codec.decode_stream(latent, stream)[0].float().cpu().numpy())
                done += latent.shape[2]
                if progress is not None:
                    progress(done / frames)
        return Audio(np.concatenate(pieces, 1)[:, codec.delay :][:, :samples], codec.rate)

    def _example(self, example: Example, keep_noise: bool) -> Audio:
        """Mono, at the codec's rate and the loudness of training."""
        audio = example
        if not isinstance(audio, Audio):
            audio = Audio.read(audio, minimum_seconds=LEAST_EXAMPLE, reject_silence=True)
        if audio.seconds < LEAST_EXAMPLE:
            raise InputError(
                f"the timbre example is {audio.seconds:.2f} s long; it needs at least 1 s, "
                "3 s or more is better"
            )
        audio.check_finite("the timbre example")
        sounding = audio.mono().loudest(LONGEST_EXAMPLE).without_lead_in()
        if sounding.seconds < LEAST_EXAMPLE:
            raise InputError(
                f"of the timbre example only the last {sounding.seconds:.2f} s are not silent; it "
                "needs at least 1 s of sound, 3 s or more is better"
            )
        audio = sounding.resample(self.codec.rate)
        if not keep_noise:
            audio = Audio(without_background(audio.samples[0], audio.rate)[None], audio.rate)
        return _levelled(audio)

    def _tensor(self, audio: Audio, rate: int) -> Tensor:
        """(1, samples) at a rate in Hz, on the device."""
        mono = audio.mono().resample(rate)
        return torch.from_numpy(np.ascontiguousarray(mono.samples)).to(self.device)

    def _octaves_apart(self, notes: Notes, example: Audio) -> int:
        """Octaves from the notes' register to the one heard in the example.

        Raises:
            ModelError: the model has no listener.
            InputError: notes or example have no register.
        """
        if self.listener is None:
            raise ModelError(
                "this model has no listener to hear the example's register; leave out --octave fit"
            )
        heard = self.listen(example).pitched()
        for what, these in (("the example", heard), ("what is to be played", notes.pitched())):
            if len(these) == 0:
                raise InputError(f"{what} has no pitch that is heard; leave out --octave fit")
        wanted = round(float(np.median(heard.pitch) - np.median(notes.pitch)) / 12)
        # as far as no note leaves the range of MIDI
        least, most = -(int(notes.pitch.min()) // 12), (127 - int(notes.pitch.max())) // 12
        return max(least, min(wanted, most))


def drums_left_out(notes: Notes) -> int:
    """How many notes `Timbrel.notes` leaves out: those on the drum channel, beside others."""
    return len(notes.drums()) if len(notes.pitched()) else 0


def _name(structure: Structure) -> str:
    """How to call the structure in a message."""
    return str(structure) if isinstance(structure, str | Path) else "the structure"


def _levelled(audio: Audio) -> Audio:
    """As loud as in training, however faint: loudness has a gate, below which it has no number."""
    top = np.abs(audio.samples).max(initial=0)
    loud = Audio(audio.samples / top, audio.rate) if top > 0 else audio
    return loud.with_loudness(EXAMPLE_LOUDNESS)
