"""Connections of one listening socket, spread over the workers that listen on it."""
