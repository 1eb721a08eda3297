"""`UniMCForMultipleChoice`: pick an option in one forward pass of a masked language model, with no new parameters.

The tokenizer's small integers become positions and attention (`option_structure`, `option_encoder`): every option
restarts its positions and cannot see the others, so their order does not matter (arXiv 2210.08590, figure 4). The MLM
head (`masked_lm_head`) then says at each option's `[MASK]` how much it wants to write the word *yes* there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedModel
from transformers.modeling_outputs import ModelOutput
from transformers.utils import can_return_tuple, logging

from .configuration_unimc import UniMCConfig
from .masked_lm_head import MaskedLMHead
from .option_attention import NAME as UNIMC_ATTENTION
from .option_encoder import adapt, encode
from .option_losses import masked_language_modeling_loss, option_prediction_loss
from .option_structure import find_options, shift_options

logger = logging.get_logger(__name__)


@dataclass
class UniMCOutput(ModelOutput):
    """
    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, with `labels` or `mlm_target_ids`): `mlm_loss + op_loss`.
        logits (`torch.FloatTensor` of shape `(batch_size, num_choices)`): the *yes* logit at each option's `[MASK]`;
            `finfo.min` of the dtype where there is no option, so that their softmax is the OP distribution.
        yes_no_logits (`torch.FloatTensor` of shape `(batch_size, num_choices, 2)`): the *yes* and *no* logits;
            `sigmoid(yes - no)` scores an option on its own.
        op_loss, mlm_loss (`torch.FloatTensor` of shape `(1,)`): option prediction loss; O-MLM and MLM loss.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    yes_no_logits: Tensor | None = None
    op_loss: Tensor | None = None
    mlm_loss: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class UniMCForMultipleChoice(PreTrainedModel):
    """A masked language model that answers multiple-choice questions. It has the children of the `...ForMaskedLM` class
    of `config.text_config`: plain checkpoints load as they are, and saved ones load as plain masked language models."""

    config_class = UniMCConfig
    config: UniMCConfig
    base_model_prefix = ""
    main_input_name = "input_ids"
    dtype_is_auto = False  # whether the caller of `from_pretrained` left the choice of a precision to us
    accepts_loss_kwargs = False  # the losses are means over labelled positions, whatever the accumulation
    supports_gradient_checkpointing = True
    _auto_class = "AutoModelForMultipleChoice"  # saving copies the code
    _supports_attention_backend = True
    _supports_sdpa = True
    # Flash and flex attention take no additive mask: without the option mask the scores would be wrong.
    _supports_flash_attn = False
    _supports_flex_attn = False

    def __init__(self, config: UniMCConfig) -> None:
        config.check_yes_no_token_ids(config.yes_token_id, config.no_token_id)
        text_config = config.text_config
        masked_lm_class: Any = MODEL_FOR_MASKED_LM_MAPPING[type(text_config)]
        self._supports_sdpa = masked_lm_class._supports_sdpa
        self.supports_gradient_checkpointing = masked_lm_class.supports_gradient_checkpointing
        # What `text_config` asks for counts, and is checked against what this class supports.
        attention = text_config._attn_implementation or config._attn_implementation
        if "/" in str(attention):
            raise ValueError(f"`attn_implementation` is {attention!r}, a kernel from the Hub: it takes no option mask.")
        # ModernBERT's windows and DeBERTa's distances decide who sees whom as well, not the mask alone.
        is_mask_alone = config.is_order_invariant and text_config.model_type != "modernbert"
        is_ours = attention is None and is_mask_alone and masked_lm_class._supports_sdpa
        config._attn_implementation = UNIMC_ATTENTION if is_ours else attention
        super().__init__(config)
        text_config._attn_implementation = config._attn_implementation
        masked_lm = masked_lm_class(text_config)
        for name, child in masked_lm.named_children():
            self.add_module(name, child)
        self.base_model_prefix = masked_lm.base_model_prefix
        self._tied_weights_keys = masked_lm._tied_weights_keys
        self._no_split_modules = masked_lm._no_split_modules
        self._keys_to_ignore_on_load_unexpected = [
            *(masked_lm._keys_to_ignore_on_load_unexpected or ()),
            r"(^|\.)pooler\.",  # embedding models and old checkpoints carry one; no score uses it
            r"(^|\.)position_ids$",
            r"^cls\.seq_relationship\.",
        ]
        if text_config.model_type == "albert":
            layer_norm: Any = self.get_submodule("predictions.LayerNorm")
            layer_norm.eps = 1e-5  # the reference's head has PyTorch's default, whatever `layer_norm_eps` says
        adapt(self.get_backbone())
        if not config.is_order_invariant:
            logger.warning_once(
                f"{text_config.model_type} measures distance by the index of a token in the sequence, not by "
                "`position_ids`, so the scores of this model depend on the order of the options."
            )
        self.post_init()

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in transformers; the installed package does more (`loading/from_pretrained.py`)."""
        loaded: Any = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.dtype_is_auto = kwargs.get("dtype") == "auto"  # `pipeline` says so unless its user chose
        return loaded

    def get_backbone(self) -> Any:
        """The encoder without its head, a [`PreTrainedModel`], e.g. a `BertModel`."""
        return getattr(self, self.base_model_prefix)

    def get_masked_lm_head(self) -> MaskedLMHead:
        """The parts of the MLM head, found by structure."""
        return MaskedLMHead.find(self)

    def get_output_embeddings(self) -> nn.Module:
        return self.get_masked_lm_head().decoder

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.get_masked_lm_head().replace_decoder(new_embeddings)

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        option_ids: Tensor | None = None,
        option_positions: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        mlm_target_ids: Tensor | None = None,
        option_targets: Tensor | None = None,
        **kwargs: Any,
    ) -> UniMCOutput:
        r"""
        Args:
            input_ids, attention_mask, token_type_ids, option_ids (`torch.LongTensor` of shape `(batch_size,
                sequence_length)`) and option_positions (`torch.LongTensor` of shape `(batch_size, num_choices)`): as
                [`~UniMCTokenizer.encode_options`] returns them. Of the last three, what is missing is derived from
                the others and from the `[MASK]` tokens.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`, *optional*):
                Instead of `input_ids`. With `option_ids` they may be longer than these: what stands in front then are
                soft prompts of peft, with `attention_mask` for all of them.
            labels (`torch.LongTensor` of shape `(batch_size,)`, *optional*): index of the right option, -100 for an
                example without a label. Or `option_targets`, where every example has these.
            option_targets (`torch.FloatTensor` of shape `(batch_size, num_choices)`, *optional*): the probability that
                an option is right, where several may be or none; -100 throughout the row of an example without. Entries
                without an option are ignored.
            mlm_target_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): original ids of
                the tokens that were masked in the text, -100 elsewhere. (`Trainer` takes every argument with "label"
                in its name for something that evaluation data must have.)

        Raises:
            TypeError, ValueError: if tensors are of other dtypes or shapes, or name a token, a position or an option
                that is not there; if the option structure cannot be derived, or the ids of yes and no are unknown; if
                there are `past_key_values` (peft's prefix tuning).
        """
        yes_no_token_ids: Any = [self.config.yes_token_id, self.config.no_token_id]
        if None in yes_no_token_ids:
            raise ValueError("`config.yes_token_id` and `no_token_id` are not set: pass both to `from_pretrained`.")
        if kwargs.get("past_key_values") is not None:  # peft's prefix tuning
            raise ValueError("`past_key_values` are not supported; peft's prompt tuning, P-tuning and LoRA work.")
        if input_ids is None and inputs_embeds is None:
            raise ValueError("Pass `input_ids` or `inputs_embeds`.")
        if not torch.compiler.is_compiling():
            self.check_inputs(
                inputs_embeds, input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids,
                option_ids=option_ids, option_positions=option_positions, mlm_target_ids=mlm_target_ids,
            )  # fmt: skip
        option_ids, option_positions = find_options(input_ids, token_type_ids, option_ids, option_positions)
        num_virtual_tokens = 0 if inputs_embeds is None else inputs_embeds.shape[1] - option_ids.shape[1]
        if num_virtual_tokens > 0:
            option_ids, option_positions = shift_options(num_virtual_tokens, option_ids, option_positions)
            token_type_ids = None  # derived from the longer `option_ids`
            if mlm_target_ids is not None:
                mlm_target_ids = nn.functional.pad(mlm_target_ids, (num_virtual_tokens, 0), value=-100)
        has_option = option_positions > 0
        has_target = labels is not None or option_targets is not None
        if isinstance(labels, Tensor) and labels.dim() == 2 and option_targets is None:
            labels, option_targets = None, labels
        self.check_targets(labels, option_targets, has_option)
        if attention_mask is None:
            attention_mask = torch.ones_like(option_ids)

        backbone, head = self.get_backbone(), self.get_masked_lm_head()
        structure = (attention_mask, token_type_ids, option_ids, option_positions)
        states, outputs = encode(backbone, input_ids, *structure, inputs_embeds, mlm_target_ids is None, **kwargs)
        features = head.transform(states)
        yes_no_logits = head.decode(features, yes_no_token_ids)
        logits = yes_no_logits[..., 0].masked_fill(~has_option, torch.finfo(yes_no_logits.dtype).min)

        loss = op_loss = mlm_loss = None
        if has_target:
            op_loss = option_prediction_loss(logits, yes_no_logits, labels, option_targets, has_option)
        if has_target or mlm_target_ids is not None:
            hidden_states = None if outputs is None else outputs.last_hidden_state
            targets = (labels, option_targets, mlm_target_ids)
            mlm_loss = masked_language_modeling_loss(
                self.config, head, hidden_states, features, yes_no_logits, has_option, *targets
            )
            loss = mlm_loss if op_loss is None else mlm_loss + op_loss
        return UniMCOutput(
            loss=loss,
            logits=logits,
            yes_no_logits=yes_no_logits,
            op_loss=op_loss,
            mlm_loss=mlm_loss,
            hidden_states=getattr(outputs, "hidden_states", None),
            attentions=getattr(outputs, "attentions", None),
        )

    def check_inputs(self, inputs_embeds: Tensor | None, **tensors: Tensor | None) -> None:
        """What the installed package checks of the tensors of a call (`loading/untrusted_inputs.py`)."""

    @staticmethod
    def check_targets(labels: Any, option_targets: Any, has_option: Tensor) -> None:
        """And what of the targets."""


__all__ = ["UniMCForMultipleChoice", "UniMCOutput"]
