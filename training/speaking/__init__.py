"""The speaking network: do these lips make this sound? See docs/models/rollcall-sync.md."""
