"""How much a file may claim to hold: a few bytes of zip or HDF5 can stand for terabytes."""

from harness.models.errors import ModelError

MIB = 2**20
FREE_BYTES = 256 * MIB
"""What any sandbox has room for: so much may be claimed by a file of any size, such as a net of zeros."""
MOST_TIMES = 100
"""Beyond that, how many times its own size a file may claim: trained weights hardly shrink, pruned ones ten or twenty times."""


def check_claim(claimed: int, size: int, name: str) -> None:
    """Raise ModelError where a file of `size` bytes claims to hold more than it can honestly stand for.

    claimed: bytes once it is unpacked. name: of the file, for the error. The sandbox's memory limit ends what is honest
    and too large.
    """
    if claimed > max(FREE_BYTES, MOST_TIMES * size):
        raise ModelError(
            f"{name}: claims {claimed / MIB:,.0f} MiB once unpacked, in {size:,} bytes; at most {FREE_BYTES // MIB} MiB "
            f"or {MOST_TIMES} times the file is read, so save the weights again, uncompressed"
        )
