"""Fitted rewards as Hugging Face checkpoints that other programs load without this package.

kind        what is written                                       whose reward      which rewards
baked       the backbone's own ...ForSequenceClassification        one              linear in the last token's state
adapters    a baked population and a rank-1 LoRA on `score` each   all users        as baked
custom      a class of its own, with its code beside it            all users        linear or squared in the features

Each export is loaded again and compared with the toolkit's reward on probe texts before it takes its place; one that
differs is not written.
"""

from plurality.rl.huggingface.adapters import export_adapters
from plurality.rl.huggingface.baked import export_baked
from plurality.rl.huggingface.custom import export_custom
from plurality.rl.huggingface.parity import Exported, Parity

__all__ = ["Exported", "Parity", "export_adapters", "export_baked", "export_custom"]
