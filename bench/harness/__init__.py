"""The harness of bench.py: scenarios, servers, loaders, accounting, reports."""
