"""Meters: measures fed frame by frame from one decode pass, read off per clip once the cuts are
known.

A meter is a class with `writes` (its columns, the unit in each name), `update(picture)` called once
per frame in order, and `clip(span)` that gives the columns' values for one clip. To add one: a file
here, a line below.
"""

from curation.meters.borders import Borders
from curation.meters.damage import Damage
from curation.meters.exposure import Exposure
from curation.meters.freeze import Freeze
from curation.meters.motion import Motion

METERS = (Exposure, Motion, Freeze, Borders, Damage)
