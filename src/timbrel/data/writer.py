"""Writes the renditions and recordings of a store (`timbrel.data.store`)."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from timbrel.data.files import replace_file, save_npy, save_npz
from timbrel.data.store import FULL_SCALE, Item, manifest_line, read_manifest
from timbrel.errors import DataError
from timbrel.notes import Notes


class StoreWriter:
    """Adds shards to a store.

    Args:
        path: folder; made if needed.
        plan: what is being rendered, for JSON; a store is only continued with the same one.

    Raises:
        DataError: the folder holds a store of another plan, or its manifest is damaged.
    """

    def __init__(self, path: Path, plan: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.manifest = self.path / "manifest.jsonl"
        self.items = read_manifest(self.manifest) if self.manifest.exists() else []
        self.shards = {item.shard for item in self.items}
        self._lines: dict[int, str] = {}  # of each shard: written anew with each
        for item in self.items:
            self._lines[item.shard] = self._lines.get(item.shard, "") + manifest_line(item)
        if plan is not None:
            self._agree(plan)

    def _agree(self, plan: dict[str, Any]) -> None:
        """Note the plan in a new store; compare it in an old one."""
        path = self.path / "plan.json"
        if not self.items:  # whatever was begun there gave nothing
            replace_file(path, json.dumps(plan, indent=1, sort_keys=True).encode())
            return
        if not path.exists():
            if len(self.items) < plan.get("count", 0):
                raise DataError(
                    f"{self.path} does not say how it was rendered, so it cannot be continued; "
                    "render into another folder"
                )
            return
        try:
            found = json.loads(path.read_text())
            differing = [k for k in sorted({*plan, *found}) if plan.get(k) != found.get(k)]
        except (ValueError, TypeError) as error:
            raise DataError(f"{path} is damaged; prepare another folder") from error
        if differing:
            raise DataError(
                f"{self.path} was begun with another {', '.join(differing)}; "
                "repeat its options (plan.json) or prepare another folder"
            )

    def write_shard(
        self, shard: int, audio: np.ndarray, notes: Sequence[Notes], items: Sequence[Item]
    ) -> None:
        """Add a shard; its lines enter the manifest last, all at once.

        Args:
            shard: number; one that is there already is left alone.
            audio: (items, samples) float32 in [-1, 1].
            notes: one per item.
            items: manifest lines.
        """
        if shard in self.shards:
            return
        samples = np.round(np.clip(audio, -1, 1) * FULL_SCALE).astype("<i2")
        save_npy(self.path / f"audio-{shard}.npy", samples)
        columns = [np.stack([n.onset, n.offset, n.pitch, n.velocity]) for n in notes]
        offsets = np.cumsum([0] + [c.shape[1] for c in columns])
        save_npz(
            self.path / f"notes-{shard}.npz", columns=np.concatenate(columns, 1), offsets=offsets
        )
        items = [
            replace(item, checksum=zlib.crc32(row))
            for item, row in zip(items, samples, strict=True)
        ]
        self.items = sorted([*self.items, *items], key=lambda item: (item.shard, item.row))
        self._lines[shard] = "".join(map(manifest_line, items))
        manifest = "".join(self._lines[number] for number in sorted(self._lines))
        replace_file(self.manifest, manifest.encode())
        self.shards.add(shard)
