"""What is heard, and whose lips fit it: cepstra, speech activity, and the speaking network's logits."""
