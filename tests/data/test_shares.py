import json
import math
from pathlib import Path

import pytest

from timbrel.data.render.renditions import render_store
from timbrel.data.render.shares import Shares
from timbrel.errors import DataError

NAMES = {
    "synthesised": "synthesised timbres",
    "recorded": "recorded timbres",
    "expressive": "expressive timbres",
    "hybrids": "hybrids",
    "modelled": "modelled timbres",
    "held": "held scores",
    "mixes": "mixes",
}


@pytest.mark.parametrize("field", NAMES)
@pytest.mark.parametrize("share", [-0.1, 1.5, math.nan])
def test_a_share_outside_0_to_1_is_refused_by_name(field: str, share: float) -> None:
    with pytest.raises(DataError, match=f"{NAMES[field]} must be between 0 and 1, not {share:g}"):
        Shares(**{field: share})
    assert all(getattr(Shares(**{field: end}), field) == end for end in (0, 1))


def test_a_plan_names_shares_as_in_stores_from_before(tmp_path: Path) -> None:
    def told(shares: Shares) -> dict[str, object]:
        folder = tmp_path / str(shares)
        render_store(folder, 1, 2, "train", [], shares, 1.5)
        plan = json.loads((folder / "plan.json").read_text())
        others = ("version", "seed", "count", "split", "fonts", "excluded", "octaves")
        return {k: x for k, x in plan.items() if k not in (*others, "seconds", "per_shard")}

    named = {
        "synth_share": 1.0,
        "recorded": 0.1,
        "mix_share": 0.0,
        "expressive_share": 0.2,
        "hybrids": 0.3,
    }
    first = {"synthesised": 1.0, "recorded": 0.1, "expressive": 0.2, "hybrids": 0.3}
    assert told(Shares(**first)) == named
    both = {"modelled": 0.4, "held": 0.5}
    assert told(Shares(**first, **both)) == {**named, **both}
