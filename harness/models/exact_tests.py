"""Exact tests of counts: how likely chance alone is to give what was counted, or more."""

from functools import lru_cache
from math import comb


@lru_cache
def heads_by_chance(heads: int, tosses: int) -> float:
    """The chance of at least so many heads in so many tosses of a fair coin: the sign test, one-sided."""
    ways = comb(tosses, heads)
    together = 0
    for k in range(heads, tosses + 1):
        together += ways
        ways = ways * (tosses - k) // (k + 1)  # a whole number again, and far quicker than `comb` for each
    return together / (1 << tosses)


@lru_cache
def drawn_by_chance(found: int, drawn: int, marked: int, total: int) -> float:
    """The chance of at least `found` marked ones among `drawn` of `total`, of which `marked` are marked.

    Drawn without putting back: Fisher's exact test, one-sided. 0 <= found, drawn and marked <= total.
    """
    plain = total - marked
    least = max(found, drawn - plain)
    ways = comb(marked, least) * comb(plain, drawn - least) if least <= drawn else 0
    together = 0
    for k in range(least, min(marked, drawn) + 1):
        together += ways
        ways = ways * (marked - k) * (drawn - k) // ((k + 1) * (plain - drawn + k + 1))
    return together / comb(total, drawn)
