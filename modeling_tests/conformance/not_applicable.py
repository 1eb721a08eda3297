"""Every test of transformers' mixins that is not run on UniMC, and why.

Keys are patterns of `Class::test`. A test that skips itself without being listed here counts as failed, so nothing is
left out silently (see `conftest.py`).
"""

# Skipped by us: the test asks for something that UniMC, or the family of its backbone, does not have.
NOT_APPLICABLE = {
    # -- other kinds of models
    "*::test_get_text_features_*": "UniMC has no `get_text_features`",
    "*::test_get_image_features_*": "UniMC reads text only",
    "*::test_get_audio_features_*": "UniMC reads text only",
    "*::test_get_video_features_*": "UniMC reads text only",
    "*::test_vision_axial_rope": "UniMC reads text only",
    "*::test_model_rope_*": "tests the rotary positions of a decoder's base class; ModernBERT's are transformers' own",
    "*::test_causal_lm_loss_honors_shift_labels": "UniMC is no decoder",
    "*::test_encoder_decoder_loss_no_double_shift": "UniMC is no encoder-decoder",
    "*::test_bc_cache_name_forward": "UniMC has one forward pass, so no cache of keys and values to take",
    "*::test_model_base_model_prefix": "checks generative models only",
    "*::test_moe_models_record_router_logits": "no supported backbone has experts",
    "*::test_output_router_logits_from_config": "no supported backbone has experts",
    "*::test_eager_matches_batched_and_grouped_inference_*": "no supported backbone has experts",
    "*::test_problem_types": "UniMC has no layer with one row per label, so no `num_labels` and no `problem_type`",
    "*::test_load_with_mismatched_shapes": "UniMC has no layer with one row per label that could mismatch",
    "*::test_can_load_ignoring_mismatched_shapes": "UniMC has no layer with one row per label that could mismatch",
    "*::test_torch_save_load": "compares a model with the separate base class of its config; UniMC has none",
    "*::test_sdpa_can_dispatch_composite_models": "for a vision and a language tower; the test for one tower runs",
    # -- attention kernels
    "*::test_flash_attn_*": "flash attention takes no mask per pair of tokens, so UniMC refuses it",
    "*::test_sdpa_can_dispatch_on_flash": "flash attention takes no mask per pair of tokens, so UniMC refuses it",
    "*::test_flex_attention_with_grads": "flex attention takes no additive mask, so UniMC refuses it",
    "*::test_sliding_window_mask": "for `use_sliding_window` of decoders; ModernBERT always slides, over positions",
    "*::test_eager_matches_sdpa_inference_*_output_attentions": "SDPA has no attentions to output; `forward` takes "
    "`output_attentions` in `**kwargs`, where the mixin does not look (`test_attention_outputs` runs)",
    "*::test_torch_compile_for_training": "its inputs are fixed and have no options",
    "[!M]*::test_sdpa_can_dispatch_non_composite_models": "asks for the name sdpa by default; ours is unimc, which "
    "uses SDPA where it is the fastest way (`test_option_blocks.py` checks the default and the explicit names)",
    # -- what the families do not declare
    "*::test_keep_in_fp32_modules*": "no supported backbone keeps modules in float32",
    "*::test_reverse_loading_mapping": "weights keep the names they are stored under: nothing is converted",
    "*::test_can_load_from_already_mapped_keys": "weights keep the names they are stored under: nothing is converted",
    "*::test_tp_plan_matches_params": "no supported backbone has a plan for tensor parallelism",
    "*::test_tied_head_has_a_tp_plan_entry": "no supported backbone has a plan for tensor parallelism",
    "[!D]*::test_resize_position_vector_embeddings": "only DistilBERT can resize its positions in transformers",
    "DebertaV2*::test_resize_position_vector_embeddings": "only DistilBERT can resize its positions in transformers",
    "Albert*::test_*gradient_checkpointing*": "transformers has no gradient checkpointing for ALBERT",
    "MPNet*::test_*gradient_checkpointing*": "transformers has no gradient checkpointing for MPNet",
    "DebertaV2*::test_training_gradient_checkpointing_use_reentrant_true": "all layers of DeBERTa-v2 share the "
    "normalised relative embeddings, whose graph a reentrant checkpoint frees (so in `DebertaV2ForMaskedLM` too)",
    # [DM][eP]: DeBERTa-v2, MegatronBERT and MPNet
    "[DM][eP]*::test_can_set_attention_dynamically*": "transformers has eager attention only for this family",
    "[DM][eP]*::test_eager_matches_sdpa_inference_*": "transformers has eager attention only for this family",
    "[DM][eP]*::test_sdpa_can_dispatch_non_composite_models": "transformers has eager attention only for this family",
    "[DM][eP]*::test_capture_outputs_decorator": "this family does not use `capture_outputs`",
    "[DM][eP]*::test_can_capture_specific_layers_hidden_states": "this family does not use `capture_outputs`",
    # -- tokenizer
    "*::test_integration_from_extractor": "builds a tokenizer from its vocabulary; UniMC makes it from a plain one",
    "*::test_chat_template_save_loading": "for tokenizers that name `chat_template` in `__init__`; UniMC has none",
}

# Skipped by the mixin where the machine lacks something, and run where it does not.
NEEDS = {
    "*::test_can_load_with_device_context_manager": "an accelerator",
    "*::test_can_load_with_global_device_set": "an accelerator",
    "*::test_cpu_offload": "an accelerator",
    "*::test_disk_offload_*": "an accelerator",
    "*::test_sdpa_can_compile_dynamic": "an accelerator",
    "*::test_kernels_can_load_without_crashing": "an accelerator and the kernels package",
    "*::test_model_parallelism": "several accelerators",
    "*::test_multi_gpu_data_parallel_forward": "several accelerators",
    "*::test_*_with_deepspeed*": "deepspeed",
}
