"""What is done to a prompt before a model reads it: styles, wildcards, weights. Free of torch."""
