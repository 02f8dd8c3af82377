"""Inventory, scan and split of a folder in this process, without Ray or a dataset."""

from pathlib import Path

import pyarrow as pa

from curation.stage import Tables
from curation.stages import inventory, scan
from curation.stages.inventory import Inventory
from curation.stages.scan import Scan
from curation.stages.split import Split


def listing(folder: Path, **knobs) -> pa.Table:
    """The table sources."""
    stage = Inventory(**knobs)
    found = [
        stage.run({"rows": u.rows})["sources"] for u in inventory.units(stage, footage=str(folder))
    ]
    return pa.concat_tables(found)


def scanned(sources: pa.Table, **knobs) -> list[Tables]:
    """The tables of the scan, source by source."""
    stage = Scan(**knobs)
    of_source: dict[str, list[Tables]] = {}
    for unit in scan.units(stage, sources=sources):
        of_source.setdefault(unit.rows["uri"][0].as_py(), []).append(stage.run({"rows": unit.rows}))
    return [
        {table: pa.concat_tables(t[table] for t in parts) for table in stage.writes}
        for parts in of_source.values()
    ]


def split_folder(
    folder: Path, *, inventory: dict | None = None, scan: dict | None = None, **knobs
) -> dict[str, list[dict]]:
    """Table -> rows of everything in a folder; knobs of the steps."""
    found: dict[str, list[dict]] = {"videos": [], "clips": [], "keyframes": []}
    for tables in scanned(listing(folder, **(inventory or {})), **(scan or {})):
        for name, table in Split(**knobs).run(tables).items():
            found[name] += table.to_pylist()
    return found
