"""Identity: tracks become people of an asset, people become persons of the library, and users have the last word."""
