"""What a model runs on: linear layers by the faster library, and exported models without PyTorch's network."""
