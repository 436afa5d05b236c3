"""HTTP for registries: one client a host, credentials, retries."""
