"""Codecs of others: exported TorchScript, EnCodec and DAC, tiny and random."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from command_line import timbrel
from sounds import RATE, tone
from timbrel.audio import Audio
from timbrel.cli.info import describe
from timbrel.codec.blocks import reconstruct_blocks
from timbrel.codec.external import ExternalCodec, HuggingFaceCodec, TorchScriptCodec
from timbrel.codec.lag import bursts, lag_of
from timbrel.data.store import Store
from timbrel.errors import ModelError
from timbrel.model import folder_of, load
from timbrel.network import Network, latent_config
from timbrel.network import tiny as tiny_model
from timbrel.notes import Notes
from timbrel.serialize import assemble, describe_codec, load_codec, load_listener, save_codec
from timbrel.training.latents import attach_latents
from timbrel.training.model import ModelTraining, train_model
from timbrel.training.run import Budget

CPU = torch.device("cpu")


class Exported(nn.Module):
    """Blocks of 512 samples through an orthogonal matrix and back: loses nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.linalg.qr(torch.randn(512, 512))[0])
        self.register_buffer("encode_params", torch.tensor([1, 1, 512, 512]))
        self.sampling_rate = 22_050

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        return self.basis @ x.reshape(x.shape[0], -1, 512).transpose(1, 2)

    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        return (self.basis.t() @ z).transpose(1, 2).reshape(z.shape[0], 1, -1)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))


class Streaming(Exported):
    """The same, one block late: it remembers, as exports for live use do."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("past", torch.zeros(1, 512, 1))

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        z = self.basis @ x.reshape(x.shape[0], -1, 512).transpose(1, 2)
        late = torch.cat([self.past.expand(x.shape[0], -1, -1), z], 2)
        self.past = late[:, :, -1:]
        return late[:, :, :-1]


class Stateful(Streaming):
    """Of the block before a thousandth is heard: no later than what is given."""

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        z = self.basis @ x.reshape(x.shape[0], -1, 512).transpose(1, 2)
        before = torch.cat([self.past.expand(x.shape[0], -1, -1), z], 2)
        self.past = before[:, :, -1:]
        return z + 0.001 * before[:, :, :-1]


class Late(Streaming):
    """What it decodes comes 300 samples late, too."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("rest", torch.zeros(1, 1, 300))

    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        y = (self.basis.t() @ z).transpose(1, 2).reshape(z.shape[0], 1, -1)
        late = torch.cat([self.rest.expand(z.shape[0], -1, -1), y], 2)
        self.rest = late[:, :, -300:]
        return late[:, :, :-300]


class Stereo(Exported):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("encode_params", torch.tensor([2, 1, 512, 512]))

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 2
        return self.basis @ x[:, 0].reshape(x.shape[0], -1, 512).transpose(1, 2)

    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        y = (self.basis.t() @ z).transpose(1, 2).reshape(z.shape[0], 1, -1)
        return torch.cat([y, y], 1)


class NoCodec(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class WrongShape(Exported):
    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        return x.mean(2)


def exported(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


@pytest.mark.parametrize("module", [Exported, Stereo])
def test_hop_size_and_rate_of_an_export_are_found(module: type[nn.Module], tmp_path: Path) -> None:
    codec = TorchScriptCodec(exported(module(), tmp_path / "c.ts"))
    assert (codec.hop, codec.channels, codec.rate) == (512, 512, 22_050)
    audio = torch.from_numpy(tone(330, 0.5, 22_050))[None, None]
    latent = codec.encode(audio)
    assert latent.shape == (1, 512, -(-audio.shape[2] // 512))
    again = codec.decode(latent)[:, :, : audio.shape[2]]
    torch.testing.assert_close(again, audio, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("module", "lag"), [(Exported, 0), (Streaming, 512), (Late, 812)])
def test_what_an_export_gives_late_is_heard_in_time(
    module: type[nn.Module], lag: int, tmp_path: Path
) -> None:
    codec = TorchScriptCodec(exported(module(), tmp_path / "c.ts"))
    assert codec.lag == lag
    audio = torch.from_numpy(tone(330, 1.0, 22_050))[None, None]
    again = codec.decode(codec.encode(audio))
    known = audio.shape[2] - 1024  # what comes after the end is not decoded
    torch.testing.assert_close(again[:, :, :known], audio[:, :, :known], atol=1e-4, rtol=0)


def delayed(sound: Tensor, late: int) -> Tensor:
    return torch.cat([torch.zeros(late), sound])[: len(sound)]


@pytest.mark.parametrize("seed", range(4))
def test_sounds_without_their_phase_are_found_to_be_late(seed: int) -> None:
    sound = bursts(2**17, RATE)[0, 0]
    window = torch.hann_window(2048)
    magnitude = torch.stft(sound, 2048, 512, window=window, return_complex=True).abs()
    random = torch.Generator().manual_seed(seed)
    phase = 6.28 * torch.rand(magnitude.shape, generator=random)
    again = torch.istft(torch.polar(magnitude, phase), 2048, 512, window=window)
    for late in (1000, 7000, 20_000):
        assert lag_of(sound, delayed(again, late), RATE, 0.5) == pytest.approx(
            late, abs=0.003 * RATE
        )
    assert lag_of(sound, again, RATE, 0.5) == 0
    assert lag_of(sound, torch.randn(len(sound), generator=random), RATE, 0.5) == 0


def test_a_codec_that_keeps_no_phase_is_not_late_until_it_is() -> None:
    codec = load_codec(folder_of("default"))
    sound = bursts(2**17, RATE)
    with torch.inference_mode():
        again = codec.reconstruct(sound)[0, 0]
    assert lag_of(sound[0, 0], again, RATE, 0.5) == 0
    assert lag_of(sound[0, 0], delayed(again, 9000), RATE, 0.5) == pytest.approx(
        9000, abs=0.008 * RATE
    )


@pytest.mark.parametrize("late", [0, 30, 700, 20_000])
def test_what_comes_early_or_inverted_is_not_taken_for_late(late: int) -> None:
    sound = bursts(2**17, RATE)[0, 0]
    assert lag_of(sound, -delayed(sound, late), RATE, 0.5) == late
    assert lag_of(delayed(sound, late), sound, RATE, 0.5) == 0


@pytest.mark.parametrize(("module", "lag"), [(Stateful, 0), (Late, 812)])
def test_stereo_files_go_through_exports_that_remember(
    module: type[nn.Module], lag: int, tmp_path: Path
) -> None:
    codec = TorchScriptCodec(exported(module(), tmp_path / "c.ts"))
    assert (codec.stateful, codec.lag) == (True, lag)
    sound = np.stack([tone(330, 0.7, 22_050), tone(440, 0.7, 22_050)])
    sound[:, -250:] = 0  # it ends before the file does
    blocks = iter(np.split(sound, [5000, 9000], 1))
    pairs = list(reconstruct_blocks(codec, blocks))
    wanted, again = (np.concatenate(parts, 1) for parts in zip(*pairs, strict=True))
    np.testing.assert_array_equal(wanted, sound)
    known = sound.shape[1] // 512 * 512 - 512 if lag == 0 else sound.shape[1]
    np.testing.assert_allclose(again[:, :known], sound[:, :known], atol=1e-3)


@pytest.mark.parametrize("module", [Exported, Streaming, Late])
@pytest.mark.parametrize("size", [100, 512, 5000])
def test_exports_stream_as_they_code_the_whole(
    module: type[nn.Module], size: int, tmp_path: Path
) -> None:
    codec = TorchScriptCodec(exported(module(), tmp_path / "c.ts"))
    assert codec.stateful == (module is not Exported)
    audio = torch.from_numpy(tone(330, 1.0, 22_050))[None, None]
    with torch.inference_mode():
        whole = codec.encode(audio)
        stream = codec.start_encoding(1)
        parts = [codec.encode_stream(piece, stream) for piece in audio.split(size, 2)]
        torch.testing.assert_close(torch.cat([*parts, stream.end()], 2), whole, atol=1e-4, rtol=0)
        decoding = codec.start_stream(1)
        pieces = [codec.decode_stream(z, decoding) for z in whole.split(3, 2)]
        together = torch.cat([*pieces, decoding.end()], 2)[:, :, codec.delay :]
        torch.testing.assert_close(together, codec.decode(whole), atol=1e-4, rtol=0)


class NoTensor(Exported):
    @torch.jit.export
    def encode(self, x: Tensor) -> tuple[Tensor, int]:
        return x, 1

    def forward(self, x: Tensor) -> Tensor:
        return x


class TooShort(Exported):
    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        return z[:, :1]


class FailsToDecode(Exported):
    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        return z @ z


class NotFinite(Exported):
    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        return torch.log(-torch.ones(x.shape[0], 512, x.shape[2] // 512))


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (NoCodec, "has no encode"),
        (WrongShape, "encode.. gives the shape"),
        (NoTensor, "encode.. gives no tensor"),
        (TooShort, "decode.. gives the shape"),
        (FailsToDecode, "decode.. fails"),
        (NotFinite, "not finite"),
    ],
)
def test_what_is_no_codec_is_named(module: type[nn.Module], words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        TorchScriptCodec(exported(module(), tmp_path / "c.ts"))


def test_a_rate_that_is_no_number_is_not_taken_for_one(tmp_path: Path) -> None:
    module = Exported()
    module.sampling_rate = "high"
    assert TorchScriptCodec(exported(module, tmp_path / "c.ts")).rate == RATE


def test_a_file_that_is_not_torchscript_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.ts").write_bytes(b"something else")
    with pytest.raises(ModelError, match="not a TorchScript file"):
        load_codec(tmp_path / "c.ts", trust=True)


def tiny_encodec(folder: Path) -> Path:
    from transformers import EncodecConfig, EncodecModel

    config = EncodecConfig(
        num_filters=4, hidden_size=8, codebook_dim=8, codebook_size=16, num_lstm_layers=1
    )
    EncodecModel(config).save_pretrained(folder)
    return folder


def tiny_dac(folder: Path) -> Path:
    from transformers import DacConfig, DacModel

    config = DacConfig(
        encoder_hidden_size=4, decoder_hidden_size=32, n_codebooks=2, codebook_size=16,
        sampling_rate=RATE,
    )  # fmt: skip
    DacModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("make", "hop", "rate"), [(tiny_encodec, 320, 24_000), (tiny_dac, 512, RATE)]
)
def test_encodec_and_dac_are_read_from_what_transformers_saves(
    make: object, hop: int, rate: int, tmp_path: Path
) -> None:
    codec = load_codec(make(tmp_path / "hf"))  # type: ignore[operator]
    assert isinstance(codec, HuggingFaceCodec)
    assert (codec.hop, codec.rate) == (hop, rate)
    audio = torch.from_numpy(tone(330, 1.0, rate))[None, None]
    with torch.inference_mode():
        latent = codec.encode(audio)
        assert latent.shape == (1, codec.channels, -(-rate // hop))
        assert codec.decode(latent).shape == (1, 1, latent.shape[2] * hop)
        # quantisation is left out, so what comes back depends on all of the latent
        assert not torch.equal(codec.decode(latent), codec.decode(latent + 1e-3))


@pytest.mark.parametrize("make", [tiny_encodec, tiny_dac])
def test_encodec_and_dac_can_be_sent_to_other_processes(make: object, tmp_path: Path) -> None:
    codec = load_codec(make(tmp_path / "hf"))  # type: ignore[operator]
    again = pickle.loads(pickle.dumps(codec))
    audio = torch.from_numpy(tone(330, 1.0, codec.rate))[None, None]
    with torch.inference_mode():
        assert torch.equal(again.encode(audio), codec.encode(audio))


@pytest.mark.parametrize("module", [Exported, Late])
def test_an_export_can_be_sent_to_other_processes(
    module: type[nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    codec = load_codec(exported(module(), Path("c.ts")), trust=True)
    audio = torch.from_numpy(tone(330, 1.0, codec.rate))[None, None]
    sent, latent = pickle.dumps(codec), codec.encode(audio)
    monkeypatch.chdir("/")  # other processes may be elsewhere
    assert torch.equal(pickle.loads(sent).encode(audio), latent)


def test_what_a_model_on_torchscript_is_can_be_asked_with_trust(tmp_path: Path) -> None:
    codec = load_codec(exported(Exported(), tmp_path / "c.ts"), trust=True)
    network = Network(replace(tiny_model(), codec=latent_config(codec)))
    assemble(tmp_path / "model", codec, network, None, {"name": "other"})
    with pytest.raises(ModelError, match="--trust"):
        describe(str(tmp_path / "model"))
    assert describe(str(tmp_path / "model"), trust=True)["latent_channels"] == codec.channels


def test_other_models_of_transformers_are_refused_by_kind(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="'bert'"):
        load_codec(tmp_path)


def test_reconstructing_with_torchscript_asks_for_trust(tmp_path: Path) -> None:
    script = exported(Exported(), tmp_path / "c.ts")
    source, output = tmp_path / "in.wav", tmp_path / "out.wav"
    Audio(np.stack([tone(330, 3.0), tone(440, 3.0)]), RATE).write(source)
    refused = timbrel("reconstruct", source, "-o", output, "--codec", script)
    assert refused.returncode == 2
    assert "--trust" in refused.stderr
    assert not output.exists()
    done = timbrel("reconstruct", source, "-o", output, "--codec", script, "--trust")
    assert done.returncode == 0, done.stderr
    assert "resampled from 44100 Hz to the codec's 22050 Hz" in done.stderr
    again = Audio.read(output)
    assert again.samples.shape == (2, 3 * 22_050)
    wanted = Audio.read(source).resample(22_050).samples
    np.testing.assert_allclose(again.samples, wanted, atol=2e-3)


def test_a_model_learns_and_plays_on_the_latents_of_another_codec(
    small_store: Store, tmp_path: Path
) -> None:
    shutil.copytree(small_store.path, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    codec = load_codec(tiny_encodec(tmp_path / "hf"))
    assert isinstance(codec, ExternalCodec)
    attach_latents(store, codec, CPU)
    config = replace(tiny_model(), codec=latent_config(codec))
    training = ModelTraining(batch=2, frames=32, example_frames=32, stage_one=0.5)
    network = train_model(
        store, None, codec, tmp_path / "run", config, training, Budget(steps=2), CPU
    )
    assert network.outline is None
    listener = load_listener(folder_of("default"))
    assemble(tmp_path / "model", codec, network, listener, {"name": "other"})
    player = load(tmp_path / "model")
    notes = Notes.from_rows([(0.1, 0.5, 60, 90)])
    assert describe_codec(player.codec) == describe_codec(codec)
    audio = player.render(notes, Audio(tone(330, 1.5)[None], RATE))
    assert audio.rate == 24_000
    assert audio.seconds == pytest.approx(0.5 + 1.5, abs=0.01)
    heard = player.listen(Audio(tone(330, 1.5)[None], RATE))  # as beside a codec of any rate
    assert list(heard.pitch) == [64]
    assert heard.onset[0] == pytest.approx(0, abs=0.05)
    assert heard.offset[0] == pytest.approx(1.5, abs=0.1)


def test_a_reference_to_another_codec_notices_that_it_changed(tmp_path: Path) -> None:
    codec = load_codec(tiny_encodec(tmp_path / "hf"))
    save_codec(codec, tmp_path / "reference")
    assert describe_codec(load_codec(tmp_path / "reference")) == describe_codec(codec)
    torch.manual_seed(1)
    tiny_encodec(tmp_path / "hf")
    with pytest.raises(ModelError, match="is not the codec"):
        load_codec(tmp_path / "reference")
