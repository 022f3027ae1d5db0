"""What the networks of a model see of a batch while they learn."""

import pytest
import torch

from timbrel.codec.spectral import SpectralCodec
from timbrel.data.batch import WARMUP
from timbrel.data.store import Store
from timbrel.network import Network, tiny
from timbrel.training.model import pairs_of
from timbrel.training.objective import Objective
from timbrel.training.run import generator
from timbrel.training.settings import ModelTraining

CPU = torch.device("cpu")


def test_structure_knows_what_rings_from_before_a_target(
    small_store: Store, tiny_codec: SpectralCodec
) -> None:
    network = Network(tiny()).eval()
    training = ModelTraining(frames=24, example_frames=24)
    pairs = pairs_of(small_store, tiny_codec, network.config, training)
    batch = pairs.batch(8, generator(0, 0, 0, 0))
    with torch.no_grad():
        found = Objective(network, training, CPU).encode_structure(batch)
        whole = network.structure_encoder(batch.roll, batch.drums)
        cut = network.structure_encoder(batch.roll[..., WARMUP:], batch.drums)
    assert found.code.shape[2] == batch.latent.shape[2]
    assert found.levels is not None
    assert whole.levels is not None
    assert cut.levels is not None
    torch.testing.assert_close(found.code, whole.code[:, :, WARMUP:])
    torch.testing.assert_close(found.levels, whole.levels[..., WARMUP:])
    assert not torch.allclose(found.levels, cut.levels, atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_in_their_share_of_items_the_first_frames_are_given_nearly_clean(share: float) -> None:
    training = ModelTraining(context_share=share, context_frames=16, context_noise=0.1)
    latent = torch.randn(400, 4, 24)
    moment = torch.rand(400)
    source = torch.Generator().manual_seed(0)
    noisy, noise, context = Objective(Network(tiny()), training, CPU).noised(latent, moment, source)
    given = context[:, 0].sum(1)
    # a beginning, of any length up to that
    assert torch.equal(context[:, 0], (torch.arange(24) < given[:, None]).float())
    assert (given > 0).float().mean() == pytest.approx(share, abs=0.1)
    if share:
        assert given.max() == training.context_frames
        assert given[given > 0].mean() == pytest.approx(8.5, abs=1)
        off = (noisy - latent)[(context > 0).expand_as(latent)]
        assert 0.03 < off.std() < 0.1
    t = moment[:, None, None]
    free = (context == 0).expand_as(latent)
    torch.testing.assert_close(noisy[free], ((1 - t) * latent + t * noise)[free])
