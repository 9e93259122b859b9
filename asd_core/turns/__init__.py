"""From logits to turns: faces compete for one voice, time smooths, and what no face explains is off screen."""
