from .compute import Audit as Audit
from .compute import audit as audit
from .slices import Disclosure as Disclosure
