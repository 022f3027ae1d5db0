"""A tiny codec of each design with random weights, and a latent in order."""

from dataclasses import replace

import numpy as np
import torch

from sounds import tone
from timbrel.codec import rave, spectral
from timbrel.codec.codec import Codec


def random_spectral() -> Codec:
    codec = spectral.SpectralCodec(spectral.tiny())
    codec.basis.fit([torch.from_numpy(np.stack([tone(h, 1.0) for h in np.geomspace(80, 2e3, 30)]))])
    for parameter in codec.decoder.leave.parameters():
        torch.nn.init.normal_(parameter, std=0.01)
    return codec.eval()


def random_residual() -> Codec:
    torch.manual_seed(0)
    codec = spectral.SpectralCodec(replace(spectral.tiny(), residual=24))
    codec.load_state_dict(random_spectral().state_dict(), strict=False)
    assert codec.residual is not None
    for parameter in codec.residual.leave.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return codec.eval()


def random_rave() -> Codec:
    codec = rave.RaveCodec(rave.tiny())
    audio = torch.from_numpy(np.stack([tone(h, 1.0) for h in np.geomspace(80, 2e3, 10)]))
    codec.norm.measure([codec.encoder(codec.filterbank.split(audio[:, None, : 43 * 1024]))])
    return codec.eval()


DESIGNS = [random_spectral, random_residual, random_rave]
