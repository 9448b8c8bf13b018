from .association_tests import Association as Association
from .association_tests import Separated as Separated
from .association_tests import associations as associations
from .association_tests import separated as separated
from .axes import Axes as Axes
from .axes import code_axes as code_axes
from .explanation import Explanation as Explanation
from .explanation import explain_codes as explain_codes
