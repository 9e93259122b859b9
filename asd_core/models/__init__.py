"""Networks: the protocol, the manifests, the registry and the smallest session."""
