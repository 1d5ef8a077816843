"""Memory of a process that runs many batches."""

from __future__ import annotations

import ctypes

#: Of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_memory() -> None:
    """Have this process keep the memory of tensors that are done with, for the next ones of their size.

    The C library's way is to give large pieces back to the system at once and to ask for them again, page by page: on
    a processor that can take as long as a batch's arithmetic. It is for programs that are a process of their own; a
    library has no business with it. Does nothing where that library is not glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for option, value in ((_M_MMAP_THRESHOLD, 2**30), (_M_TRIM_THRESHOLD, 2**31 - 1)):
        mallopt(option, value)
