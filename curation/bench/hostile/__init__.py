"""Files made to attack whoever opens them: what each does to a reader that trusts it.

Written byte by byte where no encoder would write such a file. Every one is small; what it claims is
not.
"""

from pathlib import Path

from curation.bench.hostile.matroska import matroskas
from curation.bench.hostile.movies import movies
from curation.bench.hostile.pictures import pictures
from curation.bench.hostile.playlists import playlists
from curation.bench.hostile.streams import streams


def write_hostile(folder: Path, *, secret: Path, url: str) -> list[Path]:
    """Write all of them. Some name `secret`, a real video beside the footage, and `url`: whoever
    opens either has been led astray.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {**playlists(str(secret), url), **movies(str(secret)), **matroskas(str(secret))}
    found |= {**pictures(), **streams()}
    paths = []
    for name, data in found.items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    return paths
