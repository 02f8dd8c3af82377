"""Open safely, probe, decode, read, cut, write: the only user of PyAV and decord."""

from curation.video.decode import DecodePass
from curation.video.open import Probe, VideoError, open_video, probe
from curation.video.read import read_frames, read_image
from curation.video.write import write_mp4

__all__ = [
    "DecodePass",
    "Probe",
    "VideoError",
    "open_video",
    "probe",
    "read_frames",
    "read_image",
    "write_mp4",
]
