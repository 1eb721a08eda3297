"""UniMC for transformers: zero-shot and fine-tuned classification in one forward pass, whatever the labels.

Importing this package registers UniMC with `AutoConfig`, `AutoTokenizer`, `AutoModel`,
`AutoModelForMultipleChoice` and `pipeline("unimc-zero-shot")`.
"""

from pathlib import Path

from transformers import AutoConfig, AutoModel, AutoModelForMultipleChoice, AutoTokenizer
from transformers.pipelines import PIPELINE_REGISTRY

from .configuration_unimc import UniMCConfig
from .data_collator_unimc import DataCollatorForUniMC
from .modeling_unimc import UniMCForMultipleChoice, UniMCOutput
from .pipeline_unimc import UniMCZeroShotPipeline
from .tokenization_unimc import UniMCTokenizer
from .version import __version__

DEFAULT_MODEL = str(Path(__file__).parent / "default_model")

AutoConfig.register(UniMCConfig.model_type, UniMCConfig, exist_ok=True)
AutoTokenizer.register(UniMCConfig, fast_tokenizer_class=UniMCTokenizer, exist_ok=True)
AutoModel.register(UniMCConfig, UniMCForMultipleChoice, exist_ok=True)
AutoModelForMultipleChoice.register(UniMCConfig, UniMCForMultipleChoice, exist_ok=True)
if "unimc-zero-shot" not in PIPELINE_REGISTRY.supported_tasks:
    PIPELINE_REGISTRY.register_pipeline(
        "unimc-zero-shot",
        pipeline_class=UniMCZeroShotPipeline,
        # Not AutoModelForMultipleChoice: of a plain BERT repository that would be a BertForMultipleChoice.
        pt_model=(UniMCForMultipleChoice,),
        default={"model": (DEFAULT_MODEL, "main")},
        type="text",
    )

__all__ = [
    "DEFAULT_MODEL",
    "DataCollatorForUniMC",
    "UniMCConfig",
    "UniMCForMultipleChoice",
    "UniMCOutput",
    "UniMCTokenizer",
    "UniMCZeroShotPipeline",
    "__version__",
]
