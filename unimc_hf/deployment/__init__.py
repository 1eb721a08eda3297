"""Running an exported model where PyTorch's network is not needed."""
