from .brier import brier_parts as brier_parts
from .calibration import debiased_l2 as debiased_l2
from .calibration import ece as ece
from .calibration import ece_null as ece_null
from .calibration import kuiper as kuiper
from .isotonic import corp as corp
from .recalibration import recalibrated as recalibrated
from .smooth import smooth_ece as smooth_ece
