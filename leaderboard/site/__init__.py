"""The boards as web pages that open from disk: no server, no network, nothing from elsewhere."""
