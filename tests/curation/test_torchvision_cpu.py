import subprocess
import sys

CHECK = """
import importlib.metadata, sys
{before}
from curation import torchvision_cpu
library = torchvision_cpu.mend()
import torch, torchvision
from torchvision.transforms import v2
out = v2.Resize((4, 6))(torch.zeros(1, 3, 8, 8))
assert out.shape == (1, 3, 4, 6)
assert torchvision_cpu.mend() is library
{after}
print("ok")
"""


def run(*, before: str = "", after: str = "") -> str:
    script = CHECK.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_and_what_needs_it_can_be_imported():
    assert run(after="import open_clip; assert open_clip.get_model_config('ViT-B-32')") == "ok"


def test_nothing_is_declared_where_torchvision_imports_by_itself():
    # as a torchvision whose operators load has them
    before = """
import torch
there = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, name):
        there.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import torchvision
"""
    assert run(before=before, after="assert library is None") == "ok"


def test_another_failure_of_the_import_is_not_hidden():
    broken = """
import sys, types
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            raise RuntimeError("disk on fire")
sys.meta_path.insert(0, Refuse())
from curation import torchvision_cpu
try:
    torchvision_cpu.mend()
except RuntimeError as error:
    assert "disk on fire" in str(error)
    print("raised")
"""
    done = subprocess.run([sys.executable, "-c", broken], capture_output=True, text=True)
    assert done.stdout.strip() == "raised", done.stderr
