"""What samplers change of the process they run in, put back."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def double_precision() -> Iterator[None]:
    """JAX in float64 within, and NumPy's global generator afterwards as it was before.

    PyTensor's JAX backend, once imported, would have all of the process in float64; PyMC draws seeds of its own, and
    so does the import of JAX.
    """
    generator = np.random.get_state()  # noqa: NPY002 - kept, not drawn from
    import jax

    before = jax.config.read("jax_enable_x64")
    try:
        with jax.enable_x64(True):
            yield
    finally:
        jax.config.update("jax_enable_x64", before)
        np.random.set_state(generator)  # noqa: NPY002
