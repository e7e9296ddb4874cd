"""The stand-ins for Google Cloud, and Airflow, on this machine. Only `settings.py` and this room know of them."""
