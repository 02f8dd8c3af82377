"""Shards in, a video diffusion transformer out. Commands: `python -m training --help`.

Lightning, transformers and diffusers all import torchvision, whichever comes first: it is mended
here, once."""

from curation.torchvision_cpu import mend

mend()
