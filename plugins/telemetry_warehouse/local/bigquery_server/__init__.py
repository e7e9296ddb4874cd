"""The BigQuery emulator, changed where it must be. It runs in an environment of its own: see __main__.py."""
