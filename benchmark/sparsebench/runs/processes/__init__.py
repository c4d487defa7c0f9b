"""Several processes that train one run together, started and watched over by torch's elastic launcher."""
