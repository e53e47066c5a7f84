"""The offline auditor: a stand-in that audits an HTML page by fixed rules, and is no model."""

from safeloop.models.offline.client import MODEL, OfflineAuditor, OfflineMessages, TokenCount

__all__ = ["MODEL", "OfflineAuditor", "OfflineMessages", "TokenCount"]
