"""HTTP client for vendor APIs: keep-alive session, host allow-list, deadlines, redaction of secrets."""
