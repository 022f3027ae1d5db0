"""All that the recipe needs on a machine without a network, in one folder.

    python recipes/default/travel.py -o travel --there torch numpy scipy
    sh travel/install VENV            # over there, in a checkout of this repository
    . VENV/environment                # likewise, before make.py

The folder holds wheels of what timbrel needs to render and train (evaluation is done at home),
in the versions that are installed here, and the sound fonts that make.py trains and validates
with. What that machine has of its own (`--there`) stays here: torch above all, which is large.
"""

import argparse
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from make import fonts
from packaging.requirements import Requirement

# renders sound fonts; its own requirement of an audio device is not needed
EXTRA = ["tinysoundfont"]
ALONE = frozenset(EXTRA)  # whose requirements are not followed
INSTALL = """#!/bin/sh
# Makes a virtual environment: the machine's own packages, these wheels, this checkout.
set -e
venv=${1:?say where to make the virtual environment}
here=$(cd "$(dirname "$0")" && pwd)
[ -d src/timbrel ] || { echo "install: run it in a checkout of timbrel" >&2; exit 2; }
python3 -m venv --system-site-packages "$venv"
"$venv/bin/pip" install --quiet --no-index --no-deps "$here"/wheels/*.whl
packages=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
pwd | sed 's,$,/src,' > "$packages/timbrel.pth"
{
    echo "PATH=$(cd "$venv" && pwd)/bin:\\$PATH"
    echo "TIMBREL_FONTS=$here/fonts"
    echo "export PATH TIMBREL_FONTS"
} > "$venv/environment"
"$venv/bin/python" -c 'import timbrel.cli.main'
echo "timbrel is ready: . $venv/environment"
"""


def needed(there: frozenset[str]) -> dict[str, str]:
    """Name -> version of every package that timbrel needs, as installed here.

    Ends the program with a sentence if one is not.
    """
    found: dict[str, str] = {}
    waiting = [name for name in ("timbrel", *EXTRA) if name not in there]
    while waiting:
        name = waiting.pop()
        try:
            known = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"travel.py: {name} is not installed here; see CONTRIBUTING.md")
        found[name] = known.version
        for line in [] if name in ALONE else known.requires or []:
            wanted = Requirement(line)
            other = re.sub(r"[-_.]+", "-", wanted.name).lower()
            asked = wanted.marker is None or wanted.marker.evaluate({"extra": ""})
            if asked and other not in found and other not in there:
                waiting.append(other)
    del found["timbrel"]  # comes with the checkout
    return dict(sorted(found.items()))


def size(folder: Path) -> float:
    """MiB of all files."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 2**20


def main() -> None:
    """Fill the folder."""
    parser = argparse.ArgumentParser(description="Pack what the recipe needs without a network.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to make")
    parser.add_argument("--python", default="3.12", help="version of Python over there")
    parser.add_argument("--there", nargs="*", default=["torch", "numpy", "scipy"], help="has these")
    parser.add_argument("--most", type=float, default=64.0, help="MiB that may travel")
    options = parser.parse_args()
    out: Path = options.output
    if out.exists():
        sys.exit(f"travel.py: {out} is there already; give another folder, or remove it")
    split = fonts()
    if not split["train"]:
        sys.exit("travel.py: MuseScore General was not found; get it by `make fonts`")
    packages = needed(frozenset(name.lower() for name in options.there))
    (out / "fonts").mkdir(parents=True)
    for path in (words[1] for words in split.values() if words):
        shutil.copy(path, out / "fonts")
    wheels = [f"{name}=={version}" for name, version in packages.items()]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    pip += ["--python-version", options.python, "-d", f"{out / 'wheels'}", *wheels]
    if code := subprocess.run(pip, check=False).returncode:
        shutil.rmtree(out)
        sys.exit(code)  # pip has said why
    (out / "install").write_text(INSTALL)
    for name in ("wheels", "fonts"):
        print(f"{name}: {size(out / name):.1f} MiB")
    print(f"{out}: {size(out):.1f} MiB, for Python {options.python} that has {options.there}")
    if size(out) > options.most:
        sys.exit(f"travel.py: that is more than {options.most:g} MiB; name more with --there")


if __name__ == "__main__":
    main()
