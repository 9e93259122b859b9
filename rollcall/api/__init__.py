"""What programs read: the document of an asset and its published schema."""
