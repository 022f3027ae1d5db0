"""What a model plays of a store, for a decoder that is to read a model's latents.

A decoder that knows nothing but encoded sounds reads latents in use that it has never seen: they
are drawn by a denoiser, and err as denoisers do. A vocoder is trained on what the network before it
predicts for the same reason (Shen et al., 2018, "Natural TTS synthesis by conditioning WaveNet on
mel spectrogram predictions", section 3.2).
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from timbrel.audio import Audio
from timbrel.codec.spectral import SpectralCodec
from timbrel.conditions.timbre import Timbre
from timbrel.data.engine import Engine, Local
from timbrel.data.store import Store
from timbrel.errors import DataError, ModelError, TrainingError
from timbrel.generate.windows import generate, structure_of_notes
from timbrel.model import LEAST_EXAMPLE, Timbrel
from timbrel.training.codec_objective import CodecObjective, SpectralObjective
from timbrel.training.excerpts import teaches
from timbrel.training.run import generator

KIND = "played"
LEAST, MOST = 4.0, 10.0  # seconds of an example
DRAWS = 8  # of an example, some of which may be silent


def attach_played(
    store: Store,
    player: Timbrel,
    name: str,
    count: int | None = None,
    progress: Callable[[float], None] | None = None,
    engine: Engine | None = None,
) -> int:
    """Play every item's notes with the sound of another rendition of its timbre.

    Attached as "played" (frames, channels) float16, beside the item's true audio; NaN where an
    item is not played: drums, no notes, no other rendition of its timbre that sounds for long
    enough to be an example, or more than `count`.

    Args:
        store: written to.
        player: plays, with its own sampling; on the processor if the engine has other processes.
        name: tells it from others: what another had begun to play is not gone on with.
        count: how many at most, spread over the store; None: all that can be played.
        progress: called with the share that is done.
        engine: who does it, by default this process.

    Returns:
        How many were played.

    Raises:
        ModelError: the model does not read notes, or its codec is not spectral.
        DataError: none of them can be, or the store's rate is not the codec's.
    """
    if not player.reads_notes:
        raise ModelError("this model takes structure from audio, and a store's notes are played")
    if not isinstance(player.codec, SpectralCodec):
        raise ModelError("only a spectral codec can learn from what a model plays")
    if store.items[0].rate != player.codec.rate:
        raise DataError(
            f"{store.path} is at {store.items[0].rate} Hz and the model's codec at "
            f"{player.codec.rate}; prepare the store at that rate"
        )
    able = [i for i in range(len(store)) if _partners(store, i) and len(store.notes(i))]
    if not able:
        raise DataError(
            f"nothing of {store.path} can be played: it holds no two renditions of a timbre with "
            "notes; render more of each"
        )
    few = np.linspace(0, len(able) - 1, min(count or len(able), len(able))).round().astype(int)
    chosen = {able[i] for i in few}

    def latents(items: list[int]) -> Iterator[np.ndarray]:
        asked = [index for index in items if index in chosen]
        played = (engine or Local()).run(_play, (store, player), asked)
        return (next(played) if i in chosen else _nothing(store, player, i) for i in items)

    way = f"{name}, {len(chosen)} items"
    store.attach(KIND, player.codec.latent_id, latents, way, progress)
    return sum(not np.isnan(store.array(KIND, i)[0, 0]) for i in chosen)


def _partners(store: Store, index: int) -> list[int]:
    """Other renditions of an item's timbre, if it can be played."""
    item = store.items[index]
    if item.drums or item.notes == "none":
        return []
    return [i for i in store.by_identity[item.identity] if i != index]


def _nothing(store: Store, player: Timbrel, index: int) -> np.ndarray:
    """What stands for an item that is not played."""
    frames = -(-store.items[index].length // player.codec.hop)
    return np.full((frames, player.codec.channels), np.nan, np.float16)


@torch.inference_mode()
def _play(shared: tuple[Store, Timbrel], index: int) -> list[np.ndarray]:
    """One item, for an engine."""
    store, player = shared
    codec = player.codec
    frames = -(-store.items[index].length // codec.hop)
    timbre = _timbre(store, player, index, np.random.default_rng(index))
    if timbre is None:
        return [_nothing(store, player, index)]
    structure = structure_of_notes(player.network, store.notes(index), codec.frame_rate)
    sampling = player.sampling(seed=index)
    pieces = generate(player.network, structure, frames, timbre, sampling)
    return [torch.cat(list(pieces), 2)[0].T.half().cpu().numpy()]


def _timbre(store: Store, player: Timbrel, index: int, rng: np.random.Generator) -> Timbre | None:
    """Of a passage of another rendition; None if all that were drawn are silent or too short."""
    partners, rate = _partners(store, index), store.items[index].rate
    for _ in range(DRAWS):
        partner = partners[int(rng.integers(len(partners)))]
        whole = store.items[partner].length
        length = min(whole, int(rng.uniform(LEAST, MOST) * rate))
        start = int(rng.integers(whole - length + 1))
        example = Audio(store.audio(partner, start, length)[None], rate)
        keep_noise = bool(rng.random() < 0.5)  # users have it taken out or not
        if example.without_lead_in().seconds >= LEAST_EXAMPLE:
            return player.timbre(example, keep_noise)
    return None


class PlayedExcerpts:
    """Random excerpts of sounds and of what a model played of them.

    Args:
        store: with such latents attached.
        objective: of the codec that reads them; its training's frames are the excerpts' length,
            its seed that of all draws.

    Raises:
        TrainingError: the codec is not spectral, its latent may still move, or no share of a
            batch is to be played.
        DataError: it is another one, or no item was played that is long enough.
    """

    def __init__(self, store: Store, objective: CodecObjective) -> None:
        codec, training = objective.codec, objective.training
        if not isinstance(objective, SpectralObjective):
            raise TrainingError("only a spectral codec can learn from what a model plays")
        if objective.moves():
            raise TrainingError(
                "this codec's latent still moves while it learns, so nothing can have been played "
                "in it; train it without --played first, then go on with --from"
            )
        if not training.theirs:
            raise TrainingError(
                f"played is {training.played}; give the share of a batch that a model has played"
            )
        store.check(KIND, codec.latent_id)
        self.store, self.hop = store, codec.hop
        self.frames, self.seed = training.frames, training.seed
        least = training.frames * codec.hop
        self.items = [
            i
            for i, item in enumerate(store.items)
            if item.length >= least and not np.isnan(store.array(KIND, i)[0, 0])
        ]
        if not self.items:
            raise DataError(f"{store.path} has no played item of at least {least} samples")

    def batch(self, size: int, step: int, rank: int) -> tuple[Tensor, Tensor]:
        """Audio (size, samples), and latents (size, channels, frames), of the same places."""
        rng = generator(self.seed, step, rank, purpose=6)
        sounds: list[np.ndarray] = []
        latents: list[np.ndarray] = []
        while len(sounds) < size:
            index = self.items[int(rng.integers(len(self.items)))]
            last = self.store.items[index].length // self.hop - self.frames
            start = int(rng.integers(last + 1))
            audio = self.store.audio(index, start * self.hop, self.frames * self.hop)
            if teaches(audio, rng):
                sounds.append(audio.astype(np.float32))
                latents.append(self.store.array(KIND, index)[start : start + self.frames])
        stacked = np.stack(latents).astype(np.float32).transpose(0, 2, 1)
        return torch.from_numpy(np.stack(sounds)), torch.from_numpy(np.ascontiguousarray(stacked))
