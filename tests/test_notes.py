import struct
from pathlib import Path

import numpy as np
import pytest

from timbrel.errors import InputError
from timbrel.midi import is_midi
from timbrel.notes import Notes, Track


def variable_length(value: int) -> bytes:
    out = bytes([value & 0x7F])
    while value := value >> 7:
        out = bytes([(value & 0x7F) | 0x80]) + out
    return out


def midi(tracks: list[list[tuple[int, bytes]]], kind: int = 1, ticks: int = 480) -> bytes:
    """A MIDI file from tracks of (delta ticks, event bytes)."""
    data = b"MThd" + struct.pack(">IHHH", 6, kind, len(tracks), ticks)
    for events in tracks:
        body = b"".join(variable_length(delta) + event for delta, event in events)
        body += b"\x00\xff\x2f\x00"
        data += b"MTrk" + struct.pack(">I", len(body)) + body
    return data


def tempo(bpm: float) -> bytes:
    return b"\xff\x51\x03" + struct.pack(">I", round(60e6 / bpm))[1:]


def read(tmp_path: Path, data: bytes) -> Notes:
    path = tmp_path / "x.mid"
    path.write_bytes(data)
    return Notes.read(path)


def test_a_tempo_change_moves_only_what_follows(tmp_path: Path) -> None:
    events = [(0, tempo(120)), (0, b"\x90\x3c\x50"), (480, b"\x80\x3c\x00"), (0, tempo(60))]
    events += [(0, b"\x90\x40\x50"), (480, b"\x80\x40\x00")]
    notes = read(tmp_path, midi([events], kind=0))
    assert notes.onset == pytest.approx([0, 0.5])
    assert notes.offset == pytest.approx([0.5, 1.5])


def test_of_two_tempos_at_one_tick_the_last_holds(tmp_path: Path) -> None:
    note = [(0, b"\x90\x3c\x50"), (480, b"\x80\x3c\x00")]
    for first, last in ((120, 60), (60, 120)):
        notes = read(tmp_path, midi([[(0, tempo(first)), (0, tempo(last)), *note]], kind=0))
        assert notes.offset == pytest.approx([60 / last])


def test_running_status_and_velocity_zero_end_notes(tmp_path: Path) -> None:
    events = [(0, b"\x90\x3c\x50"), (480, b"\x3c\x00"), (0, b"\x3e\x60"), (480, b"\x3e\x00")]
    notes = read(tmp_path, midi([events], kind=0))
    assert notes.pitch.tolist() == [60, 62]
    assert notes.velocity.tolist() == [80, 96]
    assert notes.offset == pytest.approx([0.5, 1.0])


def test_the_pedal_holds_sound_until_it_is_lifted(tmp_path: Path) -> None:
    events = [(0, b"\xb0\x40\x7f"), (0, b"\x90\x3c\x50"), (240, b"\x80\x3c\x00")]
    events += [(720, b"\xb0\x40\x00"), (0, b"\x90\x3e\x50"), (240, b"\x80\x3e\x00")]
    notes = read(tmp_path, midi([events]))
    assert notes.offset == pytest.approx([1.0, 1.25])


def test_a_note_struck_again_under_the_pedal_ends_there(tmp_path: Path) -> None:
    events = [(0, b"\xb0\x40\x7f"), (0, b"\x90\x3c\x50"), (240, b"\x80\x3c\x00")]
    events += [(240, b"\x90\x3c\x50"), (240, b"\x80\x3c\x00"), (240, b"\xb0\x40\x00")]
    notes = read(tmp_path, midi([events]))
    assert notes.onset == pytest.approx([0, 0.5])
    assert notes.offset == pytest.approx([0.5, 1.0])


def test_a_pedal_that_is_never_lifted_ends_with_the_track(tmp_path: Path) -> None:
    events = [(0, b"\xb0\x40\x7f"), (0, b"\x90\x3c\x50"), (240, b"\x80\x3c\x00")]
    events += [(0, b"\x90\x3e\x50"), (960, b"\x80\x3e\x00")]
    notes = read(tmp_path, midi([events]))
    assert notes.offset == pytest.approx([1.25, 1.25])


def test_channel_ten_is_drums(tmp_path: Path) -> None:
    piano = [(0, b"\xc0\x05"), (0, b"\x90\x3c\x50"), (480, b"\x80\x3c\x00")]
    drums = [(0, b"\x99\x24\x50"), (48, b"\x89\x24\x00")]
    notes = read(tmp_path, midi([piano, drums]))
    assert len(notes.pitched()) == 1
    assert notes.drums().pitch.tolist() == [36]
    assert notes.tracks[int(notes.pitched().track[0])].program == 5


def test_format_0_with_two_channels_keeps_them_apart(tmp_path: Path) -> None:
    events = [
        (0, b"\x90\x3c\x50"),
        (0, b"\x99\x24\x60"),
        (480, b"\x80\x3c\x00"),
        (0, b"\x89\x24\x00"),
    ]
    notes = read(tmp_path, midi([events], kind=0))
    assert notes.pitched().pitch.tolist() == [60]
    assert notes.drums().pitch.tolist() == [36]


def test_writing_and_reading_gives_the_same_notes(tmp_path: Path, rng: np.random.Generator) -> None:
    tracks = (Track("lead", 73), Track("kit", 0, True))
    onset = np.sort(rng.uniform(0, 20, 200))
    rows = [(t, t + 0.2, 30 + i % 60, 1 + i % 127, i % 2) for i, t in enumerate(onset)]
    notes = Notes.from_rows(rows, tracks)
    notes.write(tmp_path / "a.mid")
    back = Notes.read(tmp_path / "a.mid")
    assert len(back) == len(notes)
    assert np.abs(back.onset - notes.onset).max() < 1e-3
    assert np.abs(back.offset - notes.offset).max() < 1e-3
    assert (back.pitch == notes.pitch).all()
    assert (back.velocity == notes.velocity).all()
    assert [back.tracks[i].drums for i in back.track] == [tracks[i].drums for i in notes.track]


def test_cut_keeps_what_sounds_and_the_true_onset() -> None:
    notes = Notes.from_rows([(0, 2, 60, 90), (1, 1.5, 62, 90), (3, 4, 64, 90)])
    part = notes.cut(1.2, 3.0)
    assert part.pitch.tolist() == [60, 62]
    assert part.onset == pytest.approx([-1.2, -0.2])


def test_transposing_drops_notes_that_leave_the_range_but_never_moves_drums() -> None:
    tracks = (Track(), Track(drums=True))
    notes = Notes.from_rows([(0, 1, 120, 90, 0), (0, 1, 60, 90, 0), (0, 1, 36, 90, 1)], tracks)
    assert notes.transpose(12).pitch.tolist() == [36, 72]


def test_corruption_is_measured_as_asked(rng: np.random.Generator) -> None:
    onset = np.arange(4000) * 0.1
    notes = Notes.from_rows([(t, t + 0.05, 60, 90) for t in onset])
    assert len(notes.corrupt(rng, drop=0.25)) == pytest.approx(3000, abs=120)
    assert len(notes.corrupt(rng, extra=0.5)) == pytest.approx(6000, abs=150)
    jittered = notes.corrupt(rng, jitter_seconds=0.01)
    assert np.std(jittered.onset - onset) == pytest.approx(0.01, rel=0.1)
    assert set(notes.corrupt(rng, velocity="flat").velocity.tolist()) == {80}


def test_a_pedal_pressed_before_a_program_change_holds_until_it_is_lifted(tmp_path: Path) -> None:
    events = [(0, b"\xb0\x40\x7f"), (0, b"\x90\x3c\x50"), (240, b"\x80\x3c\x00")]
    events += [(240, b"\xc0\x05"), (0, b"\x90\x3e\x50"), (240, b"\x80\x3e\x00")]
    events += [(240, b"\xb0\x40\x00")]
    notes = read(tmp_path, midi([events]))
    assert notes.offset == pytest.approx([1.0, 1.0])


def test_many_pedal_events_are_read_in_one_pass(tmp_path: Path) -> None:
    events: list[tuple[int, bytes]] = [(0, b"\x90\x3c\x50")]
    events += [(1, bytes([0xB0, 0x40, value])) for _ in range(20_000) for value in (127, 90, 0)]
    events += [(0, b"\x80\x3c\x00")]
    assert len(read(tmp_path, midi([events]))) == 1


def test_overlapping_notes_of_one_pitch_survive_writing(tmp_path: Path) -> None:
    notes = Notes.from_rows([(0, 3, 60, 90), (1, 2, 60, 70), (1.5, 2.5, 60, 50)])
    notes.write(tmp_path / "a.mid")
    back = Notes.read(tmp_path / "a.mid")
    assert back.onset == pytest.approx(notes.onset, abs=1e-3)
    assert back.offset == pytest.approx(notes.offset, abs=1e-3)
    assert back.velocity.tolist() == notes.velocity.tolist()


@pytest.mark.parametrize("rows", [[(-1, 1, 60, 90)], [(0, 30_000, 60, 90)]])
def test_times_that_a_file_cannot_hold_are_refused_and_nothing_is_written(
    tmp_path: Path, rows: list[tuple[float, float, int, int]]
) -> None:
    with pytest.raises(InputError, match="cannot hold"):
        Notes.from_rows(rows).write(tmp_path / "a.mid")
    assert list(tmp_path.iterdir()) == []


def test_writing_into_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        Notes.from_rows([(0, 1, 60, 90)]).write(tmp_path / "none" / "a.mid")


NOTE = [(0, b"\x90\x3c\x50"), (480, b"\x80\x3c\x00")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"just some text, renamed", "not a MIDI file"),
        (midi([[(0, b"\x90\x3c\x50"), (480, b"\x80\x3c\x00")]])[:-9], "damaged"),
        (midi([[(0, tempo(120))]]), "no notes"),
        (midi([NOTE], kind=2), "format 2"),
        (midi([NOTE], ticks=0), "ticks per quarter"),
        (midi([NOTE], ticks=0xE728 - 0x10000 & 0xFFFF), "ticks per quarter"),
        (midi([[(0, b"\xff\x51\x03\x00\x00\x00"), *NOTE]]), "tempo of 0"),
        (midi([NOTE, NOTE])[:-30], "cut short"),
        (b"MThd\x00\x00", "cut short"),
        (midi([[(2**28 - 1, event) for _ in range(5) for _, event in NOTE]]), "beyond 2147483647"),
    ],
)
def test_bad_files_are_named_in_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.mid"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        Notes.read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_last_tick_that_symusic_counts_is_read(tmp_path: Path) -> None:
    wait = [(2**28 - 1, b"\xb0\x07\x40")] * 8
    notes = read(tmp_path, midi([[*wait, (6, b"\x90\x3c\x50"), (1, b"\x80\x3c\x00")]]))
    assert notes.offset == pytest.approx([(2**31 - 1) / 960])
    with pytest.raises(InputError, match="beyond 2147483647"):
        read(tmp_path, midi([[*wait, (6, b"\x90\x3c\x50"), (2, b"\x80\x3c\x00")]]))


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Notes.read(tmp_path / "none.mid")
    with pytest.raises(InputError, match="is a folder"):
        Notes.read(tmp_path)


def test_midi_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(midi([[(0, b"\x90\x3c\x50"), (480, b"\x80\x3c\x00")]]))
    assert is_midi(path)
    path.write_bytes(b"RIFF    WAVEfmt ")
    assert not is_midi(path)


def test_times_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        Notes.from_rows([(float("nan"), 1, 60, 90)])


def test_a_pedal_holds_the_notes_of_its_channel_in_all_tracks(tmp_path: Path) -> None:
    right = [(0, b"\x90\x48\x50"), (240, b"\x80\x48\x00")]
    left = [(0, b"\xb0\x40\x7f"), (0, b"\x90\x30\x50"), (240, b"\x80\x30\x00")]
    left += [(720, b"\xb0\x40\x00")]
    other = [(0, b"\x91\x3c\x50"), (240, b"\x81\x3c\x00")]
    notes = read(tmp_path, midi([right, left, other]))
    ends = dict(zip(notes.pitch.tolist(), notes.offset.tolist(), strict=True))
    assert ends == pytest.approx({0x48: 1.0, 0x30: 1.0, 0x3C: 0.25})


def test_a_pedal_alone_in_a_track_is_heard(tmp_path: Path) -> None:
    pedal = [(0, b"\xb0\x40\x7f"), (480, b"\x40\x00")]  # running status
    keys = [(0, b"\xff\x03\x01a"), (0, b"\x90\x3c\x50"), (240, b"\x80\x3c\x00")]
    notes = read(tmp_path, midi([pedal, keys]))
    assert notes.offset == pytest.approx([0.5])


def test_notes_that_are_never_ended_sound_until_their_track_falls_silent(tmp_path: Path) -> None:
    on, off = b"\x90\x3c\x50", b"\x80\x3e\x00"
    # C4 is never ended, D4 is: the track's last event is a second in
    notes = read(tmp_path, midi([[(0, on), (480, b"\x90\x3e\x50"), (480, off)]]))
    assert notes.pitch.tolist() == [60, 62]
    np.testing.assert_allclose(notes.offset, [1.0, 1.0])
    # alone, it sounds to the end of the track
    end = [(480, b"\xff\x2f\x00")]
    assert read(tmp_path, midi([[(0, on), *end]])).offset == pytest.approx([0.5])
    # a track of its own keeps the program
    program = [(0, b"\xc0\x28"), (0, on)]
    assert read(tmp_path, midi([[*program, *end]])).tracks[-1].program == 40
    # all notes off ends C4, and D5 on another channel, a drum, goes on
    drum, silence = b"\x99\x26\x50", b"\xb0\x7b\x00"
    notes = read(tmp_path, midi([[(0, on), (0, drum), (480, silence), (480, off)]]))
    assert sorted(zip(notes.pitch.tolist(), notes.offset.tolist(), strict=True)) == [
        (38, pytest.approx(1.0)),
        (60, pytest.approx(0.5)),
    ]
    assert notes.drums().pitch.tolist() == [38]


def test_a_note_off_leaves_no_note_of_its_pitch_droning(tmp_path: Path) -> None:
    on, off, silence = b"\x90\x3c\x50", b"\x80\x3c\x00", b"\xb0\x7b\x00"
    later = (9600, b"\xb0\x07\x40")
    struck_again = read(tmp_path, midi([[(0, on), (480, on), (480, off), later]]))
    np.testing.assert_allclose(struck_again.onset, [0, 0.5])
    np.testing.assert_allclose(struck_again.offset, [1.0, 1.0])
    silenced = read(tmp_path, midi([[(0, on), (480, silence), (480, on), (480, off), later]]))
    assert silenced.offset.max() == pytest.approx(1.5)


def test_no_note_of_a_file_is_lost(tmp_path: Path, rng: np.random.Generator) -> None:
    for _ in range(20):
        events, struck = [], 0
        for _ in range(40):
            on, pitch = rng.random() < 0.6, int(rng.integers(60, 64))
            struck += on
            channel = int(rng.integers(2))
            events.append((10, bytes([(0x90 if on else 0x80) | channel, pitch, 80])))
        end = [(10, b"\xb0\x07\x40")]
        assert len(read(tmp_path, midi([events[:20] + end, events[20:] + end]))) == struck


@pytest.mark.parametrize(
    "order",
    [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)],
)
def test_a_pedal_pressed_again_on_the_beat_holds_what_follows_alone(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    beat = [b"\x80\x3c\x00", b"\xb0\x40\x00", b"\xb0\x40\x7f"]
    events = [(0, b"\xb0\x40\x7f"), (0, b"\x90\x3c\x50")]
    events += [(480 * (place == 0), beat[which]) for place, which in enumerate(order)]
    events += [(0, b"\x90\x40\x50"), (240, b"\x80\x40\x00"), (240, b"\xb0\x40\x00")]
    pressed_last = order.index(2) > order.index(1)
    notes = read(tmp_path, midi([events]))
    assert notes.offset == pytest.approx([0.5, 1.0 if pressed_last else 0.75])


def test_a_status_that_runs_on_after_a_lyric_is_of_the_notes(tmp_path: Path) -> None:
    lyric = b"\xff\x05\x02la"
    events = [(0, b"\x90\x3c\x50"), (240, lyric), (240, b"\x3c\x00")]
    events += [(0, b"\x2f\x50"), (480, b"\x2f\x00"), (4800, b"\xff\x06\x01m")]
    notes = read(tmp_path, midi([events]))
    assert notes.pitch.tolist() == [60, 47]
    assert notes.offset == pytest.approx([0.5, 1.0])


@pytest.mark.parametrize("controller", [120, 121])
def test_a_reset_lifts_the_pedal(tmp_path: Path, controller: int) -> None:
    events = [(0, b"\xb0\x40\x7f"), (0, b"\x90\x3c\x50"), (240, b"\x80\x3c\x00")]
    events += [(240, bytes([0xB0, controller, 0])), (480, b"\x90\x3e\x50"), (480, b"\x80\x3e\x00")]
    assert read(tmp_path, midi([events])).offset == pytest.approx([0.5, 1.5])


def test_of_two_channels_that_double_each_other_each_has_its_own_pedal(tmp_path: Path) -> None:
    keys = [(0, b"\x90\x3c\x50"), (240, b"\x80\x3c\x00")]
    held = [(0, b"\xb1\x40\x7f"), (0, b"\x91\x3c\x50"), (240, b"\x81\x3c\x00")]
    held += [(720, b"\xb1\x40\x00")]
    for tracks in ([keys, held], [held, keys]):
        assert sorted(read(tmp_path, midi(tracks)).offset.tolist()) == pytest.approx([0.25, 1.0])


def test_a_program_that_midi_lacks_is_refused() -> None:
    with pytest.raises(InputError, match="0 to 127"):
        Track(program=200)
