"""Names for arrays in signatures, and arrays of what people hand in."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]
Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]


def as_array(values: Any) -> Array:
    """An array of whatever holds numbers, as torch and NumPy both take it: in memory order, of this machine's bytes.

    Tensors may need a gradient, lie on a GPU or be bfloat16, which NumPy does not have and which become float32.

    values    array, tensor of torch, or nested lists
    """
    detach = getattr(values, "detach", None)
    if detach is not None:
        tensor = detach().cpu()
        narrow = tensor.is_floating_point() and tensor.element_size() < 4
        values = (tensor.float() if narrow else tensor).numpy()
    array = np.asarray(values)
    if array.dtype.name == "bfloat16":  # of ml_dtypes, as JAX's arrays are
        array = array.astype(np.float32)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array.copy() if any(step < 0 for step in array.strides) else array


def floats(values: ArrayLike) -> Float:
    """Values as double precision in their shape; what is masked is missing, NaN.

    values    numbers in any shape
    """
    if isinstance(values, np.ma.MaskedArray):
        return np.where(np.ma.getmaskarray(values), np.nan, np.ma.getdata(values).astype(float))
    return np.asarray(values, dtype=float)
