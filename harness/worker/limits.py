"""What the kernel counts for each process: the worker gives itself these limits before any code of a submission runs."""

import resource
from collections.abc import Mapping

RESOURCES = {
    "core_bytes": resource.RLIMIT_CORE,
    "file_bytes": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "processes": resource.RLIMIT_NPROC,
}


def keep_to(limits: Mapping[str, int]) -> None:
    """Set limits that cannot be raised again."""
    for name, wanted in limits.items():
        allowed = resource.getrlimit(RESOURCES[name])[1]
        most = wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed)
        resource.setrlimit(RESOURCES[name], (most, most))
