"""JAX in double precision for as long as it takes, the process left as it was."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def double_precision() -> Iterator[None]:
    """Float64 within; PyTensor's JAX backend, once imported, would have all of the process in it."""
    import jax

    before = jax.config.read("jax_enable_x64")
    try:
        with jax.enable_x64(True):
            yield
    finally:
        jax.config.update("jax_enable_x64", before)
