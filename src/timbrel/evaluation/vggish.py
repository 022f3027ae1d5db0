"""VGGish (Hershey et al., 2017), for Fréchet distances that can be put beside published ones.

The weights are the user's: a file of PyTorch tensors (.pth, or .safetensors) under the names
that PyTorch ports of it use, `features.N.weight` for the convolutions and
`embeddings.N.weight` for the dense layers. Sizes of layers are read from it. As in usual
practice, embeddings are taken before the quantised whitening that AudioSet applies.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from timbrel.audio import Audio
from timbrel.errors import InputError

RATE, N_FFT, WINDOW, HOP = 16_000, 512, 400, 160  # 25 ms every 10 ms
MELS, LOW_HZ, HIGH_HZ, OFFSET = 64, 125.0, 7_500.0, 0.01
PATCH = 96  # frames, 0.96 s
POOLED = (0, 1, 3, 5)  # convolutions after which time and frequency are halved


class VGGish(nn.Module):
    """The network, its layers as wide as the weights are.

    Args:
        weights: name -> tensor.

    Raises:
        InputError: these are not the weights of such a network.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        kernels, matrices = _layers(weights, "features", 4), _layers(weights, "embeddings", 2)
        if len(kernels) != 6 or not matrices:
            raise InputError(
                "the file holds no VGGish: six convolutions 'features.N' and dense layers "
                "'embeddings.N' are needed"
            )
        features: list[nn.Module] = []
        for number, (kernel, bias) in enumerate(kernels):
            layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
            features += [_filled(layer, kernel, bias), nn.ReLU()]
            features += [nn.MaxPool2d(2)] if number in POOLED else []
        dense: list[nn.Module] = []
        for matrix, bias in matrices:
            layer_ = nn.Linear(matrix.shape[1], matrix.shape[0])
            dense += [_filled(layer_, matrix, bias), nn.ReLU()]
        self.features = nn.Sequential(*features)
        self.embeddings = nn.Sequential(*dense[:-1])  # the last layer is linear

    def forward(self, mel: Tensor) -> Tensor:
        """(patches, 96, 64) log-mel -> (patches, dim)."""
        maps = self.features(mel[:, None])
        # TensorFlow's order, for which the weights were trained: channels last
        return self.embeddings(maps.permute(0, 2, 3, 1).flatten(1))


def _layers(weights: dict[str, Tensor], part: str, dims: int) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each layer of a part, in order."""
    numbers = sorted(
        int(name.split(".")[1])
        for name, tensor in weights.items()
        if name.startswith(f"{part}.") and name.endswith(".weight") and tensor.ndim == dims
    )
    return [(weights[f"{part}.{n}.weight"], weights[f"{part}.{n}.bias"]) for n in numbers]


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor) -> nn.Module:
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def read_vggish(path: Path) -> VGGish:
    """Read weights; nothing in the file is executed.

    Raises:
        InputError: not such a file.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            weights = load_file(path)
        else:
            weights = torch.load(path, map_location="cpu", weights_only=True)
        network = VGGish({name: tensor.float() for name, tensor in weights.items()}).eval()
        with torch.inference_mode():
            network(torch.zeros(1, PATCH, MELS))  # do the layers fit each other?
        return network
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # readers of damaged files raise nearly anything
        raise InputError(
            f"{path} cannot be read as VGGish weights ({type(error).__name__})"
        ) from error


def log_mel_patches(audio: Audio) -> np.ndarray:
    """(patches, 96, 64) float32; a sound of less than 0.96 s is repeated to one patch.

    Raises:
        InputError: samples that are not finite, or none.
    """
    samples = audio.mono().resample(RATE).samples[0]
    if len(samples) == 0 or not np.isfinite(samples).all():
        raise InputError("the audio to embed is empty or holds samples that are not numbers")
    least = WINDOW + (PATCH - 1) * HOP
    samples = np.resize(samples, max(len(samples), least)) if len(samples) < least else samples
    frames = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    magnitude = np.abs(np.fft.rfft(frames * window, N_FFT, axis=1))
    mel = np.log(magnitude @ _filters().T + OFFSET).astype(np.float32)
    count = len(mel) // PATCH
    return mel[: count * PATCH].reshape(count, PATCH, MELS)


def _filters() -> np.ndarray:
    """(64, 257): triangles on HTK's mel scale, on magnitudes; their peaks are 1."""

    def mel(hz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log1p(hz / 700.0)

    low, high = mel(np.array([LOW_HZ, HIGH_HZ]))
    edges = np.linspace(low, high, MELS + 2)[:, None]
    bins = mel(np.fft.rfftfreq(N_FFT, 1 / RATE))[None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters: np.ndarray = np.maximum(0, np.minimum(rising, falling))
    filters[:, 0] = 0  # no constant
    return filters
