"""From a request to records: plan, prefetch, the runner of one group, executors, logs, status."""
