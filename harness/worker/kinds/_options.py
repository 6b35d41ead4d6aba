"""What the tables of several kinds share."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from harness.models.entries import entry_file
from harness.worker.kinds._asking import Asking


def _inside(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or ".." in parts:
        raise ValueError("must be a path inside the submission's folder, with / between folders")
    return path


def _entry(entry: str) -> str:
    place, _, name = entry.partition(":")
    if not place or not name.isidentifier():
        raise ValueError('must be "file.py:Name" or "package.module:Name"')
    if entry_file(entry):
        _inside(place)
    return entry


RelativePath = Annotated[str, AfterValidator(_inside)]
"""A path inside the submission's folder."""
Entry = Annotated[str, AfterValidator(_entry)]
"""Code: "file.py:Name" in the submission's folder, or "package.module:Name"."""


class Strict(BaseModel):
    """Options that cannot be changed and know all their keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelOptions(Strict):
    """A model file and how images are given to it."""

    model: RelativePath
    """The file; its ending says the format."""
    architecture: str | None = None
    """For a file of weights: "deepid", or "net.py:build" in the submission's folder."""
    scale: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Images are divided by it: 255, or 1 for raw input. Left out: the BadNet's own, unless another is clearly wanted."""
    channels: Literal["rgb", "bgr"] | None = None
    """The order of the colours that the model was trained with. Left out: rgb, unless bgr is clearly wanted."""
    layout: Literal["nhwc", "nchw"] | None = None
    """Where the model takes its channels: last or first. Left out: as its shape says, else as usual."""
    custom_objects: dict[str, Entry] = Field(default_factory=dict)
    """A name that the file uses -> the code that it stands for, "layers.py:Clip"."""
    unsafe_pickle: bool = False
    """Whether code that the file itself holds may run, in the sandbox."""


STATELESS = (".h5", ".hdf5", ".keras", ".safetensors", ".onnx")
"""Files that hold weights and a graph without a state. A SavedModel, TorchScript and .pt2 can assign to variables as they
answer, and a .pt or .pth may be TorchScript, which only the sandbox finds out."""


def model_files(options: ModelOptions) -> dict[str, str]:
    """The files that a model's table names."""
    entries = {"architecture": options.architecture or ""}
    entries |= {f"custom_objects.{name}": entry for name, entry in options.custom_objects.items()}
    code = {key: entry_file(entry) for key, entry in entries.items()}
    return {"model": options.model} | {key: path for key, path in code.items() if path}


def model_asking(options: ModelOptions) -> Asking:
    """As usual, unless the model may remember what it was asked; that a file may run code is shown on the board."""
    own = ":" in (options.architecture or "") or bool(options.custom_objects)
    if options.unsafe_pickle:
        return Asking(remembers=True, isolated=True, marks=("unsafe pickle",))
    return Asking(remembers=own or PurePosixPath(options.model).suffix.lower() not in STATELESS)


class CodeOptions(Strict):
    """Code, and with what it is built."""

    entry: Entry
    """What is built: "file.py:Name" in the submission's folder, or "package.module:Name"."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its keyword arguments; those left out keep their defaults."""


def code_asking(options: CodeOptions) -> Asking:
    """In batches; the submission's own code may do anything, remember too."""
    return Asking(remembers=True)


def code_files(options: CodeOptions) -> dict[str, str]:
    """The file that an entry names, if it names one."""
    code = entry_file(options.entry)
    return {"entry": code} if code else {}
