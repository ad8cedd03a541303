"""Places: of requests at a time, and of calls in batches; who finds none waits."""
