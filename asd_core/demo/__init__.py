"""Demo programmes made on the spot, with truth by construction: for `rollcall demo`, the tests and whoever has no material at hand."""
