"""Arrays and tables in, statistics out; nothing here needs torch."""
