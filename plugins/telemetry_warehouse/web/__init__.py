"""The page inside Airflow, which lists alerts and takes what people say of them."""
