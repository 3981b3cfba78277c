"""Tracking: a small port, its MLflow adapter, and a fake in memory. The only importer of MLflow."""
