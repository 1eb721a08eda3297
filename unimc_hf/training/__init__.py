"""Fine-tuning and pre-training on `Trainer`: the collator, batches filled by tokens, bfloat16 weights that learn."""
