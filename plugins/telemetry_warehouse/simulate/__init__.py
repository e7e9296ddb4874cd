"""A population that sends main pings with the truth written down (population.py), and real flights (flights.py)."""
