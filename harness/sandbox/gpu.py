"""The machine's NVIDIA devices, which a sandbox shows to a submission only where the user says so."""

from pathlib import Path

from harness.errors import MachineError
from harness.wording import harmless

DEVICES = Path("/dev")
DRIVER = Path("/proc/driver/nvidia/gpus")


def gpu_devices(folder: Path = DEVICES) -> list[Path]:
    """The device files that CUDA opens; raises MachineError where there is no GPU."""
    found = sorted(path for path in folder.glob("nvidia*") if not path.is_dir())
    if not any(path.name.removeprefix("nvidia").isdigit() for path in found):
        raise MachineError(f"--gpu: this machine has no NVIDIA device ({folder / 'nvidia0'}); leave out --gpu")
    return found


def gpu_names(folder: Path = DRIVER) -> list[str]:
    """What the driver calls the GPUs, for the record."""
    names = []
    for path in sorted(folder.glob("*/information")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        names += [harmless(line.partition(":")[2].strip(), 80) for line in lines if line.startswith("Model")]
    return names
