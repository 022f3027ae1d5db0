"""All that the recipe needs on a machine without a network, in one folder.

    python recipes/default/travel.py -o travel --there torch numpy scipy
    sh travel/install SOMEWHERE       # over there, in a checkout of this repository
    . SOMEWHERE/environment           # likewise, before make.py or rounds.py

The folder holds wheels of what timbrel needs to render and train (evaluation is done at home),
in the versions that are installed here, and the sound fonts that make.py trains and validates
with (`--without-fonts`: nothing is rendered over there, see parcel.py). What that machine has of
its own (`--there`) stays here: torch above all, which is large.
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
# Makes a folder of these wheels, for the machine's own Python with the packages that it has.
# (No virtual environment: one that is made by the Python of another does not see its packages.)
set -e
out=${1:?say where to install}
here=$(cd "$(dirname "$0")" && pwd)
[ -d src/timbrel ] || { echo "install: run it in a checkout of timbrel" >&2; exit 2; }
mkdir -p "$out/bin"
out=$(cd "$out" && pwd)
python3 -m pip install --quiet --no-index --no-deps --upgrade --target "$out/packages" \
    "$here"/wheels/*.whl
printf '#!/bin/sh\\nexec python3 -m timbrel.cli "$@"\\n' > "$out/bin/timbrel"
chmod +x "$out/bin/timbrel"
{
    echo "PATH=$out/bin:\\$PATH"
    echo "PYTHONPATH=$out/packages:$(pwd)/src"
    echo "TIMBREL_FONTS=$here/fonts"
    echo "export PATH PYTHONPATH TIMBREL_FONTS"
} > "$out/environment"
. "$out/environment"
python3 -c 'import timbrel.cli.main'
echo "timbrel is ready: . $out/environment"
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
    found.pop("timbrel", None)  # comes with the checkout
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
    parser.add_argument("--without-fonts", action="store_true", help="nothing is rendered there")
    parser.add_argument("--most", type=float, default=64.0, help="MiB that may travel")
    options = parser.parse_args()
    out: Path = options.output
    if out.exists():
        sys.exit(f"travel.py: {out} is there already; give another folder, or remove it")
    split = {} if options.without_fonts else fonts()
    if split and not split["train"]:
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
