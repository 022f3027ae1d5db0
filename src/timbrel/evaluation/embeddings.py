"""Embeddings for distances between sets of sounds.

`musicnn` needs nothing but this package. Others are models that the user has on disk:
`vggish:FILE` (see `vggish`), and by the transformers library `clap:FOLDER` and `mert:FOLDER`
(also any of its wav2vec2, HuBERT or WavLM folders). Distances by different embeddings cannot
be compared with each other.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from timbrel.audio import Audio
from timbrel.data.files import save_npy
from timbrel.errors import InputError, TimbrelError
from timbrel.evaluation.run import Record, audio_path, memory_of
from timbrel.evaluation.systems import slug
from timbrel.evaluation.timbre_embedding import hear
from timbrel.evaluation.vggish import log_mel_patches, read_vggish

Embedder = Callable[[Audio], np.ndarray]  # -> (n, dim), one row for each patch
PATCH_SECONDS = 3.0


def embedder(name: str) -> Embedder:
    """An embedding by its name: "musicnn", "vggish:FILE", "clap:FOLDER" or "mert:FOLDER".

    Raises:
        InputError: there is no such embedding, or the folder holds none.
        TimbrelError: the transformers library is not installed.
    """
    kind, _, folder = name.partition(":")
    if name == "musicnn":
        return lambda audio: hear(audio.mono().samples[0], audio.rate).patches
    if kind not in ("vggish", "clap", "mert") or not folder:
        raise InputError(
            f"there is no embedding '{name}'; use musicnn, vggish:FILE, clap:FOLDER or mert:FOLDER"
        )
    if kind == "vggish":
        return _vggish(Path(folder))
    if not (Path(folder) / "config.json").is_file():
        raise InputError(f"{folder} holds no model of the transformers library (no config.json)")
    try:
        import transformers
    except ImportError as error:
        raise TimbrelError(f"{kind} needs transformers: pip install 'timbrel[hub]'") from error
    try:
        prepare = transformers.AutoFeatureExtractor.from_pretrained(folder, local_files_only=True)
        model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{folder} cannot be read: {str(error).splitlines()[0]}") from error
    if kind == "clap" and not hasattr(model, "get_audio_features"):
        raise InputError(f"{folder} is not a CLAP model; for others use mert:{folder}")
    return _by_patches(prepare, _clap(model) if kind == "clap" else _hidden(model))


def _vggish(path: Path) -> Embedder:
    if not path.is_file():
        raise InputError(f"{path} does not exist; give a file of VGGish weights")
    network = read_vggish(path)

    def embed(audio: Audio) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(log_mel_patches(audio))).numpy()

    return embed


def _clap(model: Any) -> Callable[[Any], torch.Tensor]:
    def run(inputs: Any) -> torch.Tensor:
        out = model.get_audio_features(**inputs)
        # a tensor, or from version 5 on an output that holds it
        return out if isinstance(out, torch.Tensor) else out.pooler_output

    return run


def _hidden(model: Any) -> Callable[[Any], torch.Tensor]:
    return lambda inputs: model(**inputs).last_hidden_state.mean(1)


def _by_patches(prepare: Any, run: Callable[[Any], torch.Tensor]) -> Embedder:
    """Cut into patches of 3 s (the last is filled up by repeating), each embedded on its own."""
    rate = int(prepare.sampling_rate)

    def embed(audio: Audio) -> np.ndarray:
        samples = audio.mono().resample(rate).samples[0]
        if len(samples) == 0 or not np.isfinite(samples).all():
            raise InputError("the audio to embed is empty or holds samples that are not numbers")
        size = round(PATCH_SECONDS * rate)
        patches = np.resize(samples, (-(-len(samples) // size), size))
        with torch.inference_mode():
            rows = [run(prepare(p, sampling_rate=rate, return_tensors="pt")) for p in patches]
        return torch.cat(rows).float().numpy()

    return embed


class Embedded:
    """Embeddings of a report's sounds, made once and kept beside them.

    Args:
        folder: of the report.
        name: of the embedding, see `embedder`.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self._embed = embedder(name)

    def of(self, record: Record) -> np.ndarray | None:
        """(n, dim) of an output, or None if there is none."""
        if self.name == "musicnn":
            known = memory_of(self.folder).recall(record.heard)
            return None if known is None else known.timbre.patches
        system, case = record.system, record.case
        path = self.folder / "embeddings" / slug(self.name) / slug(system) / f"{slug(case)}.npy"
        if not path.is_file():
            sound = audio_path(self.folder, case, system)
            if not sound.is_file():
                return None
            path.parent.mkdir(parents=True, exist_ok=True)
            save_npy(path, self._embed(Audio.read(sound)))
        return np.load(path)
