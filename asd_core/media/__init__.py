"""Files into pictures and sound on one clock: what a container holds, its frames on the 25 Hz grid, its sound at 16 kHz, its cuts."""
