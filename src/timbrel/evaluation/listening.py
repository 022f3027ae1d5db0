"""A blind listening test over a report, in the browser; answers join the report.

After MUSHRA (ITU-R BS.1534): in each trial every system plays the same case in an order
drawn for each listener, among them the hidden ground truth and the equalised source as
anchor; the listener rates each from 0 to 100 against the open reference. A listener is known
by the name given: who comes back under it, as after loading the page again, goes on where the
answers end, and hears the rest in the same order. A test that is started anew asks anew.
"""

import json
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np

from timbrel.data.files import begin_line
from timbrel.errors import InputError
from timbrel.evaluation.run import Record, audio_path, read_records
from timbrel.evaluation.statistics import mean_interval
from timbrel.evaluation.systems import CODEC, EXAMPLE, SOURCE, TRUTH

PAGE = Path(__file__).parent / "pages" / "listen.html"
ANSWERS = "listening.jsonl"
QUESTIONS = {
    "timbre": "How much does it sound like the example?",
    "notes": "Are the notes those of the reference?",
}
LEFT_OUT = (SOURCE, EXAMPLE, CODEC)
LARGEST_BODY = 100_000  # bytes of an answer
LONGEST_NAME = 80  # of a listener


@dataclass(frozen=True)
class Trial:
    """One case; sounds are known by tokens that say nothing about their system."""

    case: str
    example: str
    reference: str
    stimuli: dict[str, str]  # token -> system


class ListeningTest:
    """Trials of one listener after another.

    Args:
        folder: of a report.
        trials: cases to be heard at most.

    Raises:
        InputError: the folder holds no report with sounds of a model.
    """

    def __init__(self, folder: Path, trials: int = 8) -> None:
        self.folder = folder
        self.sounds: dict[str, Path] = {}
        records = [r for r in read_records(folder) if not r.failure and r.system not in LEFT_OUT]
        by_case: dict[str, list[Record]] = {}
        for record in records:
            by_case.setdefault(record.case, []).append(record)
        usable = {
            case: mine
            for case, mine in by_case.items()
            if len(mine) > 1
            and any(r.system == TRUTH for r in mine)
            and all(audio_path(folder, case, n).is_file() for n in ("example", *_systems(mine)))
        }
        if not usable:
            raise InputError(f"{folder} holds no report with sounds to rate; run timbrel evaluate")
        chosen = np.random.default_rng().permutation(list(usable))[:trials]
        self.trials = [self._trial(str(case), usable[str(case)]) for case in chosen]
        self._seed = secrets.randbits(64)
        self._answered: set[tuple[str, int]] = set()  # listener, trial
        self._storing = threading.Lock()

    def _trial(self, case: str, mine: Sequence[Record]) -> Trial:
        stimuli = {self._token(case, system): system for system in _systems(mine)}
        return Trial(case, self._token(case, "example"), self._token(case, TRUTH), stimuli)

    def _token(self, case: str, name: str) -> str:
        token = secrets.token_hex(8)
        self.sounds[token] = audio_path(self.folder, case, name)
        return token

    def public(self, listener: str) -> dict[str, Any]:
        """What one listener's page is told, in an order of their own: nothing that names a system.

        Args:
            listener: the name given; the same name is told the same order.
        """
        listener = listener[:LONGEST_NAME]
        rng = np.random.default_rng([self._seed, *map(ord, listener)])
        return {
            "questions": QUESTIONS,
            "trials": [
                {
                    "example": t.example,
                    "reference": t.reference,
                    "stimuli": rng.permutation(list(t.stimuli)).tolist(),
                    "answered": (listener, index) in self._answered,
                }
                for index, t in enumerate(self.trials)
            ],
        }

    def answer(self, values: Any) -> bool:
        """Store one listener's answer to one trial, once: the first holds.

        Args:
            values: {"listener": name, "trial": index, "ratings": {question: {token: 0 to 100}}}.

        Returns:
            False if this trial was answered before, as by a page whose reply was lost.

        Raises:
            InputError: anything else.
        """
        try:
            index = int(values["trial"])
            trial = dict(enumerate(self.trials))[index]
            listener = str(values["listener"])[:LONGEST_NAME]
            ratings = {
                question: {
                    trial.stimuli[token]: float(rating)
                    for token, rating in values["ratings"][question].items()
                }
                for question in QUESTIONS
            }
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(
                f"the answer cannot be read ({error}); if the test was started anew, load the page "
                "again"
            ) from error
        for marks in ratings.values():
            if set(marks) != set(trial.stimuli.values()):
                raise InputError("the answer does not rate every sound")
            if not all(0 <= mark <= 100 for mark in marks.values()):
                raise InputError("a rating is outside 0 to 100")
        row = {"listener": listener, "case": trial.case, "ratings": ratings}
        with self._storing:
            if (listener, index) in self._answered:
                return False
            with open(self.folder / ANSWERS, "a+", encoding="utf-8") as file:
                begin_line(file)
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._answered.add((listener, index))
        return True


def _systems(records: Sequence[Record]) -> list[str]:
    return [record.system for record in records]


def ratings(folder: Path) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Question -> system -> (mean, low, high) over all answers; empty if there are none.

    The ratings of one listener are not independent, so intervals are by listeners.
    """
    marks: dict[str, dict[str, list[tuple[str, float]]]] = {}
    for listener, question, system, mark in _marks(folder / ANSWERS):
        marks.setdefault(question, {}).setdefault(system, []).append((listener, mark))
    return {
        question: {
            system: mean_interval([mark for _, mark in given], [who for who, _ in given])
            for system, given in by_system.items()
        }
        for question, by_system in marks.items()
    }


def _marks(path: Path) -> list[tuple[str, str, str, float]]:
    """(listener, question, system, rating) of all answers; what is cut short is left out."""
    found = []
    for line in path.read_bytes().split(b"\n") if path.is_file() else []:
        try:
            answer = json.loads(line)
            found += [
                (str(answer["listener"]), question, system, float(mark))
                for question, by_system in answer["ratings"].items()
                for system, mark in by_system.items()
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return found


def serve(test: ListeningTest, port: int = 0) -> ThreadingHTTPServer:
    """A server for this machine alone, not yet running: call `serve_forever()`.

    Raises:
        InputError: the port is taken.
    """

    class Handler(BaseHTTPRequestHandler):
        def handle(self) -> None:
            with suppress(ConnectionError):  # a page that is left while a sound loads
                super().handle()

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            token = path.removeprefix("/sound/")
            if path == "/":
                self._send(HTTPStatus.OK, "text/html; charset=utf-8", PAGE.read_bytes())
            elif path == "/trials":
                listener = parse_qs(query).get("listener", [""])[0]
                self._send_json(HTTPStatus.OK, test.public(listener))
            elif token in test.sounds and test.sounds[token].is_file():
                self._send_sound(test.sounds[token].read_bytes())
            else:
                self._send_json(HTTPStatus.NOT_FOUND, {"error": "there is nothing here"})

        def do_POST(self) -> None:
            try:
                length = int(self.headers.get("Content-Length") or 0)
                if self.path != "/answers" or not 0 < length <= LARGEST_BODY:
                    raise InputError("answers go to /answers")
                stored = test.answer(json.loads(self.rfile.read(length)))
            except (InputError, ValueError, RecursionError) as error:
                self._send_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            except OSError as error:
                said = (
                    f"the answer cannot be stored ({error.strerror}); mend that, and send it again"
                )
                self._send_json(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": said})
            else:
                self._send_json(HTTPStatus.OK, {"stored": stored})

        def _send_sound(self, body: bytes) -> None:
            """All of it, or the part asked for: a browser that gets no parts cannot seek."""
            asked = re.fullmatch(r"bytes=(\d{1,15})-(\d{0,15})", self.headers.get("Range", ""))
            first, last = (int(asked[1]), int(asked[2] or len(body))) if asked else (1, 0)
            part = body[first : last + 1]
            if part:
                place = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
                self._send(HTTPStatus.PARTIAL_CONTENT, "audio/flac", part, {"Content-Range": place})
            else:
                self._send(HTTPStatus.OK, "audio/flac", body, {"Accept-Ranges": "bytes"})

        def _send_json(self, status: HTTPStatus, values: Any) -> None:
            self._send(status, "application/json", json.dumps(values).encode())

        def _send(
            self, status: HTTPStatus, kind: str, body: bytes, more: Mapping[str, str] = {}
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            for name, value in more.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are nobody's business."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise InputError(f"port {port} cannot be used ({error.strerror}); try another") from error
