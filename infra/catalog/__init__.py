"""The library in PostgreSQL: one file per aggregate, its SQL inside."""
