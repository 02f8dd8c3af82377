"""Meters: measures fed frame by frame from one decode pass, read off per clip once the cuts are
known.

A meter is a class with `record` (what it keeps of a frame), `writes` (its columns, the unit in each
name), `update(picture)`, called for every frame in order, which gives the frame's record or None
where it does not look, and `clip(rows, span)`, which gives the columns of one clip from the records
of its frames (a field `frame` in front). What it says of a frame may depend on the frame before and
on absolute time, never on where a pass began. To add one: a file here, a line below.
"""

from curation.meters.borders import Borders
from curation.meters.damage import Damage
from curation.meters.detail import Detail
from curation.meters.exposure import Exposure
from curation.meters.freeze import Freeze
from curation.meters.motion import Motion
from curation.meters.overlay import Overlay
from curation.meters.phash import Phash

METERS = (Exposure, Motion, Freeze, Borders, Detail, Overlay, Phash, Damage)
