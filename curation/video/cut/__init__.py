"""Cutting a clip out of its source: copied where that is exact, else encoded, where it can be only
at its edges.
"""

from curation.video.cut.clip import Clip, Mode, Order, make_clip
from curation.video.cut.edges import GOP_FRAMES
from curation.video.cut.look import Look
from curation.video.cut.packets import Window
from curation.video.cut.proof import Verify
from curation.video.cut.reel import Reel, open_reel

__all__ = [
    "GOP_FRAMES",
    "Clip",
    "Look",
    "Mode",
    "Order",
    "Reel",
    "Verify",
    "Window",
    "make_clip",
    "open_reel",
]
