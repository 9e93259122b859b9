"""rollcall-voice: whose voice it is, from a few seconds of speech."""
