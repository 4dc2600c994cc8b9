"""A stand-in for fal's queue that is lean enough not to be what a benchmark measures.

The package's emulator is faithful: it draws videos, validates, and plays fal's faults. This one
does nothing but keep time and count, on raw asyncio protocols, and measures its own share of a
core. It marks itself as an emulator, so that credentials for fal refuse it, and no money can move.
"""
