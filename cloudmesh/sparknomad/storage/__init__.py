"""Data in clouds: profiles, URLs, credentials, and what Spark and Python need to reach it."""
