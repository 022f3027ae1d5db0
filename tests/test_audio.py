import math
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sounds import RATE, estimate_hz, tone
from timbrel import audio as module
from timbrel.audio import Audio, check_writable
from timbrel.errors import InputError
from timbrel.whole import _frame, least_frames


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_writing_and_reading_gives_the_same_samples(tmp_path: Path, suffix: str) -> None:
    audio = Audio(np.stack([tone(440, 1.0), tone(330, 1.0)]), RATE)
    audio.write(tmp_path / f"a.{suffix}")
    back = Audio.read(tmp_path / f"a.{suffix}")
    assert back.rate == RATE
    np.testing.assert_allclose(back.samples, audio.samples, atol=2e-7)
    assert [p.name for p in tmp_path.iterdir()] == [f"a.{suffix}"]


@pytest.mark.parametrize(
    ("subtype", "rate", "channels"),
    [("PCM_U8", 8_000, 1), ("PCM_24", 96_000, 2), ("FLOAT", 192_000, 1), ("PCM_16", 44_100, 32)],
)
def test_unusual_formats_are_read_right(
    tmp_path: Path, subtype: str, rate: int, channels: int
) -> None:
    samples = np.repeat(tone(440, 0.5, rate)[:, None], channels, 1)
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype=subtype)
    audio = Audio.read(tmp_path / "a.wav")
    assert audio.samples.shape == (channels, len(samples))
    heard = audio.mono().resample(RATE).samples[0]
    assert estimate_hz(heard, 300, 600) == pytest.approx(440, rel=1e-3)


def test_loudness_is_set_as_asked_and_never_clips() -> None:
    audio = Audio(tone(1000, 2.0)[None], RATE)
    assert audio.with_loudness(-23).loudness() == pytest.approx(-23, abs=0.1)
    assert np.abs(audio.with_loudness(10).samples).max() == pytest.approx(0.97, abs=1e-4)


def test_silence_has_no_loudness_and_stays_silent() -> None:
    silence = Audio(np.zeros((1, RATE), np.float32), RATE)
    assert silence.loudness() == -math.inf
    assert np.abs(silence.with_loudness(-20).samples).max() == 0


def write_raw(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, samples, RATE, subtype="FLOAT", format="WAV")


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.array([0.1, np.nan] * RATE), "not numbers"),
        (np.zeros(0), "no samples"),
        (tone(440, 0.4), "0.40 s long"),
        (np.zeros(2 * RATE), "is silent"),
    ],
)
def test_useless_audio_is_named_in_one_sentence(
    tmp_path: Path, samples: np.ndarray, words: str
) -> None:
    path = tmp_path / "bad.wav"
    write_raw(path, samples)
    with pytest.raises(InputError, match=words) as caught:
        Audio.read(path, minimum_seconds=1.0, reject_silence=True)
    assert str(path) in str(caught.value)


def test_files_that_are_not_audio_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello, this is no audio")
    (tmp_path / "empty.wav").write_bytes(b"")
    for name, words in (("text.wav", "cannot be read"), ("empty.wav", "empty"), ("x.wav", "exist")):
        with pytest.raises(InputError, match=words):
            Audio.read(tmp_path / name)
    with pytest.raises(InputError, match="folder"):
        Audio.read(tmp_path)


def test_outputs_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"must end in \.wav or \.flac"):
        check_writable(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="does not exist"):
        check_writable(tmp_path / "none" / "a.wav")
    (tmp_path / "b.wav").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        check_writable(tmp_path / "b.wav")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="not writable"):
        check_writable(tmp_path / "a.wav")


def test_a_flac_that_does_not_say_its_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "piped.flac"
    Audio(tone(440, 2.0)[None], RATE).write(path)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the last 36 bits of bytes 18 to 25 are the number of samples
    data[22:26] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(InputError, match="does not say how long it is"):
        Audio.read(path)


def test_a_file_of_samples_alone_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(InputError, match="cannot be read as audio"):
        Audio.read(tmp_path / "a.raw")


def test_channels_that_cancel_are_not_silent() -> None:
    sound = tone(440, 1.0)
    for channels in ([sound, -sound], [sound, sound], [np.zeros_like(sound)] * 20 + [sound]):
        heard = Audio(np.stack(channels), RATE).mono()
        assert np.abs(heard.samples).max() == pytest.approx(np.abs(sound).max(), rel=1e-3)


def test_silence_before_the_first_sound_is_left_out() -> None:
    sound = Audio(np.concatenate([np.zeros(RATE), tone(440, 1.0)])[None], RATE)
    assert sound.without_lead_in().seconds == pytest.approx(1.0, abs=0.01)
    assert sound.without_lead_in().without_lead_in().seconds == sound.without_lead_in().seconds
    assert Audio(np.zeros((1, RATE)), RATE).without_lead_in().seconds == 0


def test_samples_are_float32_whatever_floats_they_were() -> None:
    wave = np.sin(np.arange(RATE) / 10)
    assert Audio(wave[None], RATE).samples.dtype == np.float32
    for samples, words in ((wave, "shape"), ((wave * 30_000).astype(np.int16)[None], "int16")):
        with pytest.raises(InputError, match=words):
            Audio(samples, RATE)


def test_what_is_no_sound_is_not_written(tmp_path: Path) -> None:
    for wrong in (np.nan, np.inf):
        with pytest.raises(InputError, match="not numbers"):
            Audio(np.array([[0.1, wrong]]), RATE).write(tmp_path / "x.wav")
    assert not list(tmp_path.iterdir())


def test_a_wav_that_is_cut_short_is_refused_and_one_from_a_pipe_is_not(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    Audio(tone(440, 2.0)[None], RATE).write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"is cut short: 50% of it is missing; copy it again"):
        Audio.read(path)
    place = whole.index(b"data") + 4
    for claim in (2**31 - 4096, 2**32 - 1):  # of sox and ffmpeg
        path.write_bytes(whole[:place] + claim.to_bytes(4, "little") + whole[place + 4 :])
        assert Audio.read(path).seconds == pytest.approx(2.0, abs=0.01)


def test_what_is_longer_than_a_wav_can_count_is_written_with_wider_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_WAV", 3 * RATE)
    samples = tone(440, 1.5)[None]
    Audio(samples[:, :RATE], RATE).write(tmp_path / "short.wav")
    Audio(samples, RATE).write(tmp_path / "long.wav")
    assert (tmp_path / "short.wav").read_bytes()[:4] == b"RIFF"
    assert (tmp_path / "long.wav").read_bytes()[:4] == b"RF64"
    assert Audio.read(tmp_path / "long.wav").seconds == 1.5


def test_an_input_is_not_written_over(tmp_path: Path) -> None:
    path, link = tmp_path / "a.wav", tmp_path / "b.wav"
    Audio(tone(440, 1.0)[None], RATE).write(path)
    link.symlink_to(path)
    check_writable(path, [tmp_path / "other.wav"])
    for other in (path, link, tmp_path / "." / "a.wav"):
        with pytest.raises(InputError, match="what is read"):
            check_writable(path, [other])


@pytest.mark.parametrize(
    ("suffix", "kind"), [(".wav", "WAV"), (".wav", "RF64"), (".aiff", "AIFF"), (".flac", "FLAC")]
)
def test_files_cut_short_are_refused(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"x{suffix}"
    soundfile.write(path, tone(440, 3.0), RATE, "PCM_16", format=kind)
    assert Audio.read(path).seconds == pytest.approx(3.0)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="cut short"):
        Audio.read(path)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)])
def test_an_mp3_cut_short_is_refused(tmp_path: Path, mode: str, tag: bytes) -> None:
    path = tmp_path / "x.mp3"
    soundfile.write(path, tone(440, 6.0), RATE, format="MP3", bitrate_mode=mode)
    whole = tag + path.read_bytes()
    path.write_bytes(whole)
    assert Audio.read(path).seconds == pytest.approx(6.0, abs=0.1)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"is cut short: (4\d|50)% of it is missing"):
        Audio.read(path)
    path.write_bytes(whole + bytes(128))  # a tag at the end
    assert Audio.read(path).seconds == pytest.approx(6.0, abs=0.1)


def ogg(path: Path, subtype: str) -> tuple[bytes, list[int]]:
    """A file of 6 s with a little noise, and where its pages begin."""
    noise = 0.05 * np.random.default_rng(0).standard_normal(6 * 48_000)
    sound = tone(440, 6.0, 48_000) + noise.astype(np.float32)
    soundfile.write(path, sound, 48_000, subtype, format="OGG")
    whole, starts = path.read_bytes(), [0]
    while starts[-1] < len(whole):
        page = whole[starts[-1] :]
        starts.append(starts[-1] + 27 + page[26] + sum(page[27 : 27 + page[26]]))
    return whole, starts[:-1]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_cut_amid_a_page_is_refused(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "x.ogg"
    whole, starts = ogg(path, subtype)
    last = starts[-1]
    cuts = [len(whole) // 2, len(whole) // 3, starts[-2] - 1, len(whole) - 1]
    for cut in [*cuts, *(last + more for more in (1, 2, 3, 4, 5, 6, 26, 27, 28, 60))]:
        path.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="is cut short: it ends amid an Ogg page; copy it"):
            Audio.read(path)
    path.write_bytes(whole[: starts[2] + 9])  # no sound is left
    with pytest.raises(InputError, match="cut short"):
        Audio.read(path)
    path.write_bytes(whole + whole[: starts[1] + 60])  # another stream follows, and is cut
    with pytest.raises(InputError, match="cut short"):
        Audio.read(path)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_of_whole_pages_is_read(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "x.ogg"
    whole, starts = ogg(path, subtype)
    tags = [b"TAG" + bytes(125), b"\n", b"O my", bytes(200_000)]
    for after in [b"", *tags]:
        path.write_bytes(whole + after)
        assert Audio.read(path).seconds == 6.0
    path.write_bytes(whole[: starts[-1]])  # as of a live stream, whose end nobody marks
    assert 5.0 < Audio.read(path).seconds < 6.0
    path.write_bytes(whole[: starts[-1]] + tags[0])
    assert 5.0 < Audio.read(path).seconds < 6.0


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_of_several_streams_is_refused(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "x.ogg"
    whole, _ = ogg(path, subtype)
    for between in (b"", b"ID3\x04\0\0\0\0\0\0", bytes(3000)):
        path.write_bytes(whole + between + whole)  # only the first would be read
        with pytest.raises(InputError, match="holds more sound than is read of it"):
            Audio.read(path)


def mp3(path: Path, seconds: float, loud: slice) -> bytes:
    """An MP3 of noise in a part of it, which takes more bits than the silence elsewhere."""
    sound = np.zeros(round(seconds * RATE), np.float32)
    sound[loud] = 0.3 * np.random.default_rng(0).standard_normal(len(sound[loud]))
    soundfile.write(path, sound, RATE, format="MP3", bitrate_mode="VARIABLE")
    return path.read_bytes()


@pytest.mark.parametrize("tag", [b"", b"ID3\x04\0\0\0\0\x02\x01" + bytes(257)])
def test_an_mp3_of_which_a_part_would_be_read_is_refused(tmp_path: Path, tag: bytes) -> None:
    path = tmp_path / "x.mp3"
    whole = mp3(path, 12.0, slice(0, RATE))
    headless = whole[_frame(whole[:4])[0] :]  # as cutters leave it: nothing says how long it is
    ape = b"APETAGEX" + struct.pack("<III", 2000, 32, 0) + bytes(32 - 20) + bytes(32)
    footer = b"ID3\x04\0\x10\0\0\0\x10" + bytes(16 + 10)
    between = [tag, b"TAG" + bytes(125), ape, tag + tag + footer]
    for joined in (*(whole + other + whole for other in between), headless, tag + headless):
        path.write_bytes(joined)
        assert soundfile.info(path).duration < 0.9 * 12.0 * (1 + (len(joined) > 1.5 * len(whole)))
        with pytest.raises(InputError, match="holds more sound than is read of it"):
            Audio.read(path)


def test_an_mp3_that_does_not_say_how_long_it_is_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    whole = mp3(path, 12.0, slice(6 * RATE, None))
    path.write_bytes(whole[_frame(whole[:4])[0] :])
    expected = soundfile.info(path).frames
    assert expected > 12.5 * RATE  # a quiet beginning makes libsndfile expect more
    assert Audio.read(path).seconds == pytest.approx(12.0, abs=0.1)
    assert 11.9 * RATE < least_frames(path, expected) < 12.1 * RATE


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_names_that_are_no_text_are_read_and_written(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/lat\xe9"))
    folder.mkdir()
    Audio(tone(440, 1.0)[None], RATE).write(folder / "a.wav")
    assert Audio.read(folder / "a.wav").seconds == pytest.approx(1.0)


def test_the_loudest_part_is_where_the_sound_is() -> None:
    hiss = 1e-3 * np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)
    sound = Audio(np.concatenate([hiss, tone(440, 2.0), hiss])[None], RATE)
    assert np.abs(sound.loudest(2.0).samples).mean() > 0.99 * np.abs(tone(440, 2.0)).mean()
    assert sound.loudest(60.0).samples.shape == sound.samples.shape
