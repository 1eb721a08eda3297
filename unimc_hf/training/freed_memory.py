"""Memory that a program frees and soon needs again: glibc gives large blocks back, and fresh pages cost more than the
arithmetic of a small model does."""

from __future__ import annotations

import ctypes

# From malloc.h; mallopt(3) says what they do.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
TOP_PAD = 64 * 2**20
_state = {"kept": False}


def keep_freed_memory() -> bool:
    """
    Let this process keep what it frees, for all of its later allocations; its resident memory stays at its peak.

    A step of training frees hundreds of tensors of 10 to 100 MB that the next step allocates again. Mapped anew each
    time, their pages make attention by plain products about twice as slow at 128 and 256 tokens
    (`python examples/benchmark/attention.py` measures both).

    Returns:
        `bool`: whether the C library has the settings: glibc does; musl, macOS and Windows do not and stay as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    _state["kept"] = mallopt(M_MMAP_MAX, 0) == mallopt(M_TRIM_THRESHOLD, -1) == mallopt(M_TOP_PAD, TOP_PAD) == 1
    return is_memory_kept()


def is_memory_kept() -> bool:
    """Whether [`keep_freed_memory`] was called and worked."""
    return _state["kept"]
