"""The sources service."""
