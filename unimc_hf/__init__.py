"""UniMC for transformers: zero-shot and fine-tuned classification in one forward pass, whatever the labels.

Importing this package registers UniMC with `AutoConfig`, `AutoTokenizer`, `AutoModel`,
`AutoModelForMultipleChoice`, `pipeline("unimc-zero-shot")` and `pipeline("unimc-decision")`; and, where transformers
has a `decision` pipeline (5.23), with that.
"""

from transformers import AutoConfig, AutoModel, AutoModelForMultipleChoice, AutoTokenizer
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_unimc import UniMCConfig
from .decision import UniMCDecisionPipeline, UniMCForDecision
from .deployment.linear_layers import call_model
from .loading.configuration_checks import check_backbone, check_settings
from .loading.from_pretrained import from_plain, get_config_dict, load_model, load_tokenizer
from .loading.installed_models import (
    DEFAULT_MODEL,
    UNNAMED_MODEL,
    PipelineModel,
    accept_default_model,
    find_model,
)
from .loading.new_weights import (
    allocate_missing,
    get_position_embeddings,
    init_weights,
    is_custom_code,
    resize_position_embeddings,
)
from .loading.pipeline_parts import complete
from .loading.safe_saves import make_room, save_model
from .loading.untrusted_inputs import check_inputs, check_targets
from .modeling_unimc import UniMCForMultipleChoice, UniMCOutput
from .pipeline_unimc import UniMCZeroShotPipeline
from .saved_files import __version__
from .tokenization_unimc import UniMCTokenizer
from .training import attention as attention  # registers itself
from .training.data_collator import DataCollatorForUniMC

# What the files that travel with a model leave to the installed package.
for _class, _name, _hook in (
    (UniMCConfig, "check_backbone", staticmethod(check_backbone)),
    (UniMCConfig, "check_settings", check_settings),
    (UniMCConfig, "get_config_dict", classmethod(get_config_dict)),
    (UniMCTokenizer, "from_plain", classmethod(from_plain)),
    (UniMCTokenizer, "from_pretrained", classmethod(load_tokenizer)),
    (UniMCForMultipleChoice, "from_pretrained", classmethod(load_model)),
    (UniMCForMultipleChoice, "is_custom_code", classmethod(is_custom_code)),
    (UniMCForMultipleChoice, "is_remote_code", classmethod(is_custom_code)),  # its name in early 5.x
    (UniMCForMultipleChoice, "_init_weights", init_weights),
    (UniMCForMultipleChoice, "get_position_embeddings", get_position_embeddings),
    (UniMCForMultipleChoice, "resize_position_embeddings", resize_position_embeddings),
    (UniMCForMultipleChoice, "_move_missing_keys_from_meta_to_device", allocate_missing),
    (UniMCForMultipleChoice, "check_inputs", check_inputs),
    (UniMCForMultipleChoice, "check_targets", staticmethod(check_targets)),
    (UniMCForMultipleChoice, "save_pretrained", save_model),
    (UniMCForMultipleChoice, "__call__", call_model),
    (UniMCZeroShotPipeline, "complete", staticmethod(complete)),
    (UniMCZeroShotPipeline, "make_room", staticmethod(make_room)),
):
    setattr(_class, _name, _hook)

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
            pt_model=(PipelineModel,),
            default={"model": (UNNAMED_MODEL, "main")},
            type="text",
        )
accept_default_model()
try:
    from transformers import AutoModelForDecision
except ImportError:  # before 5.23
    pass
else:
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
