"""`UniMCForMultipleChoice`: pick an option in one forward pass of a masked language model, with no new parameters.

From the tokenizer's small integers the model builds what makes UniMC work (arXiv 2210.08590, figure 4): every option
restarts its positions and cannot see the other options, so their order does not matter. The MLM head then says at each
option's `[MASK]` how much it wants to write the word *yes* there.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ModelOutput
from transformers.utils import can_return_tuple, logging

from .configuration_unimc import UniMCConfig, nest_config_dict
from .masked_lm_head import MaskedLMHead
from .option_attention import NAME as UNIMC_ATTENTION
from .option_encoder import accept_mask_per_pair, encode
from .option_losses import check_labels, option_prediction_loss, right_options
from .option_structure import check_inputs, find_options, shift_options
from .saved_files import check_complete, make_room

logger = logging.get_logger(__name__)

# The reference's ALBERT head normalises with PyTorch's default epsilon, whatever `layer_norm_eps` says.
ALBERT_HEAD_LAYER_NORM_EPS = 1e-5


@dataclass
class UniMCOutput(ModelOutput):
    """
    Args:
        loss (`torch.FloatTensor` of shape `(1,)`, returned when `labels` or `mlm_target_ids` is given):
            `mlm_loss + op_loss`.
        logits (`torch.FloatTensor` of shape `(batch_size, num_choices)`):
            The *yes* logit at each option's `[MASK]`; `finfo.min` of the dtype where an example has no such option,
            so that a softmax over the last dimension is the OP distribution.
        yes_no_logits (`torch.FloatTensor` of shape `(batch_size, num_choices, 2)`):
            The *yes* and *no* logits; `sigmoid(yes - no)` scores an option on its own.
        op_loss (`torch.FloatTensor` of shape `(1,)`, returned when `labels` is given): option prediction loss.
        mlm_loss (`torch.FloatTensor` of shape `(1,)`, returned when there is a label): O-MLM and MLM loss.
        hidden_states, attentions: as in every transformers encoder.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    yes_no_logits: torch.Tensor | None = None
    op_loss: torch.Tensor | None = None
    mlm_loss: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class UniMCForMultipleChoice(PreTrainedModel):
    """
    A masked language model that answers multiple-choice questions. Its children are the children of the
    `...ForMaskedLM` class of `config.text_config`, under their own names: plain checkpoints load as they are, and
    saved ones load as plain masked language models.

    Args:
        config ([`UniMCConfig`]): configuration.

    Example:

    ```python
    >>> tokenizer = UniMCTokenizer.from_pretrained(folder)
    >>> model = UniMCForMultipleChoice.from_pretrained(folder)
    >>> batch = tokenizer("Stocks fell.", options=["sports", "business"], return_tensors="pt")
    >>> model(**batch).logits.softmax(-1)  # (batch_size, num_choices)
    ```
    """

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
        masked_lm_class: Any = MODEL_FOR_MASKED_LM_MAPPING[type(config.text_config)]
        self._supports_sdpa = masked_lm_class._supports_sdpa
        self.supports_gradient_checkpointing = masked_lm_class.supports_gradient_checkpointing
        # What `text_config` asks for counts, and is checked against what this class supports.
        config._attn_implementation = config.text_config._attn_implementation or config._attn_implementation
        if "/" in str(config._attn_implementation):
            raise ValueError(
                f"`attn_implementation` is {config._attn_implementation!r}, a kernel from the Hub: it is code, and "
                "takes no option mask."
            )
        if config._attn_implementation is None and _may_use_unimc_attention(masked_lm_class, config):
            config._attn_implementation = UNIMC_ATTENTION
        super().__init__(config)
        config.text_config._attn_implementation = config._attn_implementation
        masked_lm = masked_lm_class(config.text_config)
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
        if config.text_config.model_type == "albert":
            layer_norm: Any = self.get_submodule("predictions.LayerNorm")
            layer_norm.eps = ALBERT_HEAD_LAYER_NORM_EPS
        if config.text_config.model_type == "deberta-v2":
            accept_mask_per_pair(self.get_backbone())
        if not config.is_order_invariant:
            logger.warning_once(
                f"{config.text_config.model_type} measures distance by the index of a token in the sequence, not by "
                "`position_ids`, so the scores of this model depend on the order of the options."
            )
        self.post_init()

    # -- what transformers asks of a model ---------------------------------------------------------------------

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike | None, *model_args: Any, **kwargs: Any
    ) -> UniMCForMultipleChoice:
        """
        As in transformers; the repository, or a `config` that is passed, may also be a plain masked LM's.

        Raises:
            ValueError: for `weights_only=False`, which would let a pickle run code; if an index of weights names files
                outside its folder; if weights of the encoder, or of a saved UniMC model any weights, are missing and
                `output_loading_info=True` does not ask to be told instead.
        """
        if not kwargs.get("weights_only", True):
            raise ValueError("`weights_only` must be True: a pickle would run its code otherwise.")
        if pretrained_model_name_or_path is not None:
            cls.check_folder(os.path.join(pretrained_model_name_or_path, kwargs.get("subfolder") or ""))
        config = kwargs.get("config")
        if isinstance(config, PreTrainedConfig) and config.model_type != UniMCConfig.model_type:
            ids = {k: kwargs.pop(k) for k in ("yes_token_id", "no_token_id", "language") if k in kwargs}
            kwargs["config"] = cls.config_class(**nest_config_dict(config.to_dict()), **ids)
        with_info = kwargs.pop("output_loading_info", False)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
        )
        model, info = loaded
        if pretrained_model_name_or_path is not None and not with_info:
            check_complete(model, info["missing_keys"])
        model.dtype_is_auto = kwargs.get("dtype") == "auto"  # `pipeline` says so unless its user chose
        return loaded if with_info else model

    def _move_missing_keys_from_meta_to_device(self, missing_keys: Any, *args: Any, **kwargs: Any) -> None:
        # The moment before what the file lacks gets memory.
        self.check_gap(missing_keys)
        super()._move_missing_keys_from_meta_to_device(missing_keys, *args, **kwargs)

    def save_pretrained(
        self, save_directory: str | os.PathLike, is_main_process: bool = True, *args: Any, **kwargs: Any
    ) -> None:
        """As in transformers; weights that are there are removed first, so that a save that fails leaves no mix."""
        if is_main_process and not getattr(self, "_hf_peft_config_loaded", False):
            make_room(save_directory, **kwargs)
        super().save_pretrained(save_directory, is_main_process, *args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # The head belongs to us, the rule for it to the family: the backbone is a model of that family.
        self.get_backbone()._init_weights(module)
        # In early 5.x ModernBERT's rule knows the decoder by the class of the whole model only, which is another here.
        if self.config.text_config.model_type == "modernbert" and module is self.get_output_embeddings():
            super()._init_weights(module)

    @classmethod
    def is_custom_code(cls) -> bool:
        # transformers leaves out the rules for composite modules (ModernBERT's attention, ...) in custom code.
        return False

    if not hasattr(PreTrainedModel, "is_custom_code"):  # early 5.x asks by the other name
        is_remote_code = is_custom_code

    @staticmethod
    def check_folder(folder: str) -> None:
        """What the installed package checks before a local folder is read (`loading/untrusted_files.py`)."""

    def check_gap(self, missing_keys: Any) -> None:
        """What it checks before weights that no file has get memory."""

    def get_backbone(self) -> Any:
        """The encoder without its head, a [`PreTrainedModel`], e.g. a `BertModel`."""
        return getattr(self, self.base_model_prefix)

    def get_masked_lm_head(self) -> MaskedLMHead:
        """The parts of the MLM head, found by structure."""
        return MaskedLMHead.find(self)

    def get_input_embeddings(self) -> nn.Module:
        return self.get_backbone().get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.get_backbone().set_input_embeddings(value)

    def get_position_embeddings(self) -> nn.Embedding | tuple[nn.Embedding]:
        return self.get_backbone().get_position_embeddings()

    def resize_position_embeddings(self, new_num_position_embeddings: int) -> None:
        self.get_backbone().resize_position_embeddings(new_num_position_embeddings)

    def get_output_embeddings(self) -> nn.Module:
        return self.get_masked_lm_head().decoder

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.get_masked_lm_head().replace_decoder(new_embeddings)

    # -- the forward pass --------------------------------------------------------------------------------------

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        option_ids: torch.Tensor | None = None,
        option_positions: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        mlm_target_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> UniMCOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): token ids.
            attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for tokens, 0 for padding.
            token_type_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                1 for the options and the `[SEP]` that closes them. Derived from `option_ids` if not given.
            option_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                0 outside options, k for the tokens of option k. Derived from `token_type_ids` and the `[MASK]`
                tokens in `input_ids` if not given.
            option_positions (`torch.LongTensor` of shape `(batch_size, num_choices)`, *optional*):
                Index of each option's `[MASK]`; 0 where there is no option. Derived if not given.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`, *optional*):
                Embeddings to use instead of `input_ids`. With `option_ids` they may be longer than these: what stands
                in front then are soft prompts, as peft's prompt tuning and P-tuning put there, with `attention_mask`
                for all of them.
            labels (*optional*):
                `torch.LongTensor` of shape `(batch_size,)`: index of the right option, -100 for an example without
                a label. Or `torch.FloatTensor` of shape `(batch_size, num_choices)`: the probability that an option
                is right, where several may be; entries without an option are ignored.
            mlm_target_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
                Original ids of the tokens that were masked in the text, -100 elsewhere. (`Trainer` takes every
                argument with "label" in its name for something that evaluation data must have.)

        Returns:
            [`UniMCOutput`]

        Raises:
            TypeError: if a tensor has another number of dimensions, or is of another dtype.
            ValueError: if tensors do not fit each other, or name a token, a position or an option that is not there;
                if the structure cannot be derived, the ids of yes and no are unknown, a label names an option that
                its example does not have, or `past_key_values` are given (peft's prefix tuning).
        """
        yes_no_token_ids = self._yes_no_token_ids()
        if kwargs.get("past_key_values") is not None:
            raise ValueError(
                "`past_key_values` are not supported: the attention between options has no place for keys without a "
                "token, so peft's prefix tuning does not work. Its prompt tuning, P-tuning and LoRA do."
            )
        if input_ids is None and inputs_embeds is None:
            raise ValueError("Pass `input_ids` or `inputs_embeds`.")
        if not torch.compiler.is_compiling():
            check_inputs(
                self.config.vocab_size,
                max(2, getattr(self.config.text_config, "type_vocab_size", 2)),
                None if inputs_embeds is None else inputs_embeds.shape[1],
                input_ids=input_ids,
                attention_mask=attention_mask,
                token_type_ids=token_type_ids,
                option_ids=option_ids,
                option_positions=option_positions,
                mlm_target_ids=mlm_target_ids,
            )
        option_ids, option_positions = find_options(input_ids, token_type_ids, option_ids, option_positions)
        num_virtual_tokens = 0 if inputs_embeds is None else inputs_embeds.shape[1] - option_ids.shape[1]
        if num_virtual_tokens > 0:
            option_ids, option_positions = shift_options(num_virtual_tokens, option_ids, option_positions)
            token_type_ids = None  # derived from the longer `option_ids`
            if mlm_target_ids is not None:
                mlm_target_ids = F.pad(mlm_target_ids, (num_virtual_tokens, 0), value=-100)
        if labels is not None and not torch.compiler.is_compiling():
            check_labels(labels, option_positions)
        if attention_mask is None:
            attention_mask = torch.ones_like(option_ids)

        outputs = encode(
            self.get_backbone(),
            input_ids,
            attention_mask,
            token_type_ids,
            option_ids,
            option_positions,
            inputs_embeds,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        head = self.get_masked_lm_head()

        has_option = option_positions > 0
        at_options = option_positions.unsqueeze(-1).expand(-1, -1, hidden_states.shape[-1])
        features = head.transform(hidden_states.gather(1, at_options))
        yes_no_logits = head.decode(features, yes_no_token_ids)
        logits = yes_no_logits[..., 0].masked_fill(~has_option, torch.finfo(yes_no_logits.dtype).min)

        loss = op_loss = mlm_loss = None
        if labels is not None:
            op_loss = option_prediction_loss(logits, yes_no_logits, labels, has_option)
        if labels is not None or mlm_target_ids is not None:
            mlm_loss = self._masked_language_modeling_loss(
                head, hidden_states, features, yes_no_logits, has_option, labels, mlm_target_ids
            )
            loss = mlm_loss if op_loss is None else mlm_loss + op_loss
        return UniMCOutput(
            loss=loss,
            logits=logits,
            yes_no_logits=yes_no_logits,
            op_loss=op_loss,
            mlm_loss=mlm_loss,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    # -- the losses --------------------------------------------------------------------------------------------

    def _masked_language_modeling_loss(
        self,
        head: MaskedLMHead,
        hidden_states: torch.Tensor,
        features: torch.Tensor,
        yes_no_logits: torch.Tensor,
        has_option: torch.Tensor,
        labels: torch.Tensor | None,
        mlm_target_ids: torch.Tensor | None,
    ) -> torch.Tensor:
        """O-MLM and MLM (figure 4 of the paper): one cross-entropy, averaged over all labelled positions."""
        total = hidden_states.new_zeros((), dtype=torch.float32)
        count = hidden_states.new_zeros((), dtype=torch.float32)
        if labels is not None:
            right, labelled = right_options(labels, has_option)
            if self.config.option_mlm_loss == "yes_no":
                log_probs = yes_no_logits.float().log_softmax(-1)[labelled]
            else:
                log_probs = head.decode(features[labelled]).float().log_softmax(-1)[:, self._yes_no_token_ids()]
            right = right[labelled]
            total = total - (right * log_probs[:, 0] + (1 - right) * log_probs[:, 1]).sum()
            count = count + labelled.sum()
        if mlm_target_ids is not None:
            masked = mlm_target_ids != -100
            vocabulary_logits = head.decode(head.transform(hidden_states[masked]))
            total = total + F.cross_entropy(vocabulary_logits.float(), mlm_target_ids[masked], reduction="sum")
            count = count + masked.sum()
        return total / count.clamp(min=1)

    def _yes_no_token_ids(self) -> list[int]:
        if self.config.yes_token_id is None or self.config.no_token_id is None:
            raise ValueError(
                "`config.yes_token_id` and `config.no_token_id` are not set: a plain checkpoint does not record them. "
                "Pass both to `from_pretrained`, or use pipeline('unimc-zero-shot', model=..., language=...)."
            )
        return [self.config.yes_token_id, self.config.no_token_id]


def _may_use_unimc_attention(masked_lm_class: Any, config: UniMCConfig) -> bool:
    # Only `attention_mask` may decide who sees whom, which ModernBERT's windows and DeBERTa's distances do as well.
    uses_windows = config.text_config.model_type == "modernbert"
    return masked_lm_class._supports_sdpa and config.is_order_invariant and not uses_windows


__all__ = ["UniMCForMultipleChoice", "UniMCOutput"]
