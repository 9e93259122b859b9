"""Adapters to the outside: settings, stores, database, child processes, services."""
