"""What `avatars deploy` registers with Prefect, and how workers are packed; read as package data."""
