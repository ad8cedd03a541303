"""The PostgreSQL listener: a proxy that decides every statement before the server sees it."""
