"""lowerbound: train, measure and explore variational autoencoders."""
