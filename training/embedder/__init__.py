"""rollcall-id: aligned 112 x 112 faces as 512 numbers, learnt from a licence-clean teacher and from names."""
