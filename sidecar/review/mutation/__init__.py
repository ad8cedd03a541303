"""Mutation: small mistakes put into policies, to see whether the tests notice each."""
