"""Pieces of any size through any codec give what the whole gives."""

import pytest
import torch
from torch import Tensor

from designs import DESIGNS
from timbrel.codec.codec import Codec, Late, Windowed
from timbrel.codec.filterbank import Filterbank
from timbrel.errors import ShapeError

FRAMES = 30
SIZES = [[1] * 30, [7, 1, 20, 2], [30], [4] * 7 + [2], [8, 8, 8, 6], [2] * 15, [0, 9, 0, 21, 0]]


@pytest.fixture(scope="module", params=DESIGNS)
def codec(request: pytest.FixtureRequest) -> Codec:
    torch.manual_seed(0)
    made: Codec = request.param()
    return made


def decoded(codec: Codec, pieces: list[Tensor]) -> Tensor:
    stream = codec.start_stream(len(pieces[0]))
    parts = [codec.decode_stream(z, stream) for z in pieces]
    assert all(p.shape[2] == z.shape[2] * codec.hop for p, z in zip(parts, pieces, strict=True))
    whole = torch.cat([*parts, stream.end()], 2)
    return whole[:, :, codec.delay :]


@pytest.mark.parametrize("sizes", SIZES)
def test_streamed_and_offline_decoding_are_equal(codec: Codec, sizes: list[int]) -> None:
    latent = torch.randn(2, codec.channels, FRAMES)
    with torch.inference_mode():
        whole = codec.decode(latent)
        streamed = decoded(codec, list(latent.split(sizes, 2)))
    assert whole.shape == (2, 1, FRAMES * codec.hop)
    assert whole.std() > 1e-3
    # rounding differs with the size of a product, and a phase is a sum of many
    torch.testing.assert_close(streamed, whole, atol=5e-4, rtol=0)


@pytest.mark.parametrize("samples", [1, 1023, 1024, 1025, 30_000])
@pytest.mark.parametrize("size", [64, 1000, 1024, 5000])
def test_streamed_and_offline_encoding_are_equal(codec: Codec, samples: int, size: int) -> None:
    audio = 0.1 * torch.randn(2, 1, samples)
    with torch.inference_mode():
        whole = codec.encode(audio)
        stream = codec.start_encoding(2)
        parts = [codec.encode_stream(piece, stream) for piece in audio.split(size, 2)]
        streamed = torch.cat([*parts, stream.end()], 2)
    assert whole.shape == (2, codec.channels, -(-samples // codec.hop))
    torch.testing.assert_close(streamed, whole, atol=1e-3, rtol=1e-3)


def test_what_encoding_completes_can_be_decoded_at_once_though_it_is_nothing(codec: Codec) -> None:
    audio = 0.1 * torch.randn(1, 1, 5_000)
    with torch.inference_mode():
        encoder, decoder = codec.start_encoding(1), codec.start_stream(1)
        latents = [*(encoder.push(piece) for piece in audio.split(300, 2)), encoder.end()]
        parts = [*(decoder.push(latent) for latent in latents), decoder.end()]
        whole = codec.decode(codec.encode(audio))
        assert codec.decode(latents[0]).shape == (1, 1, 0)
    assert latents[0].shape == (1, codec.channels, 0)
    torch.testing.assert_close(torch.cat(parts, 2)[:, :, codec.delay :], whole, atol=5e-4, rtol=0)


def test_streams_of_nothing_end_with_nothing_for_every_item(codec: Codec) -> None:
    with torch.inference_mode():
        assert codec.start_encoding(2).end().shape == (2, codec.channels, 0)
        assert codec.start_stream(2).end().shape[:2] == (2, 1)


def test_a_stream_refuses_more_channels_as_the_whole_does(codec: Codec) -> None:
    with pytest.raises(ShapeError, match=r"\(1, 2, "):
        codec.start_encoding(1).push(torch.zeros(1, 2, 5_000))


def test_decoding_sees_no_future_frame(codec: Codec) -> None:
    first = torch.randn(1, codec.channels, 20)
    second = first.clone()
    second[:, :, 12:] = torch.randn(1, codec.channels, 8)
    with torch.inference_mode():
        a, b = codec.decode(first), codec.decode(second)
    known = 12 * codec.hop - codec.delay
    torch.testing.assert_close(a[:, :, :known], b[:, :, :known], atol=1e-6, rtol=0)
    assert not torch.allclose(a[:, :, known:], b[:, :, known:], atol=1e-3)


@pytest.mark.parametrize("bands", [4, 16])
def test_the_filterbank_gives_the_audio_back(bands: int) -> None:
    bank, audio = Filterbank(bands), torch.randn(2, 1, bands * 1000)
    again = bank.join(bank.split(audio))[:, :, bank.delay :]
    error = again - audio[:, :, : again.shape[2]]
    assert 10 * torch.log10(audio.square().mean() / error.square().mean()) > 70


def test_a_band_of_the_filterbank_holds_its_frequencies() -> None:
    bank, time = Filterbank(16), torch.arange(16 * 2000) / 44_100
    for band in (0, 5, 15):
        middle = (band + 0.5) * 44_100 / 32
        energy = bank.split(torch.sin(2 * torch.pi * middle * time)[None, None]).square().sum(2)[0]
        assert energy[band] > 0.999 * energy.sum()


def average_of_neighbours(x: Tensor) -> Tensor:
    """A function of frames of 4 values that sees two frames to either side."""
    frames = x.reshape(len(x), 1, -1, 4).mean(3)
    padded = torch.nn.functional.pad(frames, (2, 2))
    return sum(padded[..., k : k + frames.shape[2]] for k in range(5)) / 5


@pytest.mark.parametrize("size", [1, 4, 10, 400])
def test_a_function_with_surroundings_can_be_streamed(size: int) -> None:
    signal = torch.randn(3, 1, 160)
    stream = Windowed(average_of_neighbours, 4, 1, 2, 1, torch.zeros(3, 1, 0))
    parts = [stream.push(piece) for piece in signal.split(size, 2)]
    streamed = torch.cat([*parts, stream.end()], 2)
    torch.testing.assert_close(streamed, average_of_neighbours(signal))


@pytest.mark.parametrize("frames", [1, 3, 20])
def test_a_late_stream_keeps_step_and_ends_whole(frames: int) -> None:
    latent = torch.randn(1, 1, frames)

    def held(x: Tensor) -> Tensor:
        return x.repeat_interleave(8, 2)

    stream = Late(Windowed(held, 1, 8, 5, 1, torch.zeros(1, 1, 0)), hop=8, delay=40)
    parts = [stream.push(z) for z in latent.split(1, 2)]
    assert all(part.shape[2] == 8 for part in parts)
    whole = torch.cat([*parts, stream.end()], 2)
    torch.testing.assert_close(whole[:, :, 40:], held(latent))
    assert whole[:, :, :40].abs().max() == 0
