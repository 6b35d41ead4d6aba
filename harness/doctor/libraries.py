"""Whether the libraries that read models are there, and whether they can be loaded where submissions run."""

import sys
from collections.abc import Iterator

from harness.doctor.finding import Finding
from harness.errors import MachineError
from harness.models.quiet import environment
from harness.provenance import installed_version
from harness.sandbox import find_sandbox
from harness.sandbox.limits import Limits

SUBJECT = "libraries"
EXTRAS = {
    "onnxruntime": "ONNX models: pip install 'badnet-harness[onnx]'",
    "tf-keras": "scripts of Keras 2: make keras2",
}
LOADED = {"tensorflow": ("tensorflow", "tensorflow-cpu"), "torch": ("torch",)}
LOAD_SECONDS = 120


def findings() -> Iterator[Finding]:
    """Each framework, loaded in a sandbox as a worker would; then the optional packages."""
    for module, packages in LOADED.items():
        found = next((f"{name} {had}" for name in packages if (had := installed_version(name))), "")
        if not found:
            yield Finding("error", f"{packages[0]} is not installed", "make setup")
        else:
            yield _loaded(module, found)
    for package, what in EXTRAS.items():
        had = installed_version(package)
        yield Finding("ok", f"{package} {had}" if had else f"{package} is not installed", "" if had else f"for {what}")


def _loaded(module: str, found: str) -> Finding:
    sandbox = find_sandbox("bubblewrap")
    try:
        sandbox.check()
    except MachineError:
        return Finding("warning", f"{found}; whether it loads in a sandbox cannot be tried", "see isolation")
    process = sandbox.place({}).run(
        [sys.executable, "-s", "-c", f"import {module}"], environment={"PATH": "/usr/bin:/bin", **environment()},
        limits=Limits(),
    )  # fmt: skip
    try:
        status = process.ended(LOAD_SECONDS)
    finally:
        process.close()
    if status == 0:
        return Finding("ok", f"{found} loads in the sandbox ({process.peak_memory / 2**20:,.0f} MiB)")
    last = (process.log.strip().splitlines() or ["it did not end"])[-1]
    return Finding("error", f"{found} does not load in the sandbox: {last[:200]}", "make setup in a new clone")
