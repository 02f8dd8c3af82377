"""Makes `import torchvision` work beside a CPU build of torch; does nothing where it does already.

PyPI's torchvision is linked to CUDA. Beside a CPU torch its compiled operators do not load, and the
import fails ("operator torchvision::nms does not exist") where it registers shapes for two of them.
Declaring these two is enough: transforms and models are plain Python. `torchvision.ops.nms` itself
and `torchvision.io` stay unusable, with an error of their own. Call `mend()` before importing
anything that imports torchvision (open_clip, timm, transformers), in every process.
"""

import functools
import sys
from typing import Any

OPERATORS = ("nms", "qnms")
SYMPTOM = "operator torchvision::nms does not exist"


@functools.cache
def mend() -> Any:
    """Import torchvision, declaring its two operators first if it fails without them.

    Returns the declarations, None where none were needed. They last as long as the returned object,
    so the cache keeps it.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if SYMPTOM not in str(error):
            raise
    else:
        return None
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

    return library
