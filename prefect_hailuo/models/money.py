"""Amounts of money in words."""

from __future__ import annotations

from decimal import Decimal

from prefect_hailuo.ticket import Realm

CENT = Decimal("0.01")


def dollars(usd: Decimal) -> str:
    """An amount in dollars, to the cent, or exactly if it has a fraction of a cent.

    Example:
        >>> dollars(Decimal("0.270")), dollars(Decimal(5)), dollars(Decimal("0.1020"))
        ('$0.27', '$5.00', '$0.102')
    """
    whole = usd.quantize(CENT)
    return f"${whole:,}" if whole == usd else f"${usd.normalize():,f}"


def told_usd(usd: Decimal | None, realm: Realm, unpriced: int = 0) -> str:
    """A cost in words. The emulator charges nothing; unknown prices are mentioned.

    Args:
        usd: The sum of the known prices, in US dollars; None if no price is known.
        realm: Who charges it.
        unpriced: How many videos have no known price.

    Example:
        >>> told_usd(Decimal("4.9"), "fal"), told_usd(Decimal("4.9"), "emulator")
        ('about $4.90', 'nothing (at fal, about $4.90)')
        >>> told_usd(Decimal(0), "fal"), told_usd(Decimal(1), "fal", 2)
        ('nothing', 'about $1.00, and 2 of unknown price')
        >>> told_usd(None, "fal"), told_usd(None, "emulator")
        ('not known', 'nothing (at fal, not known)')
    """
    if usd is None:
        return "not known" if realm == "fal" else "nothing (at fal, not known)"
    unknown = f"{unpriced:,} of unknown price" if unpriced else ""
    if not usd:
        return unknown if unpriced and realm == "fal" else "nothing"
    known = f"about {dollars(usd)}{', and ' if unpriced else ''}{unknown}"
    return f"nothing (at fal, {known})" if realm == "emulator" else known
