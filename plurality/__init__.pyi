"""Written by tools/stubs.py; do not edit."""

from plurality.analyses.audit import Audit as Audit
from plurality.analyses.audit import audit as audit
from plurality.analyses.factors import factors as factors
from plurality.analyses.scores import predictions_from_scores as predictions_from_scores
from plurality.data.comparisons import Comparisons as Comparisons
from plurality.data.concat import concat as concat
from plurality.data.read import read as read
from plurality.data.user_texts import embed_users as embed_users
from plurality.data_checks.check import check_data as check_data
from plurality.elicitation import next_questions as next_questions
from plurality.encoders.server import EmbeddingServer as EmbeddingServer
from plurality.errors import InputError as InputError
from plurality.errors import InputWarning as InputWarning
from plurality.evaluation.compare import compare as compare
from plurality.evaluation.comparison_table import Comparison as Comparison
from plurality.models.bradley_terry import BradleyTerry as BradleyTerry
from plurality.models.dpl import DPL as DPL
from plurality.models.ensemble import Ensemble as Ensemble
from plurality.models.family import Spec as Spec
from plurality.models.hierarchical import Hierarchical as Hierarchical
from plurality.models.lcpo import LCPO as LCPO
from plurality.models.low_rank import LowRank as LowRank
from plurality.models.maxmin import MaxMin as MaxMin
from plurality.models.more import MORE as MORE
from plurality.models.pal import PAL as PAL
from plurality.models.vpl import VPL as VPL
from plurality.reward.annotating import annotate as annotate
from plurality.reward.explaining import explain as explain
from plurality.reward.reward_model import RewardModel as RewardModel
from plurality.reward.reward_model import load as load
from plurality.rl.mixing import MixedReward as MixedReward
from plurality.rl.reward_function import RewardFunction as RewardFunction
from plurality.testing.check_model import check_model as check_model

__version__: str
