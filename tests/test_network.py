"""Networks as wholes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from timbrel.cli.assemble import alike
from timbrel.codec.rave import RaveCodec
from timbrel.codec.rave import tiny as tiny_rave
from timbrel.codec.spectral import SpectralCodec
from timbrel.codec.spectral import tiny as tiny_codec
from timbrel.conditions.recall import RecallConfig
from timbrel.conditions.refinement import RefinementConfig
from timbrel.conditions.structure import Structure, StructureConfig
from timbrel.conditions.timbre import TimbreConfig
from timbrel.errors import InputError, ModelError
from timbrel.generate.windows import structure_of_audio
from timbrel.network import LatentConfig, Network, check_codec, latent_config, mean_of, tiny
from timbrel.nn.causal import Norm

CLOSER = RefinementConfig(layers=1, width=48, blocks=2, heads=2)


def test_the_mean_of_networks_lies_half_way_between_them() -> None:
    first, second = Network(tiny()), Network(tiny())
    mean = mean_of([first, second]).state_dict()
    for name, value in first.state_dict().items():
        half_way = (value + second.state_dict()[name]) / 2
        torch.testing.assert_close(mean[name], half_way)
    alone = mean_of([first]).state_dict()
    assert all(torch.equal(alone[name], value) for name, value in first.state_dict().items())


def test_networks_of_different_sizes_have_no_mean() -> None:
    networks = [Network(tiny()), Network(replace(tiny(), window=32))]
    for tried in (networks, alike(networks)):
        with pytest.raises(ModelError, match="different configurations"):
            mean_of(tried)


def test_one_that_lacks_a_part_has_half_of_it_in_the_mean() -> None:
    older = Network(replace(tiny(), refinement=CLOSER))
    newer = Network(replace(tiny(), refinement=replace(CLOSER, fading=True)))
    assert newer.refinement is not None
    assert newer.refinement.fading is not None
    torch.nn.init.ones_(newer.refinement.fading.told.weight)
    mean = mean_of(alike([older, newer]))
    assert mean.refinement is not None
    assert mean.refinement.fading is not None
    assert (mean.refinement.fading.told.weight == 0.5).all()
    half_way = (older.no_timbre + newer.no_timbre) / 2
    torch.testing.assert_close(mean.no_timbre, half_way)


def test_networks_beside_different_decoders_have_a_mean() -> None:
    decoder = replace(tiny().codec.decoder, noise_bands=0)
    older = replace(tiny(), codec=replace(tiny().codec, decoder=decoder))
    networks = [Network(older), Network(tiny())]
    mean = mean_of(alike(networks))
    assert mean.config == tiny()
    torch.testing.assert_close(mean.no_timbre, sum(n.no_timbre for n in networks) / 2)


def test_another_codec_of_the_same_size_is_noticed() -> None:
    torch.manual_seed(0)
    first, second = RaveCodec(tiny_rave()), RaveCodec(tiny_rave())
    config = replace(tiny(), codec=latent_config(first), structure=StructureConfig("cqt"))
    network = Network(replace(config, latent=first.latent_id))
    check_codec(network, first)
    with pytest.raises(ModelError, match="latents of another codec"):
        check_codec(network, second)
    check_codec(Network(config), second)  # its latents' name was not noted
    with pytest.raises(ModelError, match="no mean"):
        mean_of([network, Network(replace(config, latent=second.latent_id))])
    assert mean_of([Network(config), network]).config == network.config


def test_networks_on_the_latents_of_two_codecs_have_no_mean() -> None:
    codecs = [SpectralCodec(tiny_codec()), SpectralCodec(tiny_codec())]
    codecs[1].basis.deviation.copy_(1 + torch.arange(32) % 3)
    configs = [replace(tiny(), latent=codecs[0].latent_id), tiny()]  # one names its latent
    networks = [Network(config) for config in configs]
    for network, codec in zip(networks, codecs, strict=True):
        network.adopt(codec.basis)
        check_codec(network, codec)
    with pytest.raises(ModelError, match="no mean"):
        mean_of(alike(networks))
    networks[1].adopt(codecs[0].basis)
    check_codec(mean_of(alike(networks)), codecs[0])


def test_a_network_that_names_its_latent_is_made_like_one_that_does_not() -> None:
    older = Network(replace(tiny(), refinement=CLOSER))
    named = Network(replace(tiny(), latent="abc"))
    mean = mean_of(alike([named, older]))
    assert mean.refinement is not None
    assert mean.config.latent == "abc"
    with pytest.raises(ModelError, match="no mean"):
        mean_of(alike([named, Network(replace(tiny(), latent="x")), older]))


def test_networks_of_other_channels_have_no_mean() -> None:
    codec = replace(tiny().codec, channels=28)
    with pytest.raises(ModelError, match="no mean"):
        mean_of(alike([Network(tiny()), Network(replace(tiny(), codec=codec))]))


def test_a_codec_whose_residual_was_trained_on_is_noticed() -> None:
    torch.manual_seed(0)
    codec = SpectralCodec(replace(tiny_codec(), residual=16))
    network = Network(replace(tiny(), codec=latent_config(codec), latent=codec.latent_id))
    network.adopt(codec.basis)
    next(codec.decoder.parameters()).data += 0.1  # a decoder may be any
    check_codec(network, codec)
    assert codec.residual is not None
    next(iter(codec.residual.parameters())).data += 0.1
    with pytest.raises(ModelError, match="before it was trained on"):
        check_codec(network, codec)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"context": 64}, "context is 64 of windows of 64"),
        ({"context": -1}, "context is -1"),
        ({"timbre": TimbreConfig(width=-3)}, "timbre.width is -3; give 1 or more"),
        ({"recall": RecallConfig(layers=-1)}, "recall.layers is -1; give 0 or more"),
        ({"recall": RecallConfig(width=50, heads=4)}, "recall.width is 50; give a multiple of"),
        ({"recall": RecallConfig(heads=0)}, "recall.heads is 0"),
        ({"refinement": RefinementConfig(width=50, heads=4)}, "refinement.width is 50"),
    ],
)
def test_sizes_of_which_no_network_can_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(tiny(), **change)


def test_an_odd_embedding_is_refused() -> None:
    with pytest.raises(InputError, match="embedding is 63; give an even number"):
        replace(tiny().denoiser, embedding=63)


def test_structure_from_audio_lies_where_it_lay_in_training_for_any_hop() -> None:
    hop, click = 1_200, 40 * 1_200
    codec = LatentConfig(44_100, hop, 8)
    network = Network(replace(tiny(), codec=codec, structure=StructureConfig("cqt")))
    network.structure_encoder.forward = lambda spectrum: Structure(spectrum)  # type: ignore
    samples = torch.zeros(1, 100 * hop)
    samples[:, click] = 1
    assert network.cqt is not None
    trained = network.cqt(samples)[0, -20:].sum(0)  # high bins are short
    heard = structure_of_audio(network, samples)(0, 100).code[0, -20:].sum(0)
    torch.testing.assert_close(heard[20:60], trained[20:60], atol=1e-3, rtol=1e-3)


def test_what_a_gpu_is_not_asked_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = Network(tiny())
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.05)
    roll = torch.zeros(4, 3, 128, 48)
    roll[:3, :, 60, 5:30] = 0.5  # and one item of silence
    example = torch.randn(4, network.config.codec.channels, 32)
    no, yes = torch.tensor([False] * 4), torch.tensor([True] * 4)

    def told(keep_structure: torch.Tensor, keep_timbre: torch.Tensor) -> torch.Tensor:
        structure, timbre = network.structure_encoder(roll, no), network.timbre(example)
        told = network.condition(structure, timbre, keep_structure, keep_timbre)
        return torch.cat([told.code, told.guess, told.deviation.expand_as(told.guess)], 1)

    patterns = ((yes, yes), (yes, no), (no, yes), (torch.tensor([True, False] * 2), yes))
    asked = [told(*pattern) for pattern in patterns]
    monkeypatch.setattr("timbrel.network.maybe_any", lambda _: True)
    monkeypatch.setattr("timbrel.conditions.outline.maybe_any", lambda _: True)
    monkeypatch.setattr("timbrel.conditions.outline.maybe_where", lambda m: torch.arange(len(m)))
    for pattern, before in zip(patterns, asked, strict=True):
        torch.testing.assert_close(told(*pattern), before)


def test_norms_keep_the_precision_of_what_they_are_given() -> None:
    norm = Norm(48)
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(3, 7, 48, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        low = norm(x.bfloat16())
    assert low.dtype == torch.bfloat16
    assert norm(x).dtype == torch.float32
    torch.testing.assert_close(low.float(), norm(x), atol=0.05, rtol=0.02)
    low.float().square().sum().backward()
    assert norm.weight.grad is not None
    assert norm.weight.grad.dtype == torch.float32
