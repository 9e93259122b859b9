"""The doors: command line, HTTP API, exports and pages. No logic of its own; what computes lives below."""
