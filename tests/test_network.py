"""Networks as wholes."""

from dataclasses import replace

import pytest
import torch

from timbrel.cli.assemble import alike
from timbrel.codec.rave import RaveCodec
from timbrel.codec.rave import tiny as tiny_rave
from timbrel.conditions.refinement import RefinementConfig
from timbrel.conditions.structure import Structure, StructureConfig
from timbrel.errors import ModelError
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
    network = Network(config)
    check_codec(network, first)
    with pytest.raises(ModelError, match="trained on a codec with id"):
        check_codec(network, second)
    older = replace(network.config.codec, id="")  # its latents' id was not noted
    check_codec(Network(replace(config, codec=older)), second)


def test_structure_from_audio_lies_where_it_lay_in_training_for_any_hop() -> None:
    hop, click = 1_200, 40 * 1_200
    codec = LatentConfig(44_100, hop, 8, "x")
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
