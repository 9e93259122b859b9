"""Every network at hand, ours and the public ones, by itself on the same data: `python -m benchmarks.networks`, a section of docs/accuracy.md."""
