"""UniMC for transformers: zero-shot and fine-tuned classification in one forward pass, whatever the labels.

Importing this package registers UniMC with `AutoConfig`, `AutoTokenizer`, `AutoModel`,
`AutoModelForMultipleChoice`, `pipeline("unimc-zero-shot")` and `pipeline("unimc-decision")`; and, where transformers
has a `decision` pipeline (5.23), with that.
"""

from transformers import AutoConfig, AutoModel, AutoModelForMultipleChoice, AutoTokenizer
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_unimc import UniMCConfig
from .data_collator_unimc import DataCollatorForUniMC
from .decision_unimc import UniMCDecisionPipeline
from .default_models import DEFAULT_MODEL, find_model
from .modeling_unimc import UniMCForMultipleChoice, UniMCOutput
from .pipeline_unimc import UniMCZeroShotPipeline
from .tokenization_unimc import UniMCTokenizer
from .version import __version__

AutoConfig.register(UniMCConfig.model_type, UniMCConfig, exist_ok=True)
AutoTokenizer.register(UniMCConfig, fast_tokenizer_class=UniMCTokenizer, exist_ok=True)
AutoModel.register(UniMCConfig, UniMCForMultipleChoice, exist_ok=True)
AutoModelForMultipleChoice.register(UniMCConfig, UniMCForMultipleChoice, exist_ok=True)
for _task, _pipeline_class in (("unimc-zero-shot", UniMCZeroShotPipeline), ("unimc-decision", UniMCDecisionPipeline)):
    if _task not in PIPELINE_REGISTRY.supported_tasks:
        PIPELINE_REGISTRY.register_pipeline(
            _task,
            pipeline_class=_pipeline_class,
            # Not AutoModelForMultipleChoice: of a plain BERT repository that would be a BertForMultipleChoice.
            pt_model=(UniMCForMultipleChoice,),
            default={"model": (DEFAULT_MODEL, "main")},
            type="text",
        )
try:
    from transformers import AutoModelForDecision
except ImportError:  # before 5.23
    pass
else:
    from .decision_model import UniMCForDecision

    AutoModelForDecision.register(UniMCConfig, UniMCForDecision, exist_ok=True)

__all__ = [
    "DEFAULT_MODEL",
    "DataCollatorForUniMC",
    "UniMCConfig",
    "UniMCDecisionPipeline",
    "UniMCForMultipleChoice",
    "UniMCOutput",
    "UniMCTokenizer",
    "UniMCZeroShotPipeline",
    "__version__",
    "find_model",
]
