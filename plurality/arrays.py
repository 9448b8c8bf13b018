"""Names for arrays in signatures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
