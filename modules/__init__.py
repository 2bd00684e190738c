"""The shelf of architectures, the decoder that stacks them, and the one trainer that serves all."""
